"""The one training loop: teachers, assistants, students and baselines all pass through `fit`."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from compressor.artifact.preprocessing import Preprocessing
from compressor.data.dataset import Dataset
from compressor.data.loaders import Batch, EpochOrder, training_loader
from compressor.distillation import state
from compressor.distillation.config import StageConfig
from compressor.distillation.guides import Several, wired
from compressor.distillation.history import History
from compressor.distillation.optim import build_ema, build_optimizer, build_schedule
from compressor.distillation.probe import normalised
from compressor.distillation.targets import StoredTeacher
from compressor.distillation.teacher import FrozenTeacher, Wiring, on_device, wire
from compressor.errors import CompressorError
from compressor.evaluation.metrics import nll, top_k
from compressor.evaluation.predictions import Batches
from compressor.evaluation.torch_predictor import predict_model
from compressor.models.checkpoint import save_tensors
from compressor.models.family import family_of
from compressor.models.outputs import Outputs
from compressor.models.weights import head_names
from compressor.objectives.objective import Objective, Signals
from compressor.progress import Bar, Progress
from compressor.seeds import derive_seed, seed_everything

Teacher = FrozenTeacher | StoredTeacher | Several

KEPT_BYTES = 64_000_000
"""Bytes of validation inputs that are held in memory instead of being read anew every epoch."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one training is: everything but the weights."""

    label: str
    """For progress bars and messages."""
    config: StageConfig
    epochs: int
    seed: int
    preprocessing: Preprocessing
    teacher: Teacher | None = None
    finetuning: bool = False
    """Whether the weights come from an earlier training: the learning rate is scaled down."""
    fresh_head: bool = False
    """Whether trained weights carry a new head, which is then trained alone at first."""
    only_head: bool = False
    """Whether the body stays as it is."""
    stones: Mapping[int, Path] = field(default_factory=dict)
    """Where the weights are left after so many epochs, on the way."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A trained model and what the training took."""

    model: nn.Module
    seconds: float
    samples_per_second: float


