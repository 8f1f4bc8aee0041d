"""Sources, splits and what a newcomer's folder gets wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from compressor.data.config import DataConfig
from compressor.data.load import load_dataset
from compressor.data.splits import SPLITS, stratified
from compressor.errors import DataError
from tests.conftest import fill, paint


def test_the_embedded_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    dataset = load_dataset(DataConfig())
    reference = load_digits()
    assert (dataset.labels == reference.target).all()
    for i in (0, 17, 1796):
        assert (np.asarray(dataset.read(i))[..., 0] == (reference.images[i] * 255 // 16)).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_splits_never_overlap_cover_everything_and_keep_the_classes_shares(seed: int) -> None:
    dataset = load_dataset(DataConfig(seed=seed))
    everything = np.concatenate([dataset.splits[name] for name in SPLITS])
    assert sorted(everything) == list(range(1797))
    for name in SPLITS:
        shares = np.bincount(dataset.labels[dataset.splits[name]]) / len(dataset.splits[name])
        assert abs(shares - 0.1).max() < 0.02


def test_another_data_seed_is_another_split_and_another_fingerprint() -> None:
    a, b = load_dataset(DataConfig(seed=0)), load_dataset(DataConfig(seed=1))
    assert a.split_fingerprint != b.split_fingerprint
    assert a.content == b.content


def test_a_smaller_limit_is_a_part_of_a_larger_one_and_of_the_same_split() -> None:
    small, large = load_dataset(DataConfig(limit=50)), load_dataset(DataConfig(limit=100))
    for name in SPLITS:
        assert set(small.splits[name]) < set(large.splits[name])
        assert len(small.splits[name]) == 50
        assert len(np.unique(small.labels[small.splits[name]])) == 10
    assert small.split_fingerprint == large.split_fingerprint
    assert small.fingerprint != large.fingerprint


def test_stratified_takes_every_class_at_least_once() -> None:
    labels = np.array([0] * 97 + [1] * 2 + [2])
    assert set(labels[stratified(labels, 3, 0)]) == {0, 1, 2}


def test_a_sample_smaller_than_the_classes_takes_random_ones_and_every_split_the_same(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(40), 5)
    small, large = stratified(labels, 10, 0, "a"), stratified(labels, 20, 0, "a")
    assert set(small) < set(large)
    assert len(set(labels[small])) == 10
    assert set(labels[small]) != set(range(10))
    assert set(labels[small]) == set(labels[stratified(labels, 10, 0, "another split")])
    assert set(labels[small]) != set(labels[stratified(labels, 10, 1, "a")])
    fill(tmp_path, tuple("abcdefgh"), count=4)
    limited = load_dataset(DataConfig(source=str(tmp_path), limit=3))
    kept = {split: set(limited.labels[limited.splits[split]]) for split in SPLITS}
    assert kept["train"] == kept["validation"] == kept["test"]
    assert any("limit 3 is below the 8 classes" in note for note in limited.notes)


def test_class_folders_are_split_and_named(photos: Path) -> None:
    dataset = load_dataset(DataConfig(source=str(photos)))
    assert dataset.classes == ["blue", "green", "red"]
    assert sum(len(dataset.splits[name]) for name in SPLITS) == 36
    assert dataset.ids[0] == "blue/000.png"


def test_given_splits_are_kept_as_they_are(tmp_path: Path) -> None:
    for name, count in (("train", 10), ("val", 4), ("test", 5)):
        fill(tmp_path / name, count=count)
    dataset = load_dataset(DataConfig(source=str(tmp_path)))
    for name, prefix, count in (("train", "train/", 30), ("validation", "val/", 12), ("test", "test/", 15)):
        ids = [dataset.ids[i] for i in dataset.splits[name]]
        assert len(ids) == count
        assert all(i.startswith(prefix) for i in ids)


@pytest.mark.parametrize("held", ["val", "test"])
def test_a_single_held_out_folder_is_the_report_and_validation_comes_from_train(tmp_path: Path, held: str) -> None:
    fill(tmp_path / "train", count=20)
    fill(tmp_path / held, count=4)
    dataset = load_dataset(DataConfig(source=str(tmp_path)))
    assert all(dataset.ids[i].startswith(f"{held}/") for i in dataset.splits["test"])
    assert all(dataset.ids[i].startswith("train/") for i in dataset.splits["validation"])
    assert bool(dataset.notes) == (held == "val")


def test_unreadable_images_are_named_and_skipped_up_to_a_limit(photos: Path) -> None:
    (photos / "red" / "broken.jpg").write_bytes(b"no image")
    cut = (photos / "red" / "000.png").read_bytes()
    (photos / "red" / "cut.png").write_bytes(cut[: len(cut) // 2])
    with pytest.raises(DataError, match=r"2 of 38 images can't be read: red/broken.jpg, red/cut.png"):
        load_dataset(DataConfig(source=str(photos)))
    dataset = load_dataset(DataConfig(source=str(photos), max_unreadable=0.1))
    assert dataset.unreadable == ["red/broken.jpg", "red/cut.png"]
    assert len(dataset.ids) == 36


@pytest.mark.parametrize(("side", "size"), [(20, 32), (32, 32), (100, 96), (300, 224)])
def test_the_input_size_follows_the_images(tmp_path: Path, side: int, size: int) -> None:
    for label, name in enumerate(("a", "b")):
        for index in range(12):
            paint(tmp_path / name / f"{index}.png", label, index, size=side)
    assert load_dataset(DataConfig(source=str(tmp_path))).setup.size == size
    assert load_dataset(DataConfig(source=str(tmp_path), image_size=64)).setup.size == 64


def test_a_changed_image_changes_the_fingerprint(photos: Path) -> None:
    before = load_dataset(DataConfig(source=str(photos))).fingerprint
    paint(photos / "red" / "000.png", 2, 99)
    assert load_dataset(DataConfig(source=str(photos))).fingerprint != before


def remove(root: Path, *classes: str) -> None:
    for name in classes:
        shutil.rmtree(root / name)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: shutil.rmtree(p), "does not exist"),
        (lambda p: remove(p, "red", "green"), "at least two"),
        (lambda p: [f.unlink() for f in (p / "red").iterdir()], "red has no images"),
        (lambda p: remove(p, "red", "green", "blue"), "no class folders"),
        (lambda p: [f.unlink() for f in list((p / "red").iterdir())[1:]], "too few samples to split"),
    ],
)
def test_what_a_newcomer_gets_wrong_is_said_before_any_work(photos: Path, spoil: object, message: str) -> None:
    spoil(photos)  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        load_dataset(DataConfig(source=str(photos)))


def test_few_images_a_class_are_split_with_every_class_everywhere(tmp_path: Path) -> None:
    names = tuple("abcdefgh")
    dataset = load_dataset(DataConfig(source=str(fill(tmp_path / "few", names, count=4))))
    for name in ("train", "validation", "test"):
        assert set(dataset.labels[dataset.splits[name]]) == set(range(len(names)))


def test_what_only_looks_like_an_image_is_left_out(photos: Path) -> None:
    (photos / "red" / "folder.jpg").mkdir()
    (photos / "red" / "gone.png").symlink_to(photos / "nowhere.png")
    dataset = load_dataset(DataConfig(source=str(photos), max_unreadable=0.1))
    assert dataset.unreadable == ["red/gone.png"]


def test_a_class_that_no_file_could_name_is_refused_before_training(photos: Path) -> None:
    (photos / "red").rename(photos / "red\u3000rose")
    with pytest.raises(DataError, match="can't be shown: rename it"):
        load_dataset(DataConfig(source=str(photos)))


def test_splits_whose_classes_differ_are_refused(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    fill(tmp_path / "test", classes=("blue", "green", "violet"))
    with pytest.raises(DataError, match=r"lacks red; has besides violet"):
        load_dataset(DataConfig(source=str(tmp_path)))


def test_a_typo_in_the_source_is_answered_with_the_nearest() -> None:
    with pytest.raises(DataError, match="did you mean 'digits'"):
        load_dataset(DataConfig(source="digit"))
