"""What a run folder says of itself: `run.json`, and of each stage's card as much as can be read without torch."""

from __future__ import annotations

from typing import Literal

from compressor.document import Document

Status = Literal["running", "done", "interrupted", "failed", "tuning", "tuned"]


class Host(Document):
    """The machine that stands beside every figure; null is what can't be told."""

    cpu: str | None = None
    cores: int | None = None
    cores_usable: int | None = None
    """Those that this process may run on."""
    memory_mb: float | None = None
    instructions: list[str] = []
    """Instruction sets that integer kernels care for."""
    cgroup_cpus: float | None = None
    """CPUs that a quota allows; null without one."""
    governor: str | None = None
    """What sets the CPU's clock."""
    gpus: list[str] = []
    system: str | None = None
    machine: str | None = None


class DatasetEntry(Document):
    """The data: names, numbers of images, and what tells it from other data."""

    name: str
    classes: list[str]
    """Class names, in the order of the logits."""
    train: int
    validation: int
    test: int
    unlabeled: int = 0
    fingerprint: str | None = None
    """Of the images and how they were split."""


class RunNote(Document):
    """`run.json`: how a run was started and how it ended."""

    schema_version: int = 1
    created: str
    """UTC."""
    command: str | None = None
    """The command line of the first start; a resume keeps it."""
    name: str | None = None
    status: Status | None = None
    recipe: str | None = None
    """Fingerprint of the resolved recipe."""
    dataset: DatasetEntry | None = None
    seeds: list[int] | None = None
    versions: dict[str, str | None] | None = None
    """Package → version; null where it is not installed."""
    host: Host | None = None
    device: str | None = None
    """Where it was trained: cpu, cuda."""
    finished: str | None = None
    """UTC; null until it is done."""
    error: str | None = None
    """What it failed with, if it did."""


class ArchitectureNote(Document):
    """Of a card's architecture, its name."""

    name: str


class StageNote(Document):
    """`model.json` of a stage: what needs no torch to be read. `models.checkpoint.Card` is all of it."""

    architecture: ArchitectureNote
    role: str
    origin: str
    """Where its first weights came from: `pretrained`, `scratch` or a path."""
    seed: int | None = None
    params: int
    macs: int
    temperature: float | None = None
    """Calibration temperature fitted on validation."""
    train_seconds: float | None = None
    images_per_second: float | None = None
    validation: dict[str, float | None] | None = None
    """`top1`, `top5`, `nll`, `ece` on validation."""


class Epoch(Document):
    """A line of `metrics.jsonl`: one pass over the training images."""

    epoch: int
    loss: float | None = None
    terms: dict[str, float | None] = {}
    """Each active term's own value, before its weight."""
    lr: float | None = None
    """The learning rate at its end."""
    seconds: float
    data_wait_share: float = 0.0
    """The share of its time that it waited for data."""
    validation_top1: float | None = None
    validation_nll: float | None = None
