"""A training's parts, and one update of its student: forward, objective, backward, in parts where memory has no room for the whole batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from compressor.data.dataset import Dataset
from compressor.data.loaders import Batch, EpochOrder, training_loader
from compressor.distillation.guides import wired
from compressor.distillation.job import Job
from compressor.distillation.optim import build_ema, build_optimizer, build_schedule
from compressor.distillation.teacher import Wiring, on_device, wire
from compressor.models.family import family_of
from compressor.models.outputs import Outputs
from compressor.models.weights import head_names
from compressor.objectives.objective import Objective, Signals
from compressor.seeds import derive_seed, seed_everything


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
class Running:
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
    micro_batch: int | None = None
    """Samples per forward; None: the whole batch."""

    @property
    def averaged(self) -> nn.Module:
        """The weights that are validated: averaged ones where there are any."""
        return self.ema.module if self.ema else self.model  # type: ignore[return-value]


def prepare(
    model: nn.Module, dataset: Dataset, job: Job, accelerator: Accelerator
) -> tuple[Running, Iterable[Any], EpochOrder]:
    """A training that is ready for its first step, its batches, and the order that says which epoch they are of."""
    device = accelerator.device
    model.to(device)
    if job.teacher is not None:
        job.teacher.to(device)
    seed_everything(derive_seed(job.seed, "regressors"))
    wiring = wire(model, job.preprocessing, wired(job.teacher) if job.teacher else None, job.config.objective)
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
    run = Running(
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
        micro_batch=job.config.micro_batch,
    )
    return run, loader, order


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The dtype of autocast, or None for plain float32. `auto`: bf16 on a CUDA device that has it."""
    if precision == "auto":
        capable = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if capable else None
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def step(run: Running, batch: Batch, position: int, *, progress: float) -> tuple[dict[str, Tensor], Tensor]:
    """One update of the student.

    Returns:
        The loss and its terms, detached; and whether loss and gradient were finite, a tensor of one boolean.
    """
    run.schedule.step_update(position)
    run.optimizer.zero_grad(set_to_none=True)
    found: dict[str, Tensor] = {}
    for part, share in _parts(batch, run.micro_batch):
        for name, value in _backward(run, part, share, progress).items():
            found[name] = found[name] + value if name in found else value
    run.scaler.unscale_(run.optimizer)
    parameters = [p for g in run.optimizer.param_groups for p in g["params"]]
    clip = run.job.config.clip
    norm = nn.utils.clip_grad_norm_(parameters, float("inf") if clip is None else clip)  # infinity changes nothing
    run.scaler.step(run.optimizer)
    run.scaler.update()
    if run.ema is not None:
        run.ema.update(run.model, step=position)  # type: ignore[operator]
    whole = torch.isfinite(found["loss"])
    # A scaler leaves steps out by itself whose gradients overflow.
    return found, whole if run.scaler.is_enabled() else whole & torch.isfinite(norm)


def _backward(run: Running, batch: Batch, share: float, progress: float) -> dict[str, Tensor]:
    """Adds the gradient of a part of a batch; its loss and terms, times the part's `share` of the samples."""
    job, device = run.job, run.accelerator.device
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
        signals["teacher_relations"] = answers.relations
    with torch.autocast(device.type, dtype=run.precision, enabled=run.precision is not None):
        outputs = run.student(*prepared)
    loss, parts = run.objective(
        Signals(
            labels=labels,
            student_logits=outputs.logits,
            # Regressors and distances compute in float32, whatever the student's forward did.
            student_embedding=None if outputs.embedding is None else outputs.embedding.float(),
            student_maps=tuple(features.float() for features in run.wiring.student_maps(outputs)),
            student_relations=outputs.relations,
            **signals,
        ),
        progress,
    )
    found: dict[str, Tensor] = {"loss": loss.detach()} | parts
    if share != 1.0:
        loss, found = loss * share, {name: value * share for name, value in found.items()}
    # Not through the accelerator: one started with fp16 has a scaler of its own, and the loss would be scaled twice.
    run.scaler.scale(loss).backward()
    return found


def _parts(batch: Batch, size: int | None) -> Iterator[tuple[Batch, float]]:
    """The batch in parts of at most `size` samples, each with its share of them."""
    count = len(batch["sample"])
    if size is None or size >= count:
        yield batch, 1.0
        return
    number = -(-count // size)
    for part in range(number):  # of equal size: one sample that is left over has no statistics
        start, end = part * count // number, (part + 1) * count // number
        yield _cut(batch, start, end, count), (end - start) / count


def _cut(value: Any, start: int, end: int, count: int) -> Any:
    """Samples `start` to `end` of `count`, of whatever has rows for them (several of each, perhaps)."""
    if isinstance(value, dict):
        return {key: _cut(inner, start, end, count) for key, inner in value.items()}
    rows = len(value) // count
    return value[start * rows : end * rows]
