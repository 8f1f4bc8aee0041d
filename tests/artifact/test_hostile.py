"""Files that nobody should trust: a clear error, and nothing read or written outside their folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compressor.artifact import session
from compressor.artifact.external import check
from compressor.errors import ArtifactError
from tests.conftest import compress, paint

GOOD: dict[str, Any] = {
    "name": "tiny",
    "classes": ["a", "b"],
    "preprocessing": {"size": 8},
    "dataset": {"name": "digits", "seed": 0},
    "temperature": 1.5,
}


def tiny(path: Path, *, about: Any = GOOD, outside: str | None = None, attribute: bool = False) -> Path:
    """A classifier of two classes: the mean of each channel, and a matrix; `outside` is where its matrix lies."""
    weight = numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(3, 2), "w")
    if outside is not None:
        weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, 2], data_location=TensorProto.EXTERNAL)
        for key, value in (("location", outside), ("offset", "0"), ("length", "24")):
            entry = weight.external_data.add()
            entry.key, entry.value = key, value
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["logits"]),
    ]
    if attribute:
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=weight))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [] if attribute else [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"compressor": about if isinstance(about, str) else json.dumps(about)})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    paint(tmp_path / "image.png", 0, 0)
    return tmp_path / "image.png"


def refused(path: Path, image: Path, text: str) -> None:
    """`predict` says what is wrong in at most three lines, exits with 1, and leaves nothing behind."""
    around = sorted(path.parent.parent.rglob("*"))
    done = compress("predict", path, image)
    assert done.exit_code == 1, done.output
    assert text in done.output
    assert "Traceback" not in done.output
    assert len(done.output.strip().splitlines()) <= 3
    assert done.output.isascii() or "…" in done.output
    assert sorted(path.parent.parent.rglob("*")) == around


@pytest.mark.parametrize("attribute", [False, True], ids=["initializer", "constant"])
@pytest.mark.parametrize("where", ["../secret.bin", "sub/../../secret.bin", "ABSOLUTE", "link.bin", "a\0b"])
def test_external_data_outside_the_folder_is_not_opened(
    where: str, attribute: bool, tmp_path: Path, image: Path
) -> None:
    secret = tmp_path / "secret.bin"
    np.arange(6, dtype=np.float32).tofile(secret)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link.bin").symlink_to(secret)
    (folder / "sub").mkdir()
    path = tiny(folder / "m.onnx", outside=str(secret) if where == "ABSOLUTE" else where, attribute=attribute)
    refused(path, image, "outside its own folder; it was not opened")
    with pytest.raises(ArtifactError, match="outside its own folder"):
        check(path)


def test_external_data_beside_the_file_is_a_file_like_any_other(tmp_path: Path, image: Path) -> None:
    np.arange(6, dtype=np.float32).tofile(tmp_path / "m.data")
    path = tiny(tmp_path / "m.onnx", outside="m.data")
    assert compress("predict", path, image).exit_code == 0


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.6, 0.95])
def test_a_truncated_file_is_said_to_be_damaged(share: float, tmp_path: Path, image: Path) -> None:
    whole = tiny(tmp_path / "m" / "m.onnx").read_bytes()
    (tmp_path / "m" / "m.onnx").write_bytes(whole[: int(share * len(whole))])
    refused(tmp_path / "m" / "m.onnx", image, "m.onnx")


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"location" * 9, b"<html></html>", b"\xff" * 300])
def test_a_file_that_is_no_onnx_is_said_to_be_none(content: bytes, tmp_path: Path, image: Path) -> None:
    path = tmp_path / "m" / "m.onnx"
    path.parent.mkdir()
    path.write_bytes(content)
    refused(path, image, "m.onnx")


def changed(**values: Any) -> dict[str, Any]:
    return GOOD | values


@pytest.mark.parametrize(
    ("about", "text"),
    [
        ("", "no compressor metadata"),
        ("{not json", "damaged compressor metadata"),
        ("[" * 100_000, "damaged compressor metadata"),
        ('"' + "x" * 41_000_000 + '"', "41 MB of it"),
        ([1, 2], "damaged compressor metadata"),
        (changed(classes="ab"), "classes"),
        (changed(classes=[]), "classes"),
        (changed(classes=["a", 7]), "classes"),
        (changed(classes=["a", "b", "c"]), "number of classes 3, where its graph has 2"),
        (changed(classes=["a", "\x1b]0;owned\x07"]), "not printable"),
        (changed(classes=["a", "b\nerror: none"]), "not printable"),
        (changed(classes=["a", "b" * 5000]), "not printable"),
        (changed(preprocessing={"size": -1}), "preprocessing.size"),
        (changed(preprocessing={"size": 10**9}), "preprocessing.size"),
        (changed(preprocessing={"size": 4096}), "image size 4096, where its graph has 8"),
        (changed(preprocessing={"size": 8, "crop_pct": 1e-308}), "preprocessing.crop_pct"),
        (changed(preprocessing={"size": 8, "std": [0, 1, 1]}), "preprocessing.std"),
        (changed(preprocessing={"size": 8, "mean": [1e999, 0, 0]}), "damaged compressor metadata"),
        (changed(preprocessing={"size": 8, "interpolation": "../../x"}), "preprocessing.interpolation"),
        (changed(temperature=0), "temperature"),
        (changed(temperature=-1.0), "temperature"),
        (changed(dataset=["../.."]), "dataset"),
        (changed(dataset={"name": {"a": 1}}), "dataset"),
    ],
)
def test_hostile_metadata_is_an_error_in_one_sentence(about: Any, text: str, tmp_path: Path, image: Path) -> None:
    refused(tiny(tmp_path / "m" / "m.onnx", about=about), image, text)


@pytest.mark.parametrize("dataset", [{"name": "digits", "seed": "x"}, {"name": "digits", "test": 9}])
def test_a_hostile_split_is_an_error_of_the_file(dataset: Any, tmp_path: Path) -> None:
    done = compress("evaluate", tiny(tmp_path / "m.onnx", about=changed(dataset=dataset)))
    assert done.exit_code == 1
    assert "damaged compressor metadata: dataset" in done.output


def test_class_names_that_look_like_paths_are_only_names(tmp_path: Path, image: Path) -> None:
    path = tiny(tmp_path / "m" / "m.onnx", about=changed(classes=["../../../etc/passwd", "[red]x[/red]"]))
    done = compress("predict", path, image, "--top", "2")
    assert done.exit_code == 0
    assert "../../../etc/passwd" in done.stdout
    assert "[red]x[/red]" in done.stdout
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["image.png", "m.onnx"]


def test_a_graph_that_breaks_while_running_is_an_error_of_the_file(tmp_path: Path, image: Path) -> None:
    model = onnx.load(tiny(tmp_path / "m.onnx"))
    model.graph.node[1].CopyFrom(helper.make_node("Transpose", ["pooled"], ["flat"], perm=[0, 2, 3, 1]))
    model.graph.node.insert(2, helper.make_node("Reshape", ["image", "shape"], ["broken"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([7, 5], np.int64), "shape"))
    model.graph.output.append(helper.make_tensor_value_info("broken", TensorProto.FLOAT, [7, 5]))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match="fails when run"):
        session.load(tmp_path / "m.onnx").run((np.zeros((1, 3, 8, 8), np.float32),))
