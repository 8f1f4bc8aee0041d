"""The training loop: a frozen teacher, repeatable runs, an exact resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from compressor.artifact.images import ImagePreprocessing
from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset
from compressor.data.load import load_dataset
from compressor.distillation import fit as loop
from compressor.distillation import state
from compressor.distillation import step as stepping
from compressor.distillation.config import SaveConfig, StageConfig
from compressor.distillation.fit import fit, head_alone
from compressor.distillation.job import Job
from compressor.distillation.optim import build_optimizer
from compressor.distillation.teacher import FrozenTeacher
from compressor.errors import CheckpointError
from compressor.models.timm.build import TimmArchitecture
from compressor.models.weights import build, head_names
from compressor.objectives.objective import Objective
from compressor.progress import Progress, Silent
from compressor.seeds import seed_everything

PRE = ImagePreprocessing(size=32)

EVERYTHING: dict[str, Any] = {
    "ce": {}, "kd": {}, "dkd": {}, "dist": {}, "hint": {"on": "both"}, "attention": {}, "rkd": {},
    "similarity": {"on": "maps"}, "cosine": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset(DataConfig(limit=64))


def model(seed: int, name: str = "test_resnet") -> nn.Module:
    seed_everything(seed)
    return build(TimmArchitecture(name=name, classes=10, image_size=32))


def job(epochs: int = 2, teacher: FrozenTeacher | None = None, **stage: Any) -> Job:
    config = StageConfig.model_validate({"batch_size": 16, "objective": {"ce": {}}} | stage)
    return Job(label="test", config=config, epochs=epochs, seed=0, preprocessing=PRE, teacher=teacher)


class Ear(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


def train(net: nn.Module, dataset: Dataset, what: Job, folder: Path, progress: Progress | None = None) -> nn.Module:
    return fit(
        net, dataset, what, folder=folder, accelerator=Accelerator(cpu=True), progress=progress or Silent()
    ).model


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_teacher_stays_frozen_whatever_is_done_to_it(dataset: Dataset, tmp_path: Path) -> None:
    net = model(1)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    teacher = FrozenTeacher(net.train(), PRE)
    teacher.train()
    assert not any(m.training for m in net.modules())
    net.train()  # even behind its back
    student = model(2)
    train(student, dataset, job(1, teacher, objective=EVERYTHING), tmp_path)
    assert not any(m.training for m in net.modules())
    assert not any(p.requires_grad for p in net.parameters())
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    optimizer = build_optimizer(student, Objective(StageConfig().objective.model_copy(update={"hint": None})),
                                StageConfig().optimizer, finetuning=False)  # fmt: skip
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert not held & {id(p) for p in net.parameters()}
    assert held == {id(p) for p in student.parameters()}


def test_two_runs_with_one_seed_agree_to_the_bit_and_another_seed_differs(dataset: Dataset, tmp_path: Path) -> None:
    teacher = FrozenTeacher(model(1), PRE)
    a = train(model(2), dataset, job(2, teacher, objective={"ce": {}, "hint": {}}), tmp_path / "a")
    b = train(model(2), dataset, job(2, teacher, objective={"ce": {}, "hint": {}}), tmp_path / "b")
    c = train(model(3), dataset, job(2, teacher, objective={"ce": {}, "hint": {}}), tmp_path / "c")
    assert same(a, b)
    assert not same(a, c)


class Killed(BaseException):
    """Nothing may be saved any more, as after SIGKILL."""


def killed_at(count: int, monkeypatch: pytest.MonkeyPatch, error: BaseException | None = None) -> None:
    """From now on step number `count` (from 1) is never done."""
    step, seen = stepping.step, 0

    def killed(*args: Any, **kwargs: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == count:
            monkeypatch.setattr(loop, "step", step)
            raise error or Killed
        return step(*args, **kwargs)

    monkeypatch.setattr(loop, "step", killed)


def forgetful(seed: int) -> nn.Module:
    """A model that draws in every step: dropout."""
    net = model(seed)
    net.global_pool = nn.Sequential(net.global_pool, nn.Dropout(0.3))  # type: ignore[arg-type]
    return net


def figures(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "data_wait_share")} for line in lines]


def test_a_training_killed_in_an_epoch_goes_on_as_if_it_had_not_stopped_with_any_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = {"objective": {"ce": {}, "kd": {}, "hint": {}}, "ema": 0.9, "save": {"steps": 3}}
    teacher = FrozenTeacher(model(1), PRE)
    whole = train(forgetful(2), load_dataset(DataConfig(limit=64)), job(2, teacher, **stage), tmp_path / "whole")
    for workers in (0, 2):
        own, folder = load_dataset(DataConfig(limit=64, workers=workers)), tmp_path / f"parts{workers}"
        killed_at(8, monkeypatch)  # four steps an epoch: one after the last save, in the middle of the second epoch
        with pytest.raises(Killed):
            train(forgetful(2), own, job(2, teacher, **stage), folder)
        assert sorted(p.name for p in (folder / "state").iterdir()) == [
            "step-0000000003.safetensors", "step-0000000006.safetensors",
        ]  # fmt: skip
        torch.manual_seed(5)  # whatever else has drawn
        resumed = train(forgetful(99), own, job(2, teacher, **stage), folder)
        assert same(whole, resumed)
        assert figures(folder) == figures(tmp_path / "whole")


def test_training_learns(dataset: Dataset, tmp_path: Path) -> None:
    train(model(0), dataset, job(8, optimizer={"lr": 4e-3}), tmp_path)
    epochs = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert epochs[-1]["loss"] < 0.8 * epochs[0]["loss"]
    assert {"terms", "lr", "seconds", "data_wait_share", "validation_top1", "validation_nll"} <= set(epochs[0])


def test_a_fresh_head_is_trained_alone_at_first(dataset: Dataset, tmp_path: Path) -> None:
    net = model(0)
    head = head_names(net)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    what = job(1, head_epochs=1.0)
    train(net, dataset, Job(**(vars(what) | {"fresh_head": True})), tmp_path)
    moved = {name for name, p in net.named_parameters() if not torch.equal(before[name], p)}
    assert moved == head


@pytest.mark.parametrize(
    ("epochs", "share", "alone"), [(1, 0.15, 0), (2, 0.15, 1), (30, 0.15, 5), (3, 1.0, 3), (4, 0, 0)]
)
def test_a_body_is_trained_even_in_a_single_epoch(epochs: int, share: float, alone: int) -> None:
    assert head_alone(job(epochs, head_epochs=share)) == alone


@pytest.mark.parametrize("taught", [False, True])
def test_only_what_learns_from_stored_views_reuses_them(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taught: bool
) -> None:
    seen: set[int] = set()
    from compressor.distillation.step import step

    def watched(run: Any, batch: Any, *args: Any, **kwargs: Any) -> Any:
        seen.update(batch["number"].tolist())
        return step(run, batch, *args, **kwargs)

    monkeypatch.setattr(loop, "step", watched)
    teacher = FrozenTeacher(model(1), PRE) if taught else None
    objective: dict[str, Any] = {"ce": {}} | ({"kd": {}} if taught else {})
    train(model(0), dataset, job(3, teacher, objective=objective, targets={"views": 2}), tmp_path)
    assert seen == ({0, 1} if taught else {0, 1, 2})


def test_a_loss_that_explodes_is_said_with_a_fix(dataset: Dataset, tmp_path: Path) -> None:
    from compressor.errors import CompressorError

    with pytest.raises(CompressorError, match=r"no longer finite.*\n.*lr"):
        train(model(0), dataset, job(1, optimizer={"name": "sgd", "lr": 1e30}, clip=None), tmp_path)


def test_calibration_divides_the_teachers_logits() -> None:
    net = model(0)
    views = {"pixels": torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)}
    plain = FrozenTeacher(net, PRE).targets(views).logits
    torch.testing.assert_close(FrozenTeacher(net, PRE, temperature=2.0).targets(views).logits, plain / 2)


@pytest.mark.parametrize("taught", [False, True])
def test_bf16_trains_and_keeps_float32_weights(dataset: Dataset, tmp_path: Path, taught: bool) -> None:
    teacher = FrozenTeacher(model(1), PRE) if taught else None
    objective: dict[str, Any] = EVERYTHING if taught else {"ce": {}}
    net = train(model(0), dataset, job(1, teacher, precision="bf16", objective=objective), tmp_path)
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert all(torch.isfinite(p).all() for p in net.parameters())


def saves(folder: Path, *, scale: float | None = None, say: Any = lambda _: None) -> state.Saves:
    net = nn.Linear(2, 2)
    scaler = torch.amp.GradScaler("cpu", enabled=scale is not None, init_scale=scale or 1.0)
    parts = state.Parts(
        modules={"model": net}, optimizer=torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9), scaler=scaler
    )
    return state.Saves(folder, parts, SaveConfig(), say)


def test_a_resumed_fp16_training_keeps_its_loss_scale(tmp_path: Path) -> None:
    saves(tmp_path, scale=512.0).save(state.Progressed(step=3, seconds=1.5))
    resumed = saves(tmp_path, scale=1024.0)
    assert resumed.load() == state.Progressed(step=3, seconds=1.5)
    assert resumed.parts.scaler.get_scale() == 512.0


def test_an_fp16_state_without_its_loss_scale_is_refused(tmp_path: Path) -> None:
    saves(tmp_path).save(state.Progressed(step=3))
    with pytest.raises(CheckpointError, match="saved without the scale of its fp16 losses"):
        saves(tmp_path, scale=1.0).load()
    assert saves(tmp_path).load() is not None
