"""onnxruntime-web's names with a few bytes in each, in the place of 41 MB."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from compressor.web import assets
from tests.artifact.test_hostile import GOOD, tiny
from tests.conftest import paint

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "where", "is", "my", "card", "##s", "lost", "!"]


def texts(path: Path, *, length: int | str = "length", **other: object) -> Path:
    """A classifier of texts: the sum of a row of numbers for each token."""
    tokenizer = {
        "kind": "wordpiece", "vocabulary": "\n".join(WORDS), "lowercase": True, "unknown": "[UNK]", "pad": "[PAD]",
        "first": "[CLS]", "last": "[SEP]", "special": {word: i for i, word in enumerate(WORDS[:4])},
    } | other  # fmt: skip
    about = {
        "name": "words", "classes": ["lost", "found", "neither"], "modality": "text", "temperature": 2.0,
        "preprocessing": {"tokenizer": tokenizer, "max_length": 12},
    }  # fmt: skip
    rows = np.random.default_rng(0).normal(size=(len(WORDS), 3)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["rows", "input_ids"], ["found"]),
        helper.make_node("ReduceSum", ["found", "axis"], ["logits"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "words",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", length])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(rows, "rows"), numpy_helper.from_array(np.array([1]), "axis")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"compressor": json.dumps(about)})
    path.write_bytes(model.SerializeToString())
    return path


def pixels(path: Path) -> Path:
    """A classifier as `--uint8-input --batch 2` makes them: pixels in, probabilities out, two at a time."""
    about = {
        "name": "pixels", "classes": ["red", "green", "blue"], "preprocessing": {"size": 8}, "temperature": 1.5,
        "input": "uint8", "output": "probabilities",
    }  # fmt: skip
    nodes = [
        helper.make_node("Cast", ["pixels"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers", "axes"], ["means"], keepdims=0),
        helper.make_node("Div", ["means", "range"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "pixels",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, [2, 8, 8, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [2, 3])],
        [numpy_helper.from_array(np.array([1, 2]), "axes"), numpy_helper.from_array(np.array(64, np.float32), "range")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"compressor": json.dumps(about)})
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """npm's archive, small; its digests are the pinned ones, and the cache is empty."""
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    contents = {name: f"// {name}\n".encode() for name in (*assets.WASM, *assets.WEBGPU)}
    path = tmp_path / "npm" / assets.ARCHIVE
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        for name, content in contents.items():
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    for table in ("WASM", "WEBGPU"):
        monkeypatch.setattr(assets, table, {name: assets.digest(contents[name]) for name in getattr(assets, table)})
    monkeypatch.setattr(assets, "INTEGRITY", "sha512-" + assets.digest(path.read_bytes()))
    return path


@pytest.fixture
def runtime(archive: Path) -> Path:
    """The same, in the cache."""
    assets.unpack(archive)
    return archive


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A run folder as far as the page looks at it: student, teacher, report, two examples."""
    run = tmp_path / "run"
    student = tiny(run / "student.onnx", about=GOOD | {"top1": 0.5})
    (run / "run.json").write_text(json.dumps({"schema_version": 1, "created": "2026-01-01T00:00:00+00:00"}))
    stage = run / "stages" / "00-teacher-big" / "seed0"
    tiny(stage / "model.onnx", about=GOOD | {"name": "big", "role": "teacher"})
    (stage / "model.json").write_text(
        json.dumps({"role": "teacher", "seed": 0, "architecture": {"name": "big"}, "origin": "scratch"})
    )
    (run / "report.html").write_text("<!doctype html><style>p { color: red }</style><p>A report")
    entries = []
    for number in range(2):
        paint(run / "examples" / f"{number:02d}.png", number, 0)
        entries.append({
            "id": str(number), "image": f"examples/{number:02d}.png", "label": "a", "teacher": "a",
            "teacher_confidence": 1.0, "student": "b", "student_confidence": 1.0,
        })  # fmt: skip
    entries.append(entries[0] | {"image": "../secret.png"})
    (run / "examples.json").write_text(json.dumps(entries))
    paint(tmp_path / "secret.png", 0, 0)
    return student.parent
