"""The target store: never a wrong target, and the same training as with a live teacher."""

from __future__ import annotations

import multiprocessing
import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from compressor.artifact.images import ImagePreprocessing
from compressor.data import shards
from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset
from compressor.data.images import views
from compressor.data.load import load_dataset
from compressor.distillation import targets
from compressor.distillation.config import StageConfig, TargetsConfig
from compressor.distillation.fit import Job, fit
from compressor.distillation.store import Layout
from compressor.distillation.targets import StoredTeacher
from compressor.distillation.teacher import FrozenTeacher, wire
from compressor.errors import CompressorError
from compressor.models.outputs import Outputs
from compressor.models.timm.build import TimmArchitecture
from compressor.models.weights import build
from compressor.progress import Silent
from compressor.seeds import seed_everything

PRE = ImagePreprocessing(size=32)
CPU = torch.device("cpu")
EXACT = TargetsConfig(dtype="float32", batch_size=16, precision="fp32")


def network(seed: int) -> nn.Module:
    seed_everything(seed)
    return build(TimmArchitecture(name="test_resnet", classes=10, image_size=32))


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset(DataConfig(limit=72))


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))


class Counting(FrozenTeacher):
    """Counts its forwards."""

    calls = 0

    def targets(self, *args: Any, **kwargs: Any) -> Outputs:
        self.calls += 1
        return super().targets(*args, **kwargs)


def filled(
    teacher: FrozenTeacher,
    dataset: Dataset,
    config: TargetsConfig = EXACT,
    *,
    views: int = 2,
    embedding: bool = True,
    attention: tuple[int, ...] = (),
) -> StoredTeacher:
    store, about = targets.describe(
        teacher, dataset, config, embedding=embedding, precision="fp32", dense=True, attention=attention, power=2.0
    )
    return targets.fill(store, about, teacher, dataset, config, views=views, label="t", device=CPU, progress=Silent())


def batch(dataset: Dataset, view: int = 1) -> dict[str, torch.Tensor]:
    samples = torch.from_numpy(dataset.splits["train"][[3, 0, 40]])
    return {"sample": samples, "number": torch.full((3,), view)}


