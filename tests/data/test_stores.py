"""Shards and the decoded store: whole or not there, mended, within their limits."""

from __future__ import annotations

import errno
import multiprocessing
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compressor.artifact.images import ImagePreprocessing
from compressor.data import shards
from compressor.data.config import DataConfig
from compressor.data.images import decoded
from compressor.data.images.kind import IMAGES
from compressor.data.images.views import render
from compressor.data.load import load_dataset
from compressor.data.views import generators_restored
from compressor.errors import CompressorError
from compressor.progress import Silent
from tests.conftest import paint

PRE = ImagePreprocessing(size=24)
ARRAY = np.arange(60, dtype=np.float32).reshape(12, 5)


def test_a_shard_is_what_was_written(tmp_path: Path) -> None:
    shards.write(tmp_path / "a", ARRAY)
    assert shards.valid(tmp_path / "a", (12, 5), np.float32)
    assert (shards.open_array(tmp_path / "a", (12, 5), np.float32) == ARRAY).all()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:100] + bytes([b[100] ^ 1]) + b[101:],
        lambda b: b[:-1],
        lambda b: b[:40],
        lambda b: b + b"x",
        lambda b: b"",
    ],
)
def test_a_damaged_byte_or_a_cut_is_found(tmp_path: Path, damage: Any) -> None:
    shards.write(tmp_path / "a", ARRAY)
    (tmp_path / "a").write_bytes(damage((tmp_path / "a").read_bytes()))
    assert not shards.valid(tmp_path / "a", (12, 5), np.float32)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        shards.write(tmp_path / "a", ARRAY)
    assert list(tmp_path.iterdir()) == []


def test_room_is_made_by_removing_what_was_used_longest_ago(tmp_path: Path) -> None:
    for i, name in enumerate(("old", "new", "busy")):
        shards.write(tmp_path / name / "a", np.zeros(1000, np.uint8))
        shards.touch(tmp_path / name)
        mark = tmp_path / name / "used"
        stamp = 1000.0 + (0 if name == "busy" else i + 1)
        os.utime(mark, (stamp, stamp))
    with shards.locked(tmp_path / "busy"):
        shards.make_room(tmp_path, tmp_path / "mine", 1500, 4000)
    assert {p.name for p in tmp_path.iterdir()} == {"new", "busy"}
    with pytest.raises(CompressorError, match="the limit is"):
        shards.make_room(tmp_path, tmp_path / "mine", 5000, 4000)
    with pytest.raises(CompressorError, match="are free on"):
        shards.make_room(tmp_path, tmp_path / "mine", 10**18, 10**19)


def _hold(folder: Path, started: Any) -> None:
    with shards.locked(folder):
        started.set()
        import time

        time.sleep(1.0)


