"""Exported files: checked, self-describing, kept only when right."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from compressor.artifact import session
from compressor.artifact.images import ImagePreprocessing, normalize
from compressor.artifact.preprocessing import Inputs, taken
from compressor.errors import CompressorError, ParityError
from compressor.evaluation.torch_predictor import predictor_of
from compressor.exporting import export as exporting
from compressor.exporting import parity
from compressor.exporting.config import ExportConfig
from compressor.models.checkpoint import Card
from compressor.models.timm.build import TimmArchitecture
from compressor.models.weights import build
from compressor.progress import Silent
from compressor.seeds import seed_everything

SIZE = 32
INPUTS = {"pixels": np.random.default_rng(0).integers(0, 256, (24, SIZE, SIZE, 3), dtype=np.uint8)}


def model_and_card(name: str = "test_resnet") -> tuple[nn.Module, Card]:
    seed_everything(0)
    architecture = TimmArchitecture(name=name, classes=4, image_size=SIZE)
    model = build(architecture).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)  # timm starts some at zero: whole branches would be silent
            nn.init.uniform_(module.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    for parameter in model.get_classifier().parameters():  # type: ignore[operator]
        nn.init.normal_(parameter, std=0.5)
    card = Card(
        architecture=architecture, classes=["a", "b", "c", "d"], preprocessing=ImagePreprocessing(size=SIZE),
        role="student", origin="scratch", dataset={"name": "noise"}, params=1, macs=1, temperature=1.5,
    )  # fmt: skip
    return model, card


def export(model: nn.Module, card: Card, path: Path, precision: str = "fp32", **config: Any) -> exporting.Exported:
    return exporting.export(
        model,
        card,
        path,
        precision=precision,
        config=ExportConfig(**config),
        inputs=INPUTS,
        recipe="r",
        progress=Silent(),
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> exporting.Exported:
    """A dynamo export takes ten seconds: made once."""
    return export(*model_and_card(), tmp_path_factory.mktemp("export") / "model.onnx")


def test_a_file_reproduces_the_model_at_any_batch_size_and_says_what_it_is(exported: exporting.Exported) -> None:
    assert exported.parity.max_relative_error <= 1e-3
    assert exported.parity.top1_agreement >= 0.99
    artifact = session.load(exported.path)
    assert artifact.batch is None
    described = artifact.metadata
    assert described.classes == ["a", "b", "c", "d"]
    assert described.preprocessing == ImagePreprocessing(size=SIZE)
    assert described.temperature == 1.5
    assert described.parity is not None
    for batch in (1, 3, 24):
        assert artifact.logits(taken(INPUTS, slice(batch))).shape == (batch, 4)
    assert [p.name for p in exported.path.parent.iterdir()] == ["model.onnx"]


def _swap_weights(model: onnx.ModelProto) -> None:
    large = [i for i in model.graph.initializer if len(i.dims) == 4]
    values = onnx.numpy_helper.to_array(large[1])[::-1]
    large[1].CopyFrom(onnx.numpy_helper.from_array(values.copy(), large[1].name))


def _drop_layer(model: onnx.ModelProto) -> None:
    node = [n for n in model.graph.node if n.op_type == "Relu"][2]
    node.op_type = "Identity"


def _freeze_batch(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2


@pytest.mark.parametrize("spoil", [_swap_weights, _drop_layer, _freeze_batch])
def test_a_planted_wrong_graph_is_caught(spoil: Any, exported: exporting.Exported, tmp_path: Path) -> None:
    """The gate compares on real images, at several batch sizes: each of these would pass a looser look."""
    model, card = model_and_card()
    graph = onnx.load(exported.path)
    spoil(graph)
    onnx.save(graph, tmp_path / "wrong.onnx")
    loaded = session.load(tmp_path / "wrong.onnx")
    reference = predictor_of(model, card.preprocessing)

    def run(part: Inputs) -> NDArray[np.float32]:
        return loaded.run((normalize(part["pixels"], ImagePreprocessing(size=SIZE)),))

    with pytest.raises(Exception, match=r"does not reproduce|Got invalid dimensions"):
        parity.gate(parity.compare(reference, run, INPUTS, batches=parity.BATCHES), "fp32", "wrong.onnx")


def test_a_failed_gate_is_an_error_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, card = model_and_card()
    wrong = copy.deepcopy(model)
    with torch.no_grad():
        next(wrong.parameters()).mul_(1.5)
    write = exporting._write

    def swapped(_: nn.Module, *args: Any, dynamo: bool, **kwargs: Any) -> None:
        write(wrong, *args, dynamo=False, **kwargs)

    monkeypatch.setattr(exporting, "_write", swapped)
    with pytest.raises(ParityError, match="does not reproduce the PyTorch model"):
        export(model, card, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_dynamo_export_falls_back_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    write = exporting._write

    def failing(*args: Any, dynamo: bool, **kwargs: Any) -> None:
        if dynamo:
            raise RuntimeError("unsupported operator\nand much more")
        write(*args, dynamo=False, **kwargs)

    class Ear(Silent):
        def say(self, message: str) -> None:
            said.append(message)

    monkeypatch.setattr(exporting, "_write", failing)
    model, card = model_and_card()
    done = exporting.export(model, card, tmp_path / "m.onnx", precision="fp16", config=ExportConfig(batch=2),
                            inputs=INPUTS, recipe=None, progress=Ear())  # fmt: skip
    assert said == ["export: torch's dynamo exporter failed (RuntimeError: unsupported operator); trying TorchScript's"]
    artifact = session.load(done.path)
    assert artifact.batch == 2
    assert artifact.metadata.precision == "fp16"
    assert artifact.logits(taken(INPUTS, slice(5))).shape == (5, 4)
    assert done.bytes < 0.6 * sum(p.numel() * 4 for p in model.parameters())


def test_a_model_that_no_exporter_can_express_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(exporting, "_write", failing)
    with pytest.raises(CompressorError, match="test_resnet can't be exported: RuntimeError: no"):
        export(*model_and_card(), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_parity_notices_what_is_not_a_number() -> None:
    a = np.ones((4, 3), np.float32)
    with pytest.raises(ParityError):
        parity.gate(parity.difference(a, np.full_like(a, np.nan)), "fp16", "x")
    with pytest.raises(ParityError, match="shape"):
        parity.difference(a, a[:, :2])
