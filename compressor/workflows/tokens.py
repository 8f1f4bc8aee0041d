"""What a stage's defaults mean where classes are tokens: thousands of them, and many rows a sample."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from compressor.data.dataset import Dataset
from compressor.distillation.config import StageConfig
from compressor.errors import UsageError
from compressor.modalities import modality
from compressor.objectives.config import ObjectiveConfig
from compressor.progress import Progress

GPU = 64
"""Times as many samples as suit a CPU's memory have room on a GPU, which small parts keep waiting."""
COMPARED = 512
"""Rows whose distances and angles to each other are still compared: the angles' number is the third power."""


def suited(stage: StageConfig, dataset: Dataset, progress: Progress) -> StageConfig:
    """The stage with what was left at its default settled for tokens: objective, batches, views. Others stay as they are.

    Terms of the default objective that read all classes of all rows (`dist`) or the embedding (`hint`) are left out
    where nobody changed them. The teacher is live, unless so many views are to be stored and used again.
    """
    if not dataset.tokens:
        return stage
    default, targets = StageConfig(), stage.targets
    own: dict[str, Any] = {}
    if dataset.batch_size is not None and stage.batch_size == default.batch_size:
        own["batch_size"] = dataset.batch_size
    if dataset.micro_batch is not None:
        room = dataset.micro_batch * (GPU if torch.cuda.is_available() else 1)
        if stage.micro_batch is None and room < own.get("batch_size", stage.batch_size):
            own["micro_batch"] = room
        if targets.batch_size == default.targets.batch_size and room < targets.batch_size:
            targets = targets.model_copy(update={"batch_size": room})
    if targets.views == "all":  # storing a view takes as long as two live epochs cost more, and rounds the tail
        targets = targets.model_copy(update={"store": False})
    objective = _objective(stage.objective, default.objective, modality(dataset.modality).objective or {})
    if objective != stage.objective:
        listed = " + ".join(f"{term.weight:g} {name}" for name, term in objective.weighted().items())
        progress.say(f"objective: {listed}, where nothing else was given; classes are tokens")
    return stage.model_copy(update=own | {"targets": targets, "objective": objective})


def _objective(given: ObjectiveConfig, default: ObjectiveConfig, own: dict[str, Any]) -> ObjectiveConfig:
    if given.dist != default.dist or given.hint != default.hint:
        return given  # somebody's own
    settled = ObjectiveConfig.model_validate(own)
    untouched = [name for name in type(given).model_fields if getattr(given, name) == getattr(default, name)]
    return given.model_copy(update={name: getattr(settled, name) for name in untouched if name != "auto"})


def check(stages: Iterable[tuple[str, StageConfig]], dataset: Dataset) -> None:
    """Raises UsageError where a stage, (its role, what it is), compares all rows of a batch that has too many."""
    for role, config in stages:
        if role not in ("assistant", "student"):
            continue
        rkd, rows = config.objective.rkd, dataset.rows * (config.micro_batch or config.batch_size)
        if dataset.tokens and rkd is not None and rkd.weight > 0 and rows > COMPARED:
            raise UsageError(
                f"rkd compares all rows of a batch with each other, and the {role}'s has {rows:,} tokens: {COMPARED} are the "
                "most.\nTake kd, cosine or hint, or fewer and shorter windows (stage.batch_size, data.options.length)."
            )