def test_a_second_process_waits_for_the_lock(tmp_path: Path) -> None:
    import time

    context = multiprocessing.get_context("spawn")
    started = context.Event()
    other = context.Process(target=_hold, args=(tmp_path, started))
    other.start()
    started.wait(30)
    begun = time.monotonic()
    with shards.locked(tmp_path):
        waited = time.monotonic() - begun
    other.join()
    assert waited > 0.3


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Photos larger than what is stored of them."""
    for label, name in enumerate(("a", "b")):
        for index in range(8):
            paint(tmp_path / "large" / name / f"{index}.png", label, index, size=120)
    return tmp_path / "large"


def test_each_image_is_decoded_once_and_views_stay_pure(large: Path) -> None:
    dataset = load_dataset(DataConfig(source=str(large), image_size=24))
    counted: list[int] = []
    read = dataset.read

    def counting(index: int) -> Any:
        counted.append(index)
        return read(index)

    own = type(dataset)(**(vars(dataset) | {"read": counting}))
    first = decoded.with_decoded(own, 24, Silent())
    assert first.setup.stored_side == 30
    train = dataset.splits["train"]
    with generators_restored():
        views = [render(first, int(i), 0, 24) for i in train]
    assert sorted(counted) == sorted(train.tolist())
    assert min(first.setup.stored(int(train[0])).size) == 30
    again = decoded.with_decoded(own, 24, Silent())
    with generators_restored():
        assert all((render(again, int(i), 0, 24) == v).all() for i, v in zip(train, views, strict=True))
    assert len(counted) == len(train)
    assert IMAGES.views_depend_on(first) != IMAGES.views_depend_on(dataset)


def test_a_damaged_decoded_store_is_mended(large: Path) -> None:
    dataset = load_dataset(DataConfig(source=str(large), image_size=24))
    before = decoded.with_decoded(dataset, 24, Silent())
    index = int(dataset.splits["train"][0])
    expected = np.asarray(before.setup.stored(index))
    shard = max(decoded.root().glob(f"{dataset.content}-*/pixels-*.shard"))
    data = bytearray(shard.read_bytes())
    data[5] ^= 0xFF
    shard.write_bytes(bytes(data))
    after = decoded.with_decoded(dataset, 24, Silent())
    assert (np.asarray(after.setup.stored(index)) == expected).all()


def test_without_room_images_are_decoded_each_time_and_it_is_said(large: Path) -> None:
    said: list[str] = []

    class Ear(Silent):
        def say(self, message: str) -> None:
            said.append(message)

    dataset = load_dataset(DataConfig(source=str(large), image_size=25, decoded_limit=1e-9))
    assert decoded.with_decoded(dataset, 25, Ear()).setup.stored_side is None
    assert len(said) == 1
    assert "no room for the decoded store" in said[0]


def test_what_validation_shows_is_decoded_once_for_all_models_and_epochs(large: Path) -> None:
    plain = load_dataset(DataConfig(source=str(large)))
    read: Counter[int] = Counter()
    counting = replace(plain, read=lambda i: read.update([i]) or plain.read(i))
    teacher, student = ImagePreprocessing(size=24), ImagePreprocessing(size=24, mean=(0.5, 0.5, 0.5))
    wanted = list(plain.inputs("validation", student, 1))
    for dataset in (counting.keeping(Silent()), counting.keeping(Silent())):
        for preprocessing, batch in ((teacher, 64), (student, 1), (student, 1)):
            found = list(dataset.inputs("validation", preprocessing, batch))
            if batch == 1:
                for (i, own), (j, other) in zip(found, wanted, strict=True):
                    assert (i == j).all()
                    assert (own["pixels"] == other["pixels"]).all()
    assert set(read.values()) == {1}
    assert sorted(read) == plain.splits["validation"].tolist()
    other = next(counting.keeping(Silent()).inputs("validation", ImagePreprocessing(size=20), 4))[1]
    assert other["pixels"].shape[1:] == (20, 20, 3)


def test_damaged_encoded_samples_are_made_anew_and_a_full_disk_is_said(large: Path) -> None:
    plain = load_dataset(DataConfig(source=str(large)))
    wanted = next(plain.inputs("validation", PRE, 64))[1]["pixels"]
    next(plain.keeping(Silent()).inputs("validation", PRE, 64))
    for shard in decoded.root().glob("encoded-*/pixels-*.shard"):
        data = bytearray(shard.read_bytes())
        data[5] ^= 0xFF
        shard.write_bytes(bytes(data))
    assert (next(plain.keeping(Silent()).inputs("validation", PRE, 64))[1]["pixels"] == wanted).all()
    said: list[str] = []

    class Ear(Silent):
        def say(self, message: str) -> None:
            said.append(message)

    narrow = load_dataset(DataConfig(source=str(large), decoded_limit=1e-9)).keeping(Ear())
    for size in (25, 26):
        assert len(next(narrow.inputs("validation", ImagePreprocessing(size=size), 64))[0])
    assert len(said) == 1
    assert "no room to keep them" in said[0]


def test_a_shard_that_has_not_changed_is_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards.write(tmp_path / "a", ARRAY)
    os.utime(tmp_path / "a", (1, 1))
    assert shards.valid(tmp_path / "a", (12, 5), np.float32)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda *_: pytest.fail("read again"))
        assert shards.valid(tmp_path / "a", (12, 5), np.float32)
    data = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(data[:9] + b"x" + data[10:])
    assert not shards.valid(tmp_path / "a", (12, 5), np.float32)
