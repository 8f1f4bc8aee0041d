"""Teachers that come as files: ONNX graphs from anywhere, and tables of probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from compressor.artifact.images import ImagePreprocessing
from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset
from compressor.data.load import load_dataset
from compressor.data.loaders import training_loader
from compressor.distillation.acquire import acquire_teacher
from compressor.distillation.sources import TableTeacher, frozen
from compressor.errors import CheckpointError, UsageError
from compressor.evaluation.torch_predictor import predict_model
from compressor.models import checkpoint
from compressor.models.checkpoint import Card
from compressor.models.config import TeacherConfig

CPU = torch.device("cpu")
CLASSES = ("blue", "green", "red")


@pytest.fixture
def dataset(photos: Path) -> Dataset:
    return load_dataset(DataConfig(source=str(photos), image_size=32))


def file(path: Path, *, layout: str = "NCHW", size: int | str = 24, softmax: bool = False, kind: str = "float",
         classes: int = 3, batch: int | str = "N") -> Path:  # fmt: skip
    """A foreign file: the mean of each colour, times 4, as its logits; the others of a larger head are 0."""
    sides = [3, size, size] if layout == "NCHW" else [size, size, 3]
    axes = [2, 3] if layout == "NCHW" else [1, 2]
    matrix = np.zeros((3, classes), np.float32)
    matrix[range(3), range(3)] = 4
    nodes = [helper.make_node("Cast", ["in"], ["f"], to=TensorProto.FLOAT)]
    nodes += [
        helper.make_node("ReduceMean", ["f", "axes"], ["m"], keepdims=0),
        helper.make_node("MatMul", ["m", "w"], ["l"]),
    ]
    nodes += [helper.make_node("Softmax", ["l"], ["out"]) if softmax else helper.make_node("Identity", ["l"], ["out"])]
    dtype = TensorProto.UINT8 if kind == "uint8" else TensorProto.FLOAT
    given, out = (helper.make_tensor_value_info(n, t, s) for n, t, s in
                  (("in", dtype, [batch, *sides]), ("out", TensorProto.FLOAT, [batch, classes])))  # fmt: skip
    weights = [numpy_helper.from_array(matrix, "w"), numpy_helper.from_array(np.array(axes), "axes")]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [given], [out], weights), opset_imports=[helper.make_opsetid("", 18)]
    )
    model.ir_version = 10
    onnx.save(model, path)
    return path


def expected(dataset: Dataset, split: str, size: int) -> np.ndarray:
    """What the file has to say, computed without it."""
    pre = ImagePreprocessing(size=size)
    pixels = pre.encode([dataset.read(int(i)) for i in dataset.splits[split]])["pixels"]
    means = (pixels.mean(axis=(1, 2)) / 255 - np.array(pre.mean)) / np.array(pre.std)
    return np.asarray(4 * means)


def taken(path: Path, dataset: Dataset, **config: Any) -> Any:
    return acquire_teacher(TeacherConfig(model=str(path), **config), dataset, seed=0, device=CPU)


@pytest.mark.parametrize(("layout", "batch"), [("NCHW", "N"), ("NHWC", "N"), ("NCHW", 2)])
@pytest.mark.parametrize("softmax", [False, True])
def test_a_foreign_file_answers_whatever_its_layout_batch_and_output(
    tmp_path: Path, dataset: Dataset, layout: str, batch: int | str, softmax: bool
) -> None:
    found = taken(file(tmp_path / "its.onnx", layout=layout, batch=batch, softmax=softmax), dataset)
    assert found.training == "none"
    assert not found.trusted
    assert "ImageNet's are taken" in found.notice
    assert ("probabilities" in found.notice) == softmax
    assert found.preprocessing.size == 24, "the graph's size, not the data's"
    seen = predict_model(found.model, dataset, "validation", found.preprocessing)
    own = torch.log_softmax(torch.from_numpy(seen.logits), 1).numpy()
    wanted = torch.log_softmax(torch.from_numpy(expected(dataset, "validation", 24)), 1).numpy()
    np.testing.assert_allclose(own, wanted, rtol=1e-3, atol=1e-3)


def test_a_file_takes_pixels_an_open_size_and_the_recipes_normalisation(tmp_path: Path, dataset: Dataset) -> None:
    pixels = taken(file(tmp_path / "p.onnx", layout="NCHW", kind="uint8"), dataset)
    assert "ImageNet" not in pixels.notice
    raw = predict_model(pixels.model, dataset, "test", pixels.preprocessing).logits
    assert raw.max() > 255, "colours as they are, not normalised"
    free = taken(file(tmp_path / "f.onnx", size="S"), dataset, mean=(0, 0, 0), std=(1 / 255, 1 / 255, 1 / 255))
    assert free.preprocessing.size == 32, "the data's"
    assert "ImageNet" not in free.notice
    own = taken(file(tmp_path / "f24.onnx"), dataset, mean=(0, 0, 0), std=(1 / 255, 1 / 255, 1 / 255))
    np.testing.assert_allclose(predict_model(own.model, dataset, "test", own.preprocessing).logits, raw, rtol=1e-3)


def test_a_file_of_other_classes_or_inputs_is_refused_in_a_sentence(tmp_path: Path, dataset: Dataset) -> None:
    with pytest.raises(
        UsageError, match=r"gives 5 values for an image, and the data has 3 classes \(blue, green, red\)"
    ):
        taken(file(tmp_path / "five.onnx", classes=5), dataset)
    value = helper.make_tensor_value_info("in", TensorProto.FLOAT, ["N", 7])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 7])
    graph = helper.make_graph([helper.make_node("Identity", ["in"], ["out"])], "g", [value], [out])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "flat.onnx")
    with pytest.raises(UsageError, match="has to take one batch of images"):
        taken(tmp_path / "flat.onnx", dataset)


def test_our_own_file_says_all_of_itself_and_what_it_has_seen(run: Path) -> None:
    own = load_dataset(DataConfig(limit=160))
    found = taken(run / "student.onnx", own)
    assert found.notice is None
    assert found.trusted, "trained on this very split"
    assert found.architecture.macs > 0
    seen = predict_model(found.model, own, "test", found.preprocessing).logits
    model, card = checkpoint.load(run)
    wanted = predict_model(model, own, "test", card.preprocessing).logits
    np.testing.assert_allclose(seen, wanted, rtol=1e-3, atol=1e-3)
    with pytest.raises(CheckpointError, match="trained on another split of this data"):
        taken(run / "student.onnx", load_dataset(DataConfig(limit=160, seed=1)))


def test_our_own_file_of_other_classes_is_refused(run: Path, dataset: Dataset) -> None:
    with pytest.raises(UsageError, match=r"knows 10 classes \(0, 1, 2, 3, 4 …\) and the data has 3"):
        taken(run / "student.onnx", dataset)


def test_a_given_file_survives_as_a_checkpoint(tmp_path: Path, dataset: Dataset) -> None:
    found = taken(file(tmp_path / "its.onnx"), dataset)
    card = Card(
        architecture=found.architecture, classes=dataset.classes, preprocessing=found.preprocessing, role="teacher",
        origin="its.onnx", dataset={}, params=None, macs=None,
    )  # fmt: skip
    checkpoint.save(tmp_path / "kept", found.model, card)
    (tmp_path / "its.onnx").unlink()
    again, read = checkpoint.load(tmp_path / "kept")
    before, after = (predict_model(m, dataset, "test", read.preprocessing).logits for m in (found.model, again))
    assert (before == after).all()


def listing(path: Path, dataset: Dataset, *, without: str | None = None, sure: float = 0.8) -> Path:
    """A table that gives every file's class `sure`, its columns turned round, one of them nobody's."""
    lines = ["file,red,other,green,blue"]
    for i, label in enumerate(dataset.labels):
        if without is None or i not in dataset.splits[without]:
            p = dict.fromkeys(CLASSES, (1 - sure) / 2) | {CLASSES[int(label)]: sure}
            lines.append(f"{dataset.ids[i]},{p['red']},0.1,{p['green']},{p['blue']}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_table_answers_by_name_in_csv_and_npz_alike(tmp_path: Path, dataset: Dataset) -> None:
    found = taken(listing(tmp_path / "api.csv", dataset), dataset)
    assert "1 column(s) are no class of the data" in found.notice
    seen = predict_model(found.model, dataset, "test", found.preprocessing)
    own = np.exp(seen.logits)
    np.testing.assert_allclose(own.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(own[np.arange(len(own)), seen.labels], 0.8, rtol=1e-5)
    files, probabilities = np.array(dataset.ids), np.full((len(dataset.ids), 3), 0.1)
    probabilities[np.arange(len(files)), dataset.labels] = 0.8
    np.savez(tmp_path / "api.npz", files=files, probabilities=probabilities, classes=np.array(CLASSES))
    other = taken(tmp_path / "api.npz", dataset)
    np.testing.assert_allclose(
        predict_model(other.model, dataset, "test", other.preprocessing).logits, seen.logits, rtol=1e-5
    )


def test_a_table_mixes_its_answers_as_the_samples_are_mixed(tmp_path: Path, photos: Path) -> None:
    dataset = load_dataset(
        DataConfig.model_validate({"source": str(photos), "image_size": 32, "augment": {"mixup": 1.0}})
    )
    found = taken(listing(tmp_path / "api.csv", dataset), dataset)
    teacher = frozen(found.model, found.preprocessing, temperature=2.0)
    assert isinstance(teacher, TableTeacher)
    teacher.of(dataset)
    loader, _ = training_loader(dataset, preprocessings=[found.preprocessing], batch_size=8, seed=0)
    batch = next(iter(loader))
    answered = teacher.answer(batch, CPU).logits.softmax(1)
    soft = torch.tensor([0.8, 0.1, 0.1]).pow(0.5)
    high, low = (soft / soft.sum())[:2]
    one, two = (torch.where(torch.nn.functional.one_hot(batch[k], 3) > 0, high, low) for k in ("label", "partner"))
    amount = batch["amount"][:, None]
    torch.testing.assert_close(answered, amount * one + (1 - amount) * two)
    assert (amount.min() < 0.5) & (amount.max() > 0.5), "both samples counted"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        ("name,red,green,blue\n", "its first column is"),
        ("file,red,green\n", "no column for 1 of the data's 3 classes, such as 'blue'"),
        ("file,red,green,blue\na,1,0,0\na,1,0,0\n", "names 'a' more than once"),
        ("file,red,green,blue\na,-1,0,0\n", "a: 1 row.s. hold no probabilities"),
        ("file,red,green,blue\na,1,0\n", "row 2 has 3 cells"),
        ("file,red,green,blue\na,1,0,0\n", r"25 of 25 train samples are not in it \(.*such as cats/1.jpg"),
    ],
)
def test_a_table_that_is_wrong_is_refused_in_a_sentence(
    tmp_path: Path, dataset: Dataset, text: str, reason: str
) -> None:
    if "file,red,green\n" in text:
        text += "a,1,0\n"
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(UsageError, match=f"(?s){reason}"):
        taken(tmp_path / "bad.csv", dataset)


def test_what_a_table_lacks_is_counted_and_named(tmp_path: Path, dataset: Dataset) -> None:
    found = taken(listing(tmp_path / "api.csv", dataset, without="test"), dataset)
    missing = dataset.splits["test"]
    assert f"{len(missing)} of {len(missing)} test samples are not in it ({dataset.ids[missing[0]]}" in found.notice
    assert len(predict_model(found.model, dataset, "test", found.preprocessing).labels) == 0
