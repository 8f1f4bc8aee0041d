"""What is written down of models that may become the student: what each costs here, and what came of it."""

from __future__ import annotations

from typing import Literal

from compressor.document import Document
from compressor.runnote import Host

Standing = Literal["frontier", "fits", "over", "too large", "failed"]
"""On the frontier; within the budget, but another is faster and expected to be better; over the budget by measurement; by its
parameters alone, so that it was not exported; or it can't be built or exported for this task."""


class Limits(Document):
    """What a file may take; null is not limited."""

    max_latency_ms: float | None = None
    """Of the median call at batch 1, the upper end of its 95 % interval counted."""
    max_size_mb: float | None = None
    """Of the file, MB of 10⁶ bytes."""
    max_memory_mb: float | None = None
    """Of a process that runs it, at its peak."""
    precisions: list[str] = ["fp32", "int8"]
    """What it may be."""
    threads: int = 1
    """Of onnxruntime."""


class StudentFile(Document):
    """A candidate in one precision: its file and how it ran. What was not measured is null."""

    precision: str
    """fp32 or int8."""
    bytes: int
    """Of the file."""
    p50_ms: float | None = None
    """Median call: batch 1, on the CPU."""
    p50_interval_ms: tuple[float, float] | None = None
    """Its 95 % interval over processes; null after a quick look, which is one process."""
    peak_rss_mb: float | None = None
    """Resident memory of its process at its peak, MB."""
    processes: int = 0
    """That it was measured in."""
    noisy: bool | None = None
    """Whether something disturbed the timing."""

    @property
    def latency_ms(self) -> float | None:
        """What a limit is compared with: the interval's upper end, after a quick look the median itself.

        The median is over all calls, the interval over processes: it may, rarely, lie above it, and then counts.
        """
        ends = [*(self.p50_interval_ms or ())[1:], *([] if self.p50_ms is None else [self.p50_ms])]
        return max(ends, default=None)


class Candidate(Document):
    """A model that may become the student."""

    name: str
    """Its architecture's."""
    params: int | None = None
    """Parameters, with a head for these classes."""
    macs: int | None = None
    """Multiply–accumulates for one sample at this resolution."""
    published: float | None = None
    """Top-1 on ImageNet as timm published it, a fraction: a prior, which says nothing of this task."""
    expected: float | None = None
    """The same, or where there is none what published models of as many multiply–accumulates have."""
    files: list[StudentFile] = []
    """By precision; none where it was not exported."""
    standing: Standing = "fits"
    """What the screening came to."""
    why: str = ""
    """In a sentence."""


class StudentTrial(Document):
    """One short training of a finalist."""

    name: str
    """Which model."""
    epochs: int
    """Of its own, complete schedule."""
    seed: int
    """The same for all finalists."""
    top1: float
    """On validation, a fraction."""
    nll: float
    """On validation, nats."""
    seconds: float
    """Of training."""


class Measurement(Document):
    """A trained student's file, measured again by the benchmark."""

    name: str
    """Which model."""
    file: StudentFile
    """What it came to."""
    fits: bool
    """Whether it keeps to all limits."""
    why: str
    """By which figure it does or does not."""


class Students(Document):
    """`students.json`: candidates for the student and what they cost here; in a run also how one was chosen."""

    schema_version: int = 1
    """Of the document's form."""
    classes: int
    """That they tell apart."""
    image_size: int
    """Height and width of their input, pixels."""
    limits: Limits
    """What was asked for."""
    candidates: list[Candidate]
    """The frontier first, by what is expected of it; then the others."""
    host: Host | None = None
    """Where they were measured."""
    versions: dict[str, str | None] = {}
    """Package → version."""
    measured: str | None = None
    """UTC, when they were last looked at: figures may have been kept from before."""
    finalists: list[str] = []
    """In a run: those that were tried by training."""
    trials: list[StudentTrial] = []
    """In a run: their trainings, rung by rung."""
    ranking: list[str] = []
    """In a run: finalists from the one that is taken first to the last."""
    init: str = "auto"
    """In a run: what was said of the student's first weights, before one was chosen."""
    reason: str = ""
    """In a run: why the first of them is the first."""
    measurements: list[Measurement] = []
    """In a run: what the trained students came to, each file in turn."""
    chosen: str | None = None
    """In a run: the student that keeps to the budget; null before one does."""
    ships: str | None = None
    """In a run: its file that keeps to the budget; fp32 where that does, since int8 loses a little."""
