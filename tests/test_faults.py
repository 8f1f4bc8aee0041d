"""Disks that fail and files that are damaged, in hundreds of ways drawn by seed: nothing saved is lost, nothing is
taken for what it is not, and what is said is a sentence. A sample runs always, all of them with the slow tests."""

from __future__ import annotations

import errno
import os
import random
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compressor.data import shards
from compressor.data.images import unchanged
from compressor.distillation import state
from compressor.distillation.config import SaveConfig
from compressor.errors import CompressorError, DataError
from compressor.files import UNFINISHED, read_document, write_json
from compressor.runnote import RunNote
from tests.conftest import paint

CASES = [pytest.param(seed, marks=[] if seed % 20 == 0 else pytest.mark.slow) for seed in range(560)]


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power fails here: waiting for the disk in hundreds of cases would show nothing."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


class Saved:
    """A training's saves; the weights at each step are known."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=0.1)
        parts = state.Parts(
            modules={"model": self.net}, optimizer=self.optimizer, scaler=torch.amp.GradScaler("cpu", enabled=False)
        )
        self.said: list[str] = []
        self.saves = state.Saves(folder, parts, SaveConfig(), self.said.append)
        self.known: dict[int, str] = {}

    def save(self, step: int) -> None:
        """A step of training, and a save."""
        self.optimizer.zero_grad()
        self.net(torch.randn(4, 8)).square().sum().backward()
        self.optimizer.step()
        self.known[step] = self.content()
        self.saves.save(state.Progressed(step=step, records=[{"epoch": 1, "loss": 0.5}], begun={"start": "here"}))

    def content(self) -> str:
        """All that is saved of weights and moments, as text."""
        moments = self.optimizer.state_dict()["state"]
        return repr([*(v.tolist() for v in self.net.state_dict().values())]) + repr(
            [slots[name].tolist() for slots in moments.values() for name in sorted(slots)]
        )

    def loaded(self) -> int | None:
        """The step that a load comes to, whose content has to be what was saved."""
        with torch.no_grad():
            for value in self.net.parameters():
                value.fill_(7.0)
        found = self.saves.load()
        if found is None:
            return None
        assert self.content() == self.known[found.step]
        assert found.records == [{"epoch": 1, "loss": 0.5}]
        assert found.begun == {"start": "here"}
        return found.step


@contextmanager
def failing(rng: random.Random, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A disk whose n-th operation fails, or that takes only so many bytes of a file."""
    number = rng.choice([errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
    left = rng.randrange(3)
    how = rng.choice(["fsync", "replace", "open", "size"])
    if how == "size":
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (rng.randrange(4000), before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        return
    real: Callable[..., object] = getattr(os, how)

    def faulty(*args: object, **kwargs: object) -> object:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(number, os.strerror(number))
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, how, faulty)
        yield


def error_of(do: Callable[[], object]) -> Exception | None:
    """What it raises, if anything."""
    try:
        do()
    except Exception as error:
        return error
    return None


def damage(path: Path, rng: random.Random) -> None:
    """Flips bits, cuts, empties, lengthens, or overwrites a stretch, as a bad disk or a power cut would."""
    data = bytearray(path.read_bytes())
    how = rng.choice(["flip", "flip", "flip", "cut", "zeros", "longer", "empty"])
    place = rng.randrange(len(data))
    if how == "flip":
        for _ in range(rng.choice([1, 1, 3])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif how == "cut":
        del data[place:]
    elif how == "zeros":
        data[place : place + 64] = bytes(len(data[place : place + 64]))
    elif how == "longer":
        data += rng.randbytes(rng.randrange(1, 100))
    else:
        data.clear()
    path.write_bytes(data)


def unfinished(folder: Path) -> list[Path]:
    return list(folder.rglob(f"{UNFINISHED}*"))


@pytest.mark.parametrize("seed", CASES[:200])
def test_a_save_that_fails_leaves_the_one_before_it(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    own = Saved(tmp_path / "state")
    own.save(1)
    own.save(2)
    with failing(rng, monkeypatch):
        failed = error_of(lambda: own.save(3))
    assert failed is None or (isinstance(failed, CompressorError) and str(tmp_path / "state") in str(failed))
    assert unfinished(tmp_path) == []
    found = own.loaded()
    assert found == 3 or (failed and found == 2)
    own.save(4)  # and it goes on
    assert own.loaded() == 4


@pytest.mark.parametrize("seed", CASES[:200])
def test_a_damaged_save_is_never_taken_for_a_whole_one(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    own = Saved(tmp_path)
    own.save(1)
    own.save(2)
    newest, before = sorted(tmp_path.iterdir(), reverse=True)
    damage(newest, rng)
    both = rng.random() < 0.3
    if both:
        damage(before, rng)
    found = own.loaded()  # compares what it gives with what was saved
    assert found is not None or both
    if found != 2:
        assert f"the save {newest} is damaged" in own.said[0]


@pytest.mark.parametrize("seed", CASES[:160])
def test_a_damaged_or_half_written_shard_is_never_valid(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    array = np.random.default_rng(seed).standard_normal((50, 7)).astype(np.float32)
    path = tmp_path / "store" / "a.shard"
    shards.write(path, array)
    assert shards.valid(path, (50, 7), np.float32)
    with failing(rng, monkeypatch):
        failed = error_of(lambda: shards.write(path, array + 1))
    assert failed is None or (isinstance(failed, OSError) and failed.strerror)
    assert unfinished(tmp_path) == []
    assert shards.valid(path, (50, 7), np.float32)
    kept = shards.open_array(path, (50, 7), np.float32)
    assert (kept == array).all() or (kept == array + 1).all()
    kept = kept.copy()
    damage(path, rng)
    assert not shards.valid(path, (50, 7), np.float32) or (shards.open_array(path, (50, 7), np.float32) == kept).all()


@pytest.mark.parametrize("seed", CASES[:80])
def test_a_note_that_is_written_on_a_failing_disk_is_the_old_or_the_new_one(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    path = tmp_path / "run.json"
    notes = [RunNote(created="2026-01-01", status=status) for status in ("running", "done")]
    write_json(path, notes[0])
    with failing(rng, monkeypatch):
        failed = error_of(lambda: write_json(path, notes[1]))
    assert failed is None or (isinstance(failed, OSError) and failed.strerror)
    assert read_document(path, RunNote) in notes
    assert unfinished(tmp_path) == []
    text = path.read_bytes()
    path.write_bytes(text[: rng.randrange(len(text) - 1)])
    with pytest.raises(CompressorError, match=r"run\.json is damaged"):
        read_document(path, RunNote)


@pytest.mark.parametrize("seed", CASES[:80])
def test_an_image_damaged_under_a_run_is_named_and_never_seen(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    paths = [tmp_path / f"{index}.{rng.choice(['png', 'jpg'])}" for index in range(2)]
    for index, path in enumerate(paths):
        paint(path, 0, index)
    read = unchanged.reader(paths)
    assert read(0).size == (40, 40)
    damage(paths[0], rng)
    os.utime(paths[0], ns=(0, seed))  # whatever the clock's steps are
    with pytest.raises(DataError, match=f"image {paths[0]} has changed"):
        read(0)
    assert read(1).size == (40, 40)
