"""Data that is what it says: repeats, what is not used, layouts that may mean two things, and nothing read twice."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from compressor.artifact import images
from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset
from compressor.data.images import content
from compressor.data.load import load_dataset
from compressor.data.prints import look_alikes
from compressor.data.splits import SPLITS
from compressor.errors import DataError
from tests.conftest import fill, paint


def load(root: Path, **config: Any) -> Dataset:
    return load_dataset(DataConfig(source=str(root), **config))


def unused(dataset: Dataset) -> dict[str, int]:
    return {entry.reason: entry.count for entry in dataset.unused}


def settle(root: Path) -> None:
    """As if the files had been there for a while: what has changed just now is never trusted to stay."""
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, ns=(10**18, 10**18 + path.stat().st_size))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every image that the content pass decodes."""
    found: list[Any] = []
    original = images.open_image

    def noting(source: Any) -> Image.Image:
        found.append(source)
        return original(source)

    monkeypatch.setattr(content, "open_image", noting)
    return found


def shows(dataset: Dataset, split: str) -> set[bytes]:
    return {dataset.read(int(i)).tobytes() for i in dataset.splits[split]}


def never_in_two(dataset: Dataset) -> None:
    for split in SPLITS:
        for other in SPLITS:
            assert split == other or not shows(dataset, split) & shows(dataset, other)


def test_what_test_shows_is_taken_out_of_training_and_of_validation(tmp_path: Path) -> None:
    for split, start in (("train", 0), ("val", 100), ("test", 200)):
        for label, name in enumerate(("a", "b")):
            for index in range(6):
                paint(tmp_path / split / name / f"{index}.png", label, start + index)
    shutil.copy(tmp_path / "test" / "a" / "0.png", tmp_path / "train" / "a" / "copy.png")
    Image.open(tmp_path / "test" / "b" / "1.png").save(tmp_path / "val" / "b" / "same pixels.bmp")
    shutil.copy(tmp_path / "val" / "a" / "2.png", tmp_path / "train" / "b" / "of another class.png")
    dataset = load(tmp_path)
    never_in_two(dataset)
    assert {name: len(dataset.splits[name]) for name in SPLITS} == {"train": 12, "validation": 12, "test": 12}
    assert unused(dataset) == {
        "repeated from test, taken out of train": 1,
        "repeated from test, taken out of validation": 1,
        "repeated from validation, taken out of train": 1,
    }
    assert ["train/a/copy.png = test/a/0.png"] in [entry.examples for entry in dataset.unused]
    with pytest.raises(DataError, match=r"(?s)strict.*train/a/copy.png = test/a/0.png"):
        load(tmp_path, strict=True)


def test_of_images_saved_twice_none_is_in_two_splits(photos: Path) -> None:
    for path in list(photos.rglob("*.png")):
        shutil.copy(path, path.with_stem(path.stem + "-again"))
    dataset = load(photos)
    never_in_two(dataset)
    assert sum(unused(dataset).values()) > 10
    assert sum(len(dataset.splits[name]) for name in SPLITS) + sum(unused(dataset).values()) == 72


def test_a_test_folder_that_is_the_training_folder_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    shutil.copytree(tmp_path / "train", tmp_path / "test")
    with pytest.raises(DataError, match="with what two splits show taken out of one: train gets none"):
        load(tmp_path)


def test_the_same_picture_in_two_classes_is_named_and_counted(tmp_path: Path) -> None:
    for split, start in (("train", 0), ("val", 100), ("test", 200)):
        for label, name in enumerate(("a", "b")):
            for index in range(6):
                paint(tmp_path / split / name / f"{index}.png", label, start + index)
    shutil.copy(tmp_path / "train" / "a" / "0.png", tmp_path / "train" / "b" / "0-too.png")
    shutil.copy(tmp_path / "train" / "a" / "1.png", tmp_path / "train" / "a" / "1-too.png")
    notes = load(tmp_path).notes
    assert any("2 sample(s) show what another one of their split does" in note for note in notes)
    assert any("labelled as two classes: train/a/0.png = train/b/0-too.png" in note for note in notes)
    with pytest.raises(DataError, match="labelled as two classes"):
        load(tmp_path, strict=True)


def test_every_file_that_is_not_used_is_counted_by_reason(photos: Path) -> None:
    red = photos / "red"
    for index in range(3):
        (red / f"{index}.heic").write_bytes(b"x")
    (red / ".thumbnails").mkdir()
    shutil.copy(red / "000.png", red / ".thumbnails" / "000.png")
    (red / ".DS_Store").write_bytes(b"x")
    fill(photos / "__unknown__", ("x",), count=2)
    (photos / "readme.txt").write_text("hello")
    (red / "broken.png").write_bytes(b"no image")
    (red / "gone.png").symlink_to(photos / "nowhere.png")
    (red / "more").symlink_to(photos / "blue")
    os.mkfifo(red / "pipe.png")
    dataset = load(photos, max_unreadable=0.1)
    assert unused(dataset) == {
        "unsupported type .heic": 3,
        "hidden": 2,
        "in a folder whose name begins with __": 2,
        "in no class folder": 1,
        "damaged": 1,
        "broken link or unreadable file": 1,
        "link to a folder": 1,
        "no regular file": 1,
    }
    assert len(dataset.ids) == 36


