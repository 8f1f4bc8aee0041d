"""How fast a stage goes here, from a few real steps: what minutes are turned into epochs by."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass

import torch
from accelerate import Accelerator

from compressor.data.dataset import Dataset
from compressor.distillation import chain, targets
from compressor.distillation.acquire import Start
from compressor.distillation.config import StageConfig
from compressor.distillation.fit import step_seconds
from compressor.distillation.job import Teacher
from compressor.distillation.room import target_bytes
from compressor.distillation.sources import TableTeacher
from compressor.distillation.targets import StoredTeacher
from compressor.distillation.teacher import FrozenTeacher
from compressor.evaluation.torch_predictor import predict_model
from compressor.progress import Silent

STEPS, SECONDS = 6, 1.5
"""A step is the median of at least so many, over at least so long."""
BATCHES = 2
"""Batches of which a teacher's answers are stored, to see how long that takes."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """What one stage takes, in seconds."""

    epoch: float = 0.0
    """One epoch of one seed with its validation; of a taught stage without the storing of answers. 0: not trained."""
    view: float = 0.0
    """Storing the teacher's answers to one view of every training sample; 0 where it is asked in every step, or never."""
    view_bytes: int = 0
    """What that takes on disk."""
    once: float = 0.0
    """What a seed takes beside its epochs: a head that is fitted, predictions, calibration."""


def rate(
    begin: Start,
    dataset: Dataset,
    config: StageConfig,
    *,
    seed: int,
    teacher: FrozenTeacher | None,
    accelerator: Accelerator,
) -> Rate:
    """The stage's rate on this machine; moves the model's weights and leaves nothing else behind."""
    look = _look(begin, dataset, accelerator.device)
    sizes = {name: len(dataset.splits.get(name, ())) for name in ("train", "validation", "test")}
    once = look * (2 * sizes["validation"] + sizes["test"])
    if begin.fresh_head or begin.training == "head":
        once += look * sizes["train"]
    if begin.training in ("none", "head"):
        return Rate(once=once)
    few, view = dataset, 0.0
    source: Teacher | None = teacher
    if teacher is not None:
        few = dataset.only("train", dataset.splits["train"][: BATCHES * config.batch_size])
        source, view = _stored(teacher, begin, few, config, accelerator.device)
        view *= sizes["train"] / len(few.splits["train"])
    try:
        job = chain.job_for(begin, config, label="measuring", epochs=1, seed=seed, teacher=source)
        step, _ = step_seconds(begin.model, few, job, accelerator, steps=STEPS, least=SECONDS)
    finally:
        if isinstance(source, StoredTeacher):  # it is of these few samples: nobody will ask for it again
            shutil.rmtree(source.store.folder, ignore_errors=True)
    steps = sizes["train"] // min(config.batch_size, sizes["train"])
    needed = target_bytes(begin, teacher, dataset, config, epochs=1) if teacher is not None and view else 0
    return Rate(epoch=steps * step + look * sizes["validation"], view=view, view_bytes=needed, once=once)


def _look(begin: Start, dataset: Dataset, device: torch.device) -> float:
    """Seconds in which the model only looks at a sample."""
    model = begin.model.to(device)
    few = dataset.only("validation", dataset.splits["validation"][:128])
    predict_model(model, few, "validation", begin.preprocessing, device=device)  # warms up
    started = time.monotonic()
    predict_model(model, few, "validation", begin.preprocessing, device=device)
    return (time.monotonic() - started) / max(1, len(few.splits["validation"]))


def _stored(
    teacher: FrozenTeacher, begin: Start, few: Dataset, config: StageConfig, device: torch.device
) -> tuple[Teacher, float]:
    """What the stage would learn from, and the seconds in which it answers one view of `few`; 0 where nothing is stored."""
    if isinstance(teacher, TableTeacher):
        return teacher.of(few), 0.0
    if config.targets.precision == "auto":
        chosen = targets.fastest_precision(teacher, few, config.targets, device)
        config = config.model_copy(update={"targets": config.targets.model_copy(update={"precision": chosen})})
    config = config.model_copy(update={"targets": config.targets.model_copy(update={"views": "all"})})
    source: Teacher = teacher
    seconds = 0.0
    for epochs in (1, 2):  # the first view warms up
        started = time.monotonic()
        source = chain.prepare_teacher(
            teacher, begin, few, config, views=range(epochs), label="measuring", device=device, progress=Silent()
        )
        seconds = time.monotonic() - started
    return source, seconds if isinstance(source, StoredTeacher) else 0.0