class Tapped(nn.Module):
    """A model whose forward gives `Outputs`."""

    def __init__(self, model: nn.Module, *, embedding: bool = False, taps: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.model = model
        self.embedding = embedding
        self.taps = taps

    def forward(self, *prepared: Tensor) -> Outputs:
        """What the family prepares → logits, and what else was asked for."""
        return family_of(self.model).forward(self.model, prepared, embedding=self.embedding, taps=self.taps)


@dataclass(kw_only=True)
class _Run:
    """The parts of a running training."""

    job: Job
    accelerator: Accelerator
    model: nn.Module
    student: nn.Module
    objective: Objective
    wiring: Wiring
    optimizer: torch.optim.Optimizer
    schedule: Any
    ema: nn.Module | None
    best: nn.Module | None
    """The weights of the epoch that validation likes best; None where the last ones are kept."""
    scaler: Any
    precision: torch.dtype | None


def fit(
    model: nn.Module,
    dataset: Dataset,
    job: Job,
    *,
    folder: Path,
    accelerator: Accelerator,
    progress: Progress,
    watch: Callable[[dict[str, Any]], None] | None = None,
) -> Fitted:
    """Trains `model` in place; the metrics of each epoch go to `folder/metrics.jsonl`, and to `watch`.

    A state found in `folder/state` is continued from. Views and order depend on (seed, epoch) alone and
    the generators are seeded anew each epoch, so a continued training equals an uninterrupted one.

    Raises:
        CompressorError: the loss is no longer finite.
    """
    device = accelerator.device
    run, loader, order = _prepare(model, dataset, job, accelerator)
    kept = {"model": model, "objective": run.objective}
    kept |= {name: module for name, module in (("ema", run.ema), ("best", run.best)) if module is not None}
    done = state.load(folder / "state", kept, run.optimizer, run.scaler)
    seconds, first = (done.seconds, done.epoch) if done else (0.0, 0)
    history = History(folder / "metrics.jsonl", first)
    saved = time.monotonic()
    validation = dataset.kept("validation", job.preprocessing, KEPT_BYTES)
    with progress.bar(job.label, job.epochs * len(order)) as bar:
        bar.skip(first * len(order))
        for epoch in range(first, job.epochs):
            started = time.monotonic()
            record = _epoch(run, model, loader, order, epoch, bar)
            seconds += time.monotonic() - started
            averaged: nn.Module = run.ema.module if run.ema else model  # type: ignore[assignment]
            record |= _validate(averaged, dataset, job, device, validation)
            history.add(record)
            if run.best is not None and history.best is record:
                run.best.load_state_dict(averaged.state_dict())
            if epoch + 1 in job.stones:
                save_tensors(job.stones[epoch + 1], dict(averaged.state_dict()))
            progress.say(_line(job, record))
            if watch is not None:
                watch(record)
            if time.monotonic() - saved > state.SECONDS_BETWEEN:
                reached = state.Progressed(epoch=epoch + 1, seconds=seconds)
                state.save(folder / "state", kept, run.optimizer, run.scaler, reached)
                saved = time.monotonic()
    final = run.best or (run.ema.module if run.ema else None)
    if final is not None:
        model.load_state_dict(final.state_dict())  # type: ignore[union-attr]
    seen = job.epochs * len(order) * order.batch_size
    return Fitted(model=model.eval(), seconds=seconds, samples_per_second=seen / seconds if seconds else 0.0)


def _prepare(
    model: nn.Module, dataset: Dataset, job: Job, accelerator: Accelerator
) -> tuple[_Run, Iterable[Any], EpochOrder]:
    device = accelerator.device
    model.to(device)
    if job.teacher is not None:
        job.teacher.to(device)
    seed_everything(derive_seed(job.seed, "regressors"))
    features = wired(job.teacher) if job.teacher else None
    wiring = wire(model, job.preprocessing, features, job.config.objective)
    objective = Objective(job.config.objective, wiring.widths).to(device)
    asked = job.teacher.wants if job.teacher else None
    views = job.config.targets.views
    loader, order = training_loader(
        dataset,
        preprocessings=[job.preprocessing, *([asked] if asked else [])],
        batch_size=job.config.batch_size,
        seed=job.seed,
        # A teacher in training and a baseline have nothing to be stored: they see a new view in every epoch.
        views=views if job.teacher is not None and views != "all" else None,
        pin_memory=device.type == "cuda",
    )
    student: nn.Module = Tapped(model, embedding=wiring.embedding, taps=wiring.student_taps)
    fresh = head_names(model) if job.fresh_head else None
    optimizer = build_optimizer(model, objective, job.config.optimizer, finetuning=job.finetuning, fresh=fresh)
    precision = autocast_dtype(job.config.precision, device)
    run = _Run(
        job=job,
        accelerator=accelerator,
        model=model,
        student=student,
        objective=objective,
        wiring=wiring,
        optimizer=optimizer,
        schedule=build_schedule(optimizer, job.config, epochs=job.epochs, steps=len(order)),
        ema=build_ema(model, job.config.ema),
        best=deepcopy(model) if job.config.keep == "best" else None,
        scaler=torch.amp.GradScaler(device.type, enabled=precision is torch.float16),
        precision=precision,
    )
    return run, loader, order


def step_seconds(
    model: nn.Module, dataset: Dataset, job: Job, accelerator: Accelerator, *, steps: int = 4, least: float = 0.0
) -> tuple[float, int]:
    """Seconds of a step (the median of `steps` real ones and of `least` seconds after a first), and steps an epoch.

    Moves the model's weights.
    """
    run, loader, order = _prepare(model, dataset, job, accelerator)
    run.student.train()
    times: list[float] = []
    mark = time.monotonic()
    for position, batch in enumerate(itertools.chain.from_iterable(itertools.repeat(loader))):
        float(_step(run, batch, position, progress=0.0)["loss"])  # waits for the device
        times.append(time.monotonic() - mark)
        mark = time.monotonic()
        if position >= steps and sum(times[1:]) >= least:
            break
    return statistics.median(times[1:]), len(order)


def estimate_seconds(model: nn.Module, dataset: Dataset, job: Job, accelerator: Accelerator) -> float:
    """Seconds that `fit` would take, from a few real steps; moves the model's weights."""
    step, steps = step_seconds(model, dataset, job, accelerator)
    # A sample that is only looked at costs a third of one that is trained on.
    validation = len(dataset.splits["validation"]) / len(dataset.splits["train"]) * steps * step / 3
    return job.epochs * (steps * step + validation)


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The dtype of autocast, or None for plain float32. `auto`: bf16 on a CUDA device that has it."""
    if precision == "auto":
        capable = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if capable else None
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def _epoch(
    run: _Run, model: nn.Module, loader: Iterable[Any], order: EpochOrder, epoch: int, bar: Bar
) -> dict[str, Any]:
    job = run.job
    order.epoch = epoch
    if isinstance(job.teacher, Several):
        job.teacher.reach(epoch / job.epochs)
    seed_everything(derive_seed(job.seed, "epoch", epoch, 0))
    run.student.train()
    if job.finetuning and job.config.optimizer.statistics == "kept":
        for norm in normalised(model):
            norm.eval()
    _freeze_body(model, job.only_head or (job.fresh_head and epoch < head_alone(job)))
    sums: dict[str, Tensor] = {}
    waited, begun = 0.0, time.monotonic()
    mark = begun
    for step, batch in enumerate(loader):
        waited += time.monotonic() - mark
        position = epoch * len(order) + step
        parts = _step(run, batch, position, progress=position / (job.epochs * len(order)))
        for name, value in parts.items():
            sums[name] = sums.get(name, torch.zeros_like(value)) + value
        bar.advance(note=f"epoch {epoch + 1}/{job.epochs}")
        mark = time.monotonic()
    means = {name: float(value) / len(order) for name, value in sums.items()}
    if not all(abs(v) < float("inf") for v in means.values()):
        raise CompressorError(
            f"{job.label}: the loss is no longer finite in epoch {epoch + 1} ({means}).\n"
            "Lower stage.optimizer.lr, or set stage.precision to fp32."
        )
    seconds = time.monotonic() - begun
    return {
        "epoch": epoch + 1,
        "loss": means.pop("loss"),
        "terms": means,
        "lr": run.optimizer.param_groups[0]["lr"],
        "seconds": seconds,
        "data_wait_share": waited / seconds,
    }


def _step(run: _Run, batch: Batch, position: int, *, progress: float) -> dict[str, Tensor]:
    """One update of the student; returns the loss and its terms, detached."""
    job, device = run.job, run.accelerator.device
    run.schedule.step_update(position)
    labels = batch["label"].to(device, non_blocking=True)
    views = on_device(batch["views"][job.preprocessing.view_key], device)
    prepared = family_of(run.model).prepare(views, job.preprocessing)
    signals: dict[str, Any] = {}
    if "partner" in batch:
        signals = {"partners": batch["partner"].to(device), "amounts": batch["amount"].to(device)}
    if job.teacher is not None and run.objective.needs:
        answers = job.teacher.answer(batch, device, embedding=run.wiring.embedding, taps=run.wiring.teacher_taps)
        signals |= {"teacher_logits": answers.logits, "teacher_embedding": answers.embedding}
        signals["teacher_maps"] = run.wiring.teacher_maps(answers)
        signals["teacher_attention"] = run.wiring.teacher_attention(answers)
    with torch.autocast(device.type, dtype=run.precision, enabled=run.precision is not None):
        outputs = run.student(*prepared)
    loss, parts = run.objective(
        Signals(
            labels=labels,
            student_logits=outputs.logits,
            # Regressors and distances compute in float32, whatever the student's forward did.
            student_embedding=None if outputs.embedding is None else outputs.embedding.float(),
            student_maps=tuple(features.float() for features in run.wiring.student_maps(outputs)),
            **signals,
        ),
        progress,
    )
    run.optimizer.zero_grad(set_to_none=True)
    run.accelerator.backward(run.scaler.scale(loss))
    run.scaler.unscale_(run.optimizer)
    if job.config.clip is not None:
        nn.utils.clip_grad_norm_([p for g in run.optimizer.param_groups for p in g["params"]], job.config.clip)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    if run.ema is not None:
        run.ema.update(run.model, step=position)  # type: ignore[operator]
    found: dict[str, Tensor] = {"loss": loss.detach()} | parts
    return found


def head_alone(job: Job) -> int:
    """Epochs in which only a fresh head is trained: never all, where not all were asked for."""
    share = job.config.head_epochs
    return job.epochs if share == 1 else min(math.ceil(job.epochs * share), job.epochs - 1)


def _freeze_body(model: nn.Module, frozen: bool) -> None:
    """With a fresh head on trained weights, the body waits until the head has stopped shouting noise at it."""
    head = head_names(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in head or not frozen)
    if frozen:
        model.eval()  # what does not learn does not count batches either


def _validate(
    model: nn.Module, dataset: Dataset, job: Job, device: torch.device, kept: Batches | None
) -> dict[str, float]:
    seen = predict_model(model, dataset, "validation", job.preprocessing, device=device, batches=kept)
    return {
        "validation_top1": top_k(seen.labels, seen.logits, 1),
        "validation_nll": nll(seen.labels, seen.logits),
    }


def _line(job: Job, record: dict[str, Any]) -> str:
    return (
        f"{job.label} · epoch {record['epoch']}/{job.epochs} · loss {record['loss']:.3f} · "
        f"validation {record['validation_top1']:.3f} · {record['seconds']:.1f} s"
    )
