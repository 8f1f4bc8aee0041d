"""Trouble on the way: steps that are no numbers, no memory, no disk, a loader that dies, images that change."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset
from compressor.data.load import load_dataset
from compressor.distillation import fit as loop
from compressor.distillation import state
from compressor.distillation import step as stepping
from compressor.distillation.job import Job
from compressor.errors import CompressorError, DataError
from compressor.files import cache_dir
from tests.conftest import paint
from tests.distillation.test_fit import Ear, figures, job, model, same, saves, train


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset(DataConfig(limit=64))


def spoiled(dataset: Dataset, monkeypatch: pytest.MonkeyPatch, *numbers: int) -> list[int]:
    """Makes the loss of these steps no number, and the weights, too; gives the list of all steps that are taken."""
    forward, taken = stepping.step, []

    def step(run: Any, batch: Any, position: int, **kwargs: Any) -> Any:
        taken.append(position)
        if position in numbers:
            next(run.model.parameters()).data.fill_(float("nan"))
        return forward(run, batch, position, **kwargs)

    monkeypatch.setattr(loop, "step", step)
    return taken


def test_a_step_that_is_no_number_is_left_out_and_the_last_good_save_is_gone_back_to(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = spoiled(dataset, monkeypatch, 5)
    ear = Ear()
    net = train(model(2), dataset, job(2, save={"steps": 2}), tmp_path, ear)
    assert taken == [0, 1, 2, 3, 4, 5, 4, 6, 7]
    assert all(torch.isfinite(value).all() for value in net.state_dict().values())
    assert any("step 6 is not finite and left out (" in line for line in ear.said)
    assert all(record["loss"] < 10 for record in figures(tmp_path))


def test_a_loss_that_stays_no_number_ends_the_training_with_the_samples_names(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled(dataset, monkeypatch, 1, 2, 3)
    with pytest.raises(CompressorError, match=r"no longer finite.*\n.*lr.*\n.*digits") as caught:
        train(model(2), dataset, job(2), tmp_path)
    named = str(caught.value).rpartition(": ")[2].split(" and ")[0].split(", ")
    assert set(named) <= set(dataset.ids)
    assert state.begun(tmp_path / "state") is not None  # with another recipe it may go on from there


def hungry(limit: int, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """From now on a forward of more than `limit` samples finds no memory."""
    backward = stepping._backward

    def greedy(run: Any, batch: Any, *args: Any) -> Any:
        if len(batch["sample"]) > limit:
            raise error
        return backward(run, batch, *args)

    monkeypatch.setattr(stepping, "_backward", greedy)


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)  # fmt: skip
def test_without_memory_for_a_batch_it_is_taken_in_parts(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    hungry(4, monkeypatch, error)
    settled: list[int] = []
    ear = Ear()
    what = job(1)
    net = train(model(2), dataset, Job(**(vars(what) | {"settle": settled.append})), tmp_path / "a", ear)
    assert settled == [8, 4]
    assert any("goes on with 4 samples at a time and 16 per step as before" in line for line in ear.said)
    assert same(net, train(model(2), dataset, job(1, micro_batch=4), tmp_path / "b"))


def test_parts_of_a_batch_add_up_to_its_gradient(dataset: Dataset, tmp_path: Path) -> None:
    """Under statistics that stand still, and terms that look at each sample alone, nothing else may change."""
    still = vars(job(1, optimizer={"name": "sgd", "lr": 0.01}, clip=None)) | {"finetuning": True}
    parts = vars(job(1, optimizer={"name": "sgd", "lr": 0.01}, clip=None, micro_batch=5)) | {"finetuning": True}
    a = train(model(2), dataset, Job(**still), tmp_path / "a").state_dict()
    b = train(model(2), dataset, Job(**parts), tmp_path / "b").state_dict()
    start = model(2).state_dict()
    moved = [float((a[k] - start[k]).abs().max()) for k in a if a[k].is_floating_point()]
    assert max(moved) > 1e-4
    assert all((a[k] - b[k]).abs().max() < 1e-6 for k in a if a[k].is_floating_point())


def test_without_memory_for_two_samples_it_ends_in_a_sentence(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hungry(1, monkeypatch, MemoryError())
    with pytest.raises(CompressorError, match=r"out of memory with only 2 samples.*\n.*image_size"):
        train(model(2), dataset, job(1), tmp_path)


def test_an_accelerator_with_a_scaler_of_its_own_scales_nothing(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = train(model(2), dataset, job(1), tmp_path / "a")
    backward = Accelerator.backward
    monkeypatch.setattr(Accelerator, "backward", lambda self, loss, **k: backward(self, loss * 65536, **k))
    assert same(plain, train(model(2), dataset, job(1), tmp_path / "b"))


def test_a_loader_that_dies_is_said_and_the_training_goes_on_from_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = load_dataset(DataConfig(limit=64, workers=1))
    whole = train(model(2), own, job(2), tmp_path / "whole")
    parent, read = os.getpid(), own.read

    def deadly(index: int) -> Any:
        if os.getpid() != parent and (tmp_path / "dead" / "metrics.jsonl").is_file():
            os.kill(os.getpid(), signal.SIGKILL)
        return read(index)

    with pytest.raises(CompressorError, match=r"test: a loader process died.*\n.*--resume"):
        train(model(2), replace(own, read=deadly), job(2), tmp_path / "dead")
    assert state.begun(tmp_path / "dead" / "state") is not None
    assert same(whole, train(model(9), own, job(2), tmp_path / "dead"))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("how", ["repainted", "cut", "gone"])
def test_an_image_that_changes_under_the_run_is_named(tmp_path: Path, how: str, workers: int) -> None:
    for label, name in enumerate(("a", "b")):
        for index in range(8):
            paint(tmp_path / "photos" / name / f"{index}.png", label, index)
    own = load_dataset(DataConfig(source=str(tmp_path / "photos"), image_size=32, decoded=False, workers=workers))
    victim = tmp_path / "photos" / own.ids[int(own.splits["train"][0])]
    if how == "repainted":
        paint(victim, 2, 99)
    elif how == "cut":
        victim.write_bytes(victim.read_bytes()[:300])
    else:
        victim.unlink()
    net = model(2)
    net.fc = nn.Linear(net.fc.in_features, 2)  # type: ignore[union-attr,arg-type]
    with pytest.raises(DataError) as caught:
        train(net, own, job(1), tmp_path / "out")
    assert str(caught.value).startswith(f"image {victim} ")
    assert "Traceback" not in str(caught.value)


def test_old_stores_make_room_for_a_save_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    store = cache_dir() / "targets" / "old"
    store.mkdir(parents=True)
    (store / "a.shard").write_bytes(b"x" * 3_000_000)
    fsync = os.fsync

    def full(handle: int) -> None:
        if store.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=3_000_000 * (not store.exists())))
    monkeypatch.setattr(os, "fsync", full)
    own = saves(tmp_path / "state")
    own.save(state.Progressed(step=1))
    assert not store.exists()
    assert own.load() == state.Progressed(step=1)


def test_a_full_disk_says_how_much_is_missing_and_keeps_the_save_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    own = saves(tmp_path / "state")
    own.save(state.Progressed(step=1))

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100_000))
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            CompressorError, match=r"is full: .* needs 1\.0 MB.*0\.1 MB are free, so 0\.9 MB are missing"
        ):
            own.save(state.Progressed(step=2))
    assert own.load() == state.Progressed(step=1)
