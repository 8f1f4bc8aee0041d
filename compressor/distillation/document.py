"""What `--dry-run` estimates and what `tune` found. No torch."""

from __future__ import annotations

from compressor.document import Document


class EstimatedData(Document):
    """The data of a planned run: numbers of images per split."""

    name: str
    classes: list[str]
    train: int
    validation: int
    test: int
    unlabeled: int = 0
    input: str
    """The models' input size."""


class EstimatedStage(Document):
    """One training of a planned run."""

    role: str
    model: str
    weights: str
    """Where its first weights come from."""
    stem: str
    objective: str
    """Its active terms with their weights."""
    reads: list[str]
    """What the objective reads of the teacher."""
    teacher_is: str
    """`stored`: asked once, then gone from memory; `live`: asked in every step; – where none is read."""
    params: int
    macs: int
    epochs: int
    seeds: int
    seconds: float
    """Of training, over its seeds."""


class Estimate(Document):
    """What `compress distill --dry-run --json` prints."""

    dataset: EstimatedData
    stages: list[EstimatedStage]
    seconds: float
    """Of training, in all."""
    memory_mb: float
    """Peak resident memory of the steps that were measured, MB (10⁶ bytes)."""
    disk_mb: float
    """Weights and exported files."""


class Tried(Document):
    """Values of the search and what they gave on validation; null where the training was stopped early."""

    params: dict[str, float]
    top1: float | None = None
    nll: float | None = None


class Trial(Tried):
    """One training of the search."""

    number: int
    state: str
    """complete or pruned."""
    error: str | None = None
    """What it failed with, if it did."""


class Tuning(Document):
    """`tune.json`, and what `compress tune --json` prints."""

    recipe: str
    """The recipe that was written."""
    best: Tried
    own: Tried
    """The recipe's own values, which are tried first."""
    trials: list[Trial]
