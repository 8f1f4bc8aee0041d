"""Files with normalisation and softmax inside: pixels in, probabilities out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from compressor.artifact import session
from compressor.data.config import DataConfig
from compressor.data.load import load_dataset
from compressor.evaluation import metrics
from compressor.evaluation.predictions import predict_artifact
from compressor.exporting import export as exporting
from compressor.exporting.config import ExportConfig
from compressor.models import checkpoint
from compressor.progress import Silent
from compressor.quantization.config import Int8Config
from compressor.quantization.ladder import Job, climb
from compressor.workflows.export import validation_inputs
from tests.conftest import compress, fill


@pytest.fixture
def tempered(run: Path, tmp_path: Path) -> Path:
    """The shared run's student at temperature 1.5: two epochs leave it so unsure that its own would hide all classes."""
    copied = tmp_path / "tempered"
    copied.mkdir()
    for name in ("student.safetensors", "run.json", "recipe.yaml"):
        shutil.copyfile(run / name, copied / name)
    card = json.loads((run / "student.json").read_text()) | {"temperature": 1.5}
    (copied / "student.json").write_text(json.dumps(card))
    return copied


@pytest.mark.slow
@pytest.mark.usefixtures("torchscript")
def test_every_command_takes_a_file_of_pixels(tempered: Path, tmp_path: Path) -> None:
    run, path = tempered, tmp_path / "pixels.onnx"
    (plain,) = json.loads(compress("export", run, "--json").stdout)
    done = compress("export", run, "--uint8-input", "-o", path, "--json")
    assert done.exit_code == 0, done.output
    (entry,) = json.loads(done.stdout)
    assert entry["top1"] == plain["top1"]
    assert entry["parity"]["max_relative_error"] <= 1e-3
    opened = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [(i.type, i.shape[1:]) for i in opened.get_inputs()] == [("tensor(uint8)", [32, 32, 3])]
    noise = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_allclose(opened.run(None, {opened.get_inputs()[0].name: noise})[0].sum(axis=1), 1, rtol=1e-5)
    pixels = session.load(path)
    inputs = {"pixels": noise}
    logits = session.load(run / "student.onnx").logits(inputs)
    np.testing.assert_allclose(pixels.run(pixels.feed(inputs)), session.softmax(logits, 1.5), rtol=1e-3, atol=1e-6)
    described = session.load(path).metadata
    assert (described.input, described.output) == ("uint8", "probabilities")
    images = fill(tmp_path / "photos", count=2)
    answers = [json.loads(compress("predict", file, images, "--top", "3", "--json").stdout)
               for file in (run / "student.onnx", path)]  # fmt: skip
    for a, b in zip(*answers, strict=True):
        assert [c["class"] for c in a["classes"]] == [c["class"] for c in b["classes"]]
        np.testing.assert_allclose(
            [c["probability"] for c in a["classes"]], [c["probability"] for c in b["classes"]], rtol=1e-3
        )
    found = [json.loads(compress("evaluate", file, "--data", "digits", "--split", "validation", "--json").stdout)
             for file in (run / "student.onnx", path)]  # fmt: skip
    for key in ("top1", "nll", "ece", "nll_calibrated", "ece_calibrated", "temperature"):
        assert found[0][key] == pytest.approx(found[1][key], rel=1e-3)
    timed = compress("benchmark", path, "--processes", "1", "--samples", "10", "--json")
    assert timed.exit_code == 0, timed.output


@pytest.mark.usefixtures("torchscript")
@pytest.mark.parametrize("temperature", [0.2, 10.0])
def test_a_temperature_far_from_one_changes_no_answer(run: Path, tmp_path: Path, temperature: float) -> None:
    model, card = checkpoint.load(run)
    card = card.model_copy(update={"temperature": temperature})
    dataset = load_dataset(DataConfig(limit=160))
    seen = {}
    for pixels in (False, True):
        path = tmp_path / f"{pixels}.onnx"
        exporting.export(model, card, path, precision="fp32", config=ExportConfig(uint8_input=pixels),
                         inputs=validation_inputs(dataset, card, 32), recipe=None, progress=Silent())  # fmt: skip
        seen[pixels] = predict_artifact(session.load(path), dataset, "validation")
    assert np.array_equal(seen[True].logits.argmax(axis=1), seen[False].logits.argmax(axis=1))
    for at in (1.0, temperature):
        nll = [metrics.nll(seen[k].labels, seen[k].logits / at) for k in (False, True)]
        assert nll[1] == pytest.approx(nll[0], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("batch", ["dynamic", 4])
def test_pixels_in_every_precision(tempered: Path, tmp_path: Path, batch: Any) -> None:
    model, card = checkpoint.load(tempered)
    dataset = load_dataset(DataConfig(limit=160))
    inputs = validation_inputs(dataset, card, 32)
    config = ExportConfig(uint8_input=True, batch=batch)
    paths = {p: tmp_path / f"{p}.onnx" for p in ("fp32", "fp16", "int8")}
    for precision in ("fp32", "fp16"):
        exporting.export(model, card, paths[precision], precision=precision, config=config, inputs=inputs,
                         recipe=None, progress=Silent())  # fmt: skip
    job = Job(fp32=paths["fp32"], dataset=dataset, reference=exporting.reference_of(model, card, config),
              inputs=inputs, batches=exporting.batches_of(config))  # fmt: skip
    made = climb(job, paths["int8"], Int8Config(max_drop=6, allow_slower=True, calibration_images=64), Silent())
    assert made.chosen is not None
    seen = {p: predict_artifact(session.load(path), dataset, "validation") for p, path in paths.items()}
    top1 = {p: metrics.top_k(s.labels, s.logits, 1) for p, s in seen.items()}
    assert abs(top1["fp16"] - top1["fp32"]) <= 0.01
    assert top1["int8"] >= top1["fp32"] - 0.06
    int8 = session.load(paths["int8"])
    assert int8.inputs[0].type == "tensor(uint8)"
    assert int8.metadata.temperature_of == "file"
    assert session.load(paths["fp16"]).metadata.temperature_of == "model"
    # The temperature of its own logits divides inside the graph, too: undone, these are as wide as fp32's.
    assert int8.metadata.temperature == pytest.approx(
        metrics.calibration_temperature(seen["int8"].labels, seen["int8"].logits), rel=0.02
    )
    assert int8.metadata.temperature != pytest.approx(1.5, rel=0.1)
    wide = {p: (s.logits - s.logits.mean(axis=1, keepdims=True)).std() for p, s in seen.items()}
    assert wide["int8"] == pytest.approx(wide["fp32"], rel=0.3)
