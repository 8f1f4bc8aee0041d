"""What one training is, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from compressor.artifact.preprocessing import Preprocessing
from compressor.distillation.config import StageConfig
from compressor.distillation.guides import Several
from compressor.distillation.targets import StoredTeacher
from compressor.distillation.teacher import FrozenTeacher

Teacher = FrozenTeacher | StoredTeacher | Several


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
    begun: Mapping[str, Any] = field(default_factory=dict)
    """How it was begun: kept with its saves, for a resume."""
    settle: Callable[[int], None] | None = None
    """Told the micro-batch that memory had room for, where it ran out."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A trained model and what the training took."""

    model: nn.Module
    seconds: float
    samples_per_second: float