def test_a_name_that_is_no_utf_8_is_a_name(photos: Path) -> None:
    odd = os.fsdecode(b"caf\xe9.png")
    shutil.copy(photos / "red" / "000.png", photos / "red" / odd)
    before = load(photos)
    assert f"red/{odd}" in before.ids
    assert load(photos).fingerprint == before.fingerprint


def test_a_jfif_file_is_a_jpeg(photos: Path) -> None:
    Image.open(photos / "red" / "000.png").save(photos / "red" / "photo.JFIF", format="JPEG")
    assert "red/photo.JFIF" in load(photos).ids


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ({"train": True, "training": True}, "both name the train split"),
        ({"val": True, "test": True}, "without train/"),
        ({"train": True, "bus": False, "car": False}, "may be a split .* or a class like bus/, car/"),
        ({"train": False, "test": False}, "hold no class folders"),
    ],
)
def test_a_layout_that_may_mean_two_things_is_refused(tmp_path: Path, folders: dict[str, bool], message: str) -> None:
    for name, split in folders.items():
        if split:
            fill(tmp_path / name, count=4)
        else:
            fill(tmp_path, (name,), count=4)
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    dataset = load(fill(tmp_path, ("bus", "car", "train"), count=6))
    assert dataset.classes == ["bus", "car", "train"]
    assert len(dataset.splits["train"]) == 18 - 3 - 4
    assert any("it is a class" in note for note in dataset.notes)


def test_folders_beside_the_splits_are_counted(tmp_path: Path) -> None:
    for split, label in (("train", 0), ("test", 1)):
        for index in range(6):
            paint(tmp_path / split / "a" / f"{index}.png", label, index)
            paint(tmp_path / split / "b" / f"{index}.png", label, 50 + index)
    fill(tmp_path / "raw", ("x",), count=4)
    assert unused(load(tmp_path)) == {"in a folder beside the splits": 4}


def test_no_image_is_read_twice_while_its_file_is_the_same(photos: Path, opened: list[Any]) -> None:
    settle(photos)
    before = load(photos)
    assert len(opened) == 36
    again = load(photos, seed=1)
    assert len(opened) == 36
    assert again.content == before.content
    paint(photos / "red" / "new.png", 2, 77)
    for name in ("red/new.png", "blue/000.png"):
        os.utime(photos / name, ns=(5, 5))
    load(photos)
    shutil.copy(photos / "red" / "001.png", photos / "red" / "copy.png")
    load(photos)
    assert len(opened) == 38, "the new one and the touched one; a copy has the bytes of one that is known"


def test_a_pass_that_was_stopped_goes_on(photos: Path, opened: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    settle(photos)
    monkeypatch.setattr(content, "_CHUNK", 8)
    exact = content.exact_print

    def stopping(image: Image.Image) -> int:
        if len(opened) > 20:
            raise KeyboardInterrupt
        return exact(image)

    with monkeypatch.context() as patch:
        patch.setattr(content, "exact_print", stopping)
        with pytest.raises(KeyboardInterrupt):
            load(photos)
    done = len(opened)
    load(photos)
    assert len(opened) - done <= 36 - 16


def test_an_edit_past_the_first_64_kilobytes_is_another_content(tmp_path: Path) -> None:
    for label, name in enumerate(("a", "b")):
        for index in range(5):
            paint(tmp_path / name / f"{index}.bmp", label, index, size=200)
    before = load(tmp_path)
    path = tmp_path / "a" / "0.bmp"
    data = bytearray(path.read_bytes())
    data[-50] ^= 0xFF
    path.write_bytes(bytes(data))
    after = load(tmp_path)
    assert after.content != before.content
    assert after.formerly == before.formerly, "which an earlier version would have taken for the same"
    assert before.known_as(before.formerly)


def test_a_damaged_memory_is_made_anew(photos: Path, opened: list[Any]) -> None:
    settle(photos)
    first = load(photos).content
    place = content._place(photos)
    for damaged in (b"", b"PK\x03\x04 no archive", place.read_bytes()[:100]):
        place.write_bytes(damaged)
        assert load(photos).content == first


def test_look_alikes_are_found_by_their_bands_and_no_others() -> None:
    rng = np.random.default_rng(0)
    near = rng.integers(0, 2**64, 400, dtype=np.uint64)
    bits = [np.uint64(1) << np.uint64(b) for b in range(64)]
    near[300] = near[3] ^ bits[0] ^ bits[17] ^ bits[40]
    near[301] = near[4] ^ bits[0] ^ bits[17] ^ bits[40] ^ bits[60]
    assert look_alikes(np.arange(300), np.arange(300, 400), near) == [(3, 300)]


def test_a_photo_saved_smaller_and_worse_looks_alike(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    small = Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8))
    photo = small.resize((300, 240), Image.Resampling.BICUBIC)
    photo.resize((150, 120), Image.Resampling.BICUBIC).save(tmp_path / "worse.jpg", quality=40)
    worse = Image.open(tmp_path / "worse.jpg")
    assert (content.near_print(photo) ^ content.near_print(worse)).bit_count() <= 3
    assert content.exact_print(photo) != content.exact_print(worse)