@pytest.mark.parametrize(
    "objective",
    [
        {"ce": {}, "kd": {}},
        {"kd": {"temperature": 2}, "dist": {}, "hint": {}, "rkd": {}},
        {"kd": {}, "attention": {}, "hint": {}},
    ],
)
def test_fifty_steps_from_the_store_equal_fifty_live_steps_to_the_bit(
    dataset: Dataset, tmp_path: Path, objective: dict[str, Any]
) -> None:
    config = StageConfig.model_validate({"batch_size": 16, "objective": objective, "targets": {"views": 5}})
    epochs = 13  # of four steps each, over five views in turn
    states = []
    for stored in (False, True):
        teacher: Any = FrozenTeacher(network(1), PRE, temperature=1.3)
        if stored:
            taps = wire(network(2), PRE, teacher, config.objective).teacher_taps
            assert bool(taps) == ("attention" in objective)
            teacher = filled(teacher, dataset, views=5, attention=taps)
        job = Job(label="t", config=config, epochs=epochs, seed=0, preprocessing=PRE, teacher=teacher)
        done = fit(network(2), dataset, job, folder=tmp_path / str(stored), accelerator=Accelerator(cpu=True),
                   progress=Silent())  # fmt: skip
        states.append(done.model.state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_a_filled_store_is_not_filled_again_and_more_views_only_add(dataset: Dataset) -> None:
    teacher = Counting(network(1), PRE)
    filled(teacher, dataset, views=2)
    first = teacher.calls
    filled(teacher, dataset, views=2)
    assert teacher.calls == first
    filled(teacher, dataset, views=3)
    assert teacher.calls == first * 3 // 2


@pytest.mark.parametrize("damage", ["byte", "cut", "gone"])
def test_a_damaged_shard_is_found_and_computed_again(dataset: Dataset, damage: str) -> None:
    teacher = Counting(network(1), PRE)
    store = filled(teacher, dataset).store
    expected = filled(teacher, dataset).answer(batch(dataset), CPU)
    path = store.path(1, 0)
    data = bytearray(path.read_bytes())
    data[33] ^= 4
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(bytes(data) if damage == "byte" else bytes(data[: len(data) // 2]))
    before = teacher.calls
    mended = filled(teacher, dataset).answer(batch(dataset), CPU)
    assert teacher.calls > before
    assert torch.equal(mended.logits, expected.logits)


def test_a_store_that_is_removed_while_it_is_read_is_one_sentence(dataset: Dataset) -> None:
    stored = filled(FrozenTeacher(network(1), PRE), dataset)
    stored.answer(batch(dataset, view=0), CPU)
    shutil.rmtree(stored.store.folder)
    stored.answer(batch(dataset, view=0), CPU)  # what is mapped stays
    with pytest.raises(CompressorError, match=r"was removed while a training read it[^\n]*\n.*--resume"):
        stored.answer(batch(dataset, view=1), CPU)


def test_a_changed_teacher_dataset_view_or_precision_is_another_store(dataset: Dataset) -> None:
    def folder(teacher: FrozenTeacher, data: Dataset, config: TargetsConfig = EXACT, **kwargs: Any) -> Path:
        wanted: dict[str, Any] = {"embedding": True, "precision": "fp32", "dense": True} | kwargs
        return targets.describe(teacher, data, config, **wanted)[0].folder

    teacher = FrozenTeacher(network(1), PRE)
    base = folder(teacher, dataset)
    assert base == folder(FrozenTeacher(network(1), PRE, temperature=3.0), dataset), "calibration is applied on reading"
    touched = network(1)
    with torch.no_grad():
        next(touched.parameters())[0].add_(1e-3)
    augment = dataset.setup.augment.model_copy(update={"scale": (0.5, 1.0)})
    others = [
        folder(FrozenTeacher(touched, PRE), dataset),
        folder(FrozenTeacher(network(1), ImagePreprocessing(size=32, mean=(0.5, 0.5, 0.5))), dataset),
        folder(teacher, load_dataset(DataConfig(limit=71))),
        folder(teacher, load_dataset(DataConfig(limit=72, seed=1))),
        folder(teacher, type(dataset)(**(vars(dataset) | {"setup": replace(dataset.setup, augment=augment)}))),
        folder(teacher, type(dataset)(**(vars(dataset) | {"setup": replace(dataset.setup, stored_side=40)}))),
        folder(teacher, dataset, precision="bf16"),
        folder(teacher, dataset, embedding=False),
        folder(teacher, dataset, TargetsConfig(dtype="float16", batch_size=16)),
    ]
    assert len({base, *others}) == len(others) + 1


def described(dataset: Dataset, stem: Literal["keep", "stride1"] = "keep") -> tuple[Path, str]:
    """The folder of a teacher's store, and its weights' fingerprint; a stem changes strides, no weight."""
    architecture = TimmArchitecture(name="mobilenetv3_small_050", classes=10, image_size=32, stem=stem)
    seed_everything(1)
    teacher = FrozenTeacher(build(architecture), PRE, architecture=architecture)
    store, about = targets.describe(teacher, dataset, EXACT, embedding=True, precision="fp32", dense=True)
    return store.folder, about["teacher"]


@pytest.mark.parametrize("package", ["timm", "torch"])
def test_another_version_of_a_package_is_another_store(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    base = described(dataset)[0]
    monkeypatch.setattr(targets, "version", lambda name: "0.0.1" if name == package else version(name))
    assert described(dataset)[0] != base


def test_another_version_of_the_views_is_another_store(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    base = described(dataset)[0]
    monkeypatch.setattr(views, "VERSION", views.VERSION + 1)
    assert described(dataset)[0] != base


def test_another_stem_with_the_same_weights_is_another_store(dataset: Dataset) -> None:
    kept, adapted = described(dataset), described(dataset, "stride1")
    assert kept[1] == adapted[1]
    assert kept[0] != adapted[0]


def test_a_stopped_filling_goes_on_where_it_was(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    write = shards.write
    written: list[Path] = []

    def stopping(path: Path, array: Any) -> None:
        if len(written) == 1:
            raise KeyboardInterrupt
        written.append(path)
        write(path, array)

    monkeypatch.setattr(shards, "write", stopping)
    teacher = Counting(network(1), PRE)
    with pytest.raises(KeyboardInterrupt):
        filled(teacher, dataset, views=3)
    stopped = teacher.calls
    monkeypatch.setattr(shards, "write", write)
    answers = filled(teacher, dataset, views=3).answer(batch(dataset), CPU)
    per_view = -(-len(dataset.splits["train"]) // EXACT.batch_size)
    assert teacher.calls - stopped == 2 * per_view
    assert torch.isfinite(answers.logits).all()


def test_a_full_disk_is_one_sentence_and_no_half_shard(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    teacher = FrozenTeacher(network(1), PRE)
    with pytest.raises(CompressorError, match=r"can't be filled: .*No space left"):
        filled(teacher, dataset)
    assert not list(targets.root().rglob("*.shard"))
    monkeypatch.undo()


def _fill_elsewhere(cache: str, ready: Any, go: Any, calls: Any) -> None:
    import os

    os.environ["COMPRESS_CACHE"] = cache
    torch.set_num_threads(1)
    data = load_dataset(DataConfig(limit=72))
    teacher = Counting(network(1), PRE)
    ready.release()
    go.wait(60)
    filled(teacher, data)
    with calls.get_lock():
        calls.value += teacher.calls


def test_two_processes_filling_at_once_share_the_work_and_agree(dataset: Dataset, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, go, calls = context.Semaphore(0), context.Event(), context.Value("i", 0)
    args = (str(tmp_path / "cache"), ready, go, calls)
    both = [context.Process(target=_fill_elsewhere, args=args) for _ in range(2)]
    for process in both:
        process.start()
    for _ in both:
        assert ready.acquire(timeout=60)
    go.set()
    for process in both:
        process.join()
    assert [p.exitcode for p in both] == [0, 0]
    assert calls.value == 2 * -(-len(dataset.splits["train"]) // EXACT.batch_size)
    store, _ = targets.describe(
        FrozenTeacher(network(1), PRE), dataset, EXACT, embedding=True, precision="fp32", dense=True
    )
    assert store.missing(2) == []


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_dense_rows_give_back_logits_and_embedding(dtype: str) -> None:
    outputs = Outputs(logits=torch.randn(5, 7) * 10, embedding=torch.randn(5, 3))
    layout = Layout(classes=7, top_k=None, embedding=3, dtype=dtype)
    again = layout.unpack(layout.pack(outputs))
    tolerance = 0 if dtype == "float32" else 1e-2
    torch.testing.assert_close(again.logits, outputs.logits, rtol=tolerance, atol=tolerance)
    assert again.embedding is not None
    torch.testing.assert_close(again.embedding, outputs.embedding, rtol=tolerance, atol=tolerance)
    assert layout.row_bytes == 10 * np.dtype(dtype).itemsize


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_top_k_rows_keep_the_largest_and_the_mass_of_the_rest(dtype: str) -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 70_000) * 3
    layout = Layout(classes=70_000, top_k=16, embedding=0, dtype=dtype)
    again = layout.unpack(layout.pack(Outputs(logits=logits))).logits
    top = logits.topk(16, dim=1).indices
    assert torch.equal(again.topk(16, dim=1).indices.sort(1).values, top.sort(1).values)
    torch.testing.assert_close(again.logsumexp(1), logits.logsumexp(1), rtol=1e-3, atol=5e-3)
    torch.testing.assert_close(again.softmax(1).gather(1, top), logits.softmax(1).gather(1, top), rtol=2e-2, atol=1e-5)
    assert layout.row_bytes < 70_000


def test_the_precision_is_judged_on_samples_of_all_classes(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    ordered = replace(dataset, splits=dataset.splits | {"train": np.argsort(dataset.labels, kind="stable")[:300]})
    asked: list[int] = []

    def noting(teacher: Any, data: Any, samples: Any, view: int) -> dict[str, torch.Tensor]:
        asked.extend(samples)
        return {"pixels": torch.zeros(1)}

    monkeypatch.setattr(targets, "_views", noting)
    monkeypatch.setattr(targets, "on_device", lambda views, device: views)

    class Quick(FrozenTeacher):
        def in_precision(self, precision: str) -> FrozenTeacher:
            return self

        def targets(self, *args: Any, **kwargs: Any) -> Outputs:
            return Outputs(logits=torch.zeros(2, 10))

    targets.fastest_precision(Quick(network(0), PRE), ordered, EXACT, CPU)
    assert len(asked) == EXACT.batch_size
    assert len(set(dataset.labels[asked])) == len(set(dataset.labels[ordered.splits["train"]]))


def test_the_same_weights_in_another_architecture_have_a_store_of_their_own(dataset: Dataset) -> None:
    model = network(0)
    names = set()
    for stem in ("keep", "stride1"):
        architecture = TimmArchitecture(name="test_resnet", classes=10, image_size=32, stem=stem)
        teacher = FrozenTeacher(model, PRE, architecture=architecture)
        store, _ = targets.describe(teacher, dataset, EXACT, embedding=False, precision="fp32", dense=True)
        names.add(store.folder.name)
    assert len(names) == 2
