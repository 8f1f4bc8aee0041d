"""A teacher that has seen the test images is refused, whatever they are called now."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset
from compressor.data.load import load_dataset
from compressor.distillation.acquire import acquire_teacher, start
from compressor.errors import CheckpointError
from compressor.models import checkpoint, seen
from compressor.models.checkpoint import Card
from compressor.models.config import TeacherConfig
from compressor.models.family import family
from compressor.models.weights import build
from tests.conftest import paint

CPU = torch.device("cpu")
SEEN_TEST = r"trained on \d+ of the \d+ test samples"


def load(root: Path, **config: int) -> Dataset:
    return load_dataset(DataConfig.model_validate({"source": str(root), "image_size": 32, **config}))


def trained(folder: Path, dataset: Dataset) -> Path:
    """A checkpoint that says it was trained on the dataset's training split."""
    architecture, preprocessing = family("timm").describe(
        "test_resnet", classes=len(dataset.classes), setup=dataset.setup, stem="keep"
    )
    about = dataset.card() | seen.write(folder, [dataset.shown("train")])
    card = Card(
        architecture=architecture, classes=dataset.classes, preprocessing=preprocessing, role="teacher",
        origin="scratch", dataset=about, params=None, macs=None,
    )  # fmt: skip
    checkpoint.save(folder, build(architecture), card)
    return folder


def taken(path: Path, dataset: Dataset) -> bool:
    """Whether the teacher is known not to have seen the validation samples; refusals are raised."""
    return acquire_teacher(TeacherConfig(model=str(path)), dataset, seed=0, device=CPU).trusted


def test_the_same_data_and_split_are_fine(photos: Path, tmp_path: Path) -> None:
    assert taken(trained(tmp_path / "t", load(photos)), load(photos))


def test_a_folder_with_one_more_image_a_class_is_known(photos: Path, tmp_path: Path) -> None:
    teacher = trained(tmp_path / "t", load(photos))
    for label, name in enumerate(("blue", "green", "red")):
        paint(photos / name / "000-new.png", label, 900)
    with pytest.raises(CheckpointError, match=SEEN_TEST):
        taken(teacher, load(photos))


def test_renamed_files_and_folders_in_another_format_are_known(photos: Path, tmp_path: Path) -> None:
    teacher = trained(tmp_path / "t", load(photos))
    for path in photos.rglob("*.png"):
        target = tmp_path / "renamed" / f"das {path.parent.name}" / f"{path.stem[::-1]}.bmp"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).save(target)
    with pytest.raises(CheckpointError, match=SEEN_TEST):
        taken(teacher, load(tmp_path / "renamed", seed=3))


def test_weights_named_from_home_are_checked_as_all_others(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    trained(tmp_path / "t", load(photos))
    with pytest.raises(CheckpointError, match="trained on another split of this data"):
        start("test_resnet", "~/t/weights.safetensors", load(photos, seed=5), role="teacher", stem="keep", seed=0)


def test_validation_images_that_it_has_seen_make_it_suspect(photos: Path, tmp_path: Path) -> None:
    own = load(photos)
    leaked = np.setdiff1d(own.splits["all"], own.splits["test"])
    assert not taken(trained(tmp_path / "t", own.only("train", leaked)), own)


def test_a_card_of_before_is_checked_as_before(photos: Path, tmp_path: Path) -> None:
    teacher = trained(tmp_path / "t", load(photos))
    (teacher / seen.SEEN).unlink()
    assert taken(teacher, load(photos))
    with pytest.raises(CheckpointError, match="trained on another split of this data"):
        taken(teacher, load(photos, seed=1))


def test_prints_that_are_not_the_cards_are_refused(photos: Path, tmp_path: Path) -> None:
    teacher = trained(tmp_path / "t", load(photos))
    data = bytearray((teacher / seen.SEEN).read_bytes())
    data[3] ^= 1
    (teacher / seen.SEEN).write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match=r"seen\.bin is damaged"):
        taken(teacher, load(photos))


@pytest.mark.parametrize("file", ["", "student.onnx"])
def test_a_finished_run_remembers_what_each_of_its_models_saw(run: Path, tmp_path: Path, file: str) -> None:
    own = load_dataset(DataConfig(limit=160))
    for index in own.splits["train"]:
        target = tmp_path / "again" / f"{own.labels[index]}" / f"{index}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        own.read(int(index)).save(target)
    copied = tmp_path / "copied"
    shutil.copytree(run, copied)
    with pytest.raises(CheckpointError, match=r"trained on (\d+) of the \1 test samples"):
        taken(copied / file, load(tmp_path / "again"))
