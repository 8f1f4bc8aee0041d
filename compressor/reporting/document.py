"""`report.json`, the comparison of several runs, and the pictures beside them: everything that the report shows."""

from __future__ import annotations

from typing import Literal

from compressor.benchmarking.document import ModelFacts, Timed, Verdict
from compressor.document import Document
from compressor.evaluation.document import Bin, CopiedMistakes, Gain
from compressor.quantization.document import ArtifactEntry, Int8
from compressor.runnote import DatasetEntry, Epoch, Host

Helped = Literal["helped", "hurt", "no difference"]


class RunEntry(Document):
    """Of `run.json`, what the report says of the run."""

    name: str | None
    command: str | None = None
    status: str | None = None
    created: str | None = None
    finished: str | None = None
    recipe: str | None = None
    """Fingerprint of the resolved recipe."""


class Model(Document):
    """A trained model, one per role and seed; figures are of the PyTorch model on test."""

    role: str
    """teacher, assistant, baseline or student."""
    name: str
    seed: int | None
    stage: str
    """Its folder in `stages/`."""
    params: int
    macs: int
    top1: float
    """A fraction, as everywhere."""
    top5: float
    nll: float | None
    """Nats."""
    ece: float | None
    temperature: float | None = None
    """Calibration temperature fitted on validation."""
    ece_calibrated: float | None = None
    balanced_accuracy: float | None = None
    teacher_agreement: float | None = None
    """Share of test images on which it names the teacher's class; null for the teacher."""
    copied_mistakes: CopiedMistakes | None = None
    validation: dict[str, float | None] | None = None
    """`top1`, `top5`, `nll`, `ece` on validation."""
    train_seconds: float | None = None
    """Null where it was not trained in this run."""
    images_per_second: float | None = None
    data_wait_share: float | None = None
    """The share of its training that it waited for data."""
    weights: str
    """Where its first weights came from."""
    bytes: int
    """Of its weights file."""


class Help(Document):
    """What the teacher was worth: student − baseline on test, paired by seed and sample."""

    seeds: list[int]
    top1_gain: list[float]
    """Per seed."""
    top1_gain_mean: float
    interval: tuple[float, float]
    """95 %, over seeds and samples."""
    mcnemar_p: list[float]
    """Per seed."""
    verdict: Helped


class ClassErrors(Document):
    """A model's accuracy within each class."""

    role: str
    name: str
    seed: int | None
    per_class: list[float | None]
    """In the order of the classes; null for one without test images."""


class Errors(Document):
    """Per-class accuracy of every model."""

    classes: list[str]
    models: list[ClassErrors]


class Reliability(Document):
    """A reliability diagram on test, before calibration."""

    label: str
    kind: str
    """teacher, student, or the precision of a quantised file."""
    bins: list[Bin]


class Confusion(Document):
    """What the shipped student says of the classes where it does worst."""

    rows: list[str]
    """True classes."""
    columns: list[str]
    """What it says; the last may be `others`."""
    counts: list[list[int]]
    """Test images."""


class Example(Document):
    """A test image on which student and teacher disagree."""

    id: str
    image: str
    """Its picture inside the run."""
    label: str
    teacher: str
    """What the teacher says."""
    teacher_confidence: float
    student: str
    student_confidence: float


class Picture(Example):
    """An example with its picture at hand."""

    source: str
    """A data URI."""


class Timing(Timed):
    """A benchmark row with its samples as quantiles, which the plots are drawn from."""

    quantiles_ms: list[float] = []
    """From the fastest call to the slowest, every 2 %."""


class Curve(Document):
    """How a model learned in this run."""

    role: str
    name: str
    seed: int | None
    epochs: list[Epoch]


class Report(Document):
    """`report.json`. Fractions, not percent; times in ms; bytes; MB = 10⁶ bytes; null is what was not measured."""

    schema_version: int = 1
    run: RunEntry
    dataset: DatasetEntry
    models: list[Model]
    exports: list[ArtifactEntry] = []
    int8: Int8 | None = None
    """What the int8 ladder came to, where it was climbed."""
    benchmark: list[Timing] = []
    shipped_seed: int | None = None
    """The student's seed that is best on validation."""
    help: Help | None = None
    """Null without a baseline."""
    errors: Errors
    reliability: list[Reliability] = []
    confusion: Confusion | None = None
    """Null without a student, or without a mistake."""
    examples: list[Example] = []
    benchmark_models: dict[str, ModelFacts] | None = None
    """File → what it is and how accurate; null before a benchmark."""
    verdicts: list[Verdict] = []
    curves: list[Curve] = []
    host: Host | None = None
    """Where it was timed, or else trained."""
    versions: dict[str, str | None] | None = None
    """Package → version; null where it is not installed."""
    warnings: list[str] = []
    """What a reader must know before trusting the result."""


class ComparedHelp(Document):
    """What the teacher was worth in one of several runs."""

    top1_gain: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    verdict: Helped


class ComparedRun(Document):
    """One of several runs: what it ships."""

    run: str
    """Its folder."""
    name: str | None
    status: str | None
    student: str | None
    top1: float | None
    top1_std: float | None
    """Over seeds; null for a single one."""
    teacher: str | None
    teacher_top1: float | None
    help: ComparedHelp | None
    bytes: int | None
    """Of the shipped file; so are the next two."""
    p50_ms: float | None
    peak_rss_mb: float | None
    against_first: Gain | None = None
    """Beside the first run, image by image; null for itself and on other images."""


class Comparison(Document):
    """What `compress report A B --json` prints."""

    runs: list[ComparedRun]
    warnings: list[str] = []
