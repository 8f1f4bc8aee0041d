"""What a run folder says of itself: `run.json`, and of each stage's card as much as can be read without torch."""

from __future__ import annotations

from typing import Literal

from compressor.document import Document

Status = Literal["running", "done", "interrupted", "failed", "tuning", "tuned"]


class Host(Document):
    """The machine that stands beside every figure; null is what can't be told."""

    cpu: str | None = None
    """Its name."""
    cores: int | None = None
    """All that there are."""
    cores_usable: int | None = None
    """Those that this process may run on."""
    memory_mb: float | None = None
    """MB (10⁶ bytes)."""
    instructions: list[str] = []
    """Instruction sets that integer kernels care for."""
    cgroup_cpus: float | None = None
    """CPUs that a quota allows; null without one."""
    governor: str | None = None
    """What sets the CPU's clock."""
    gpus: list[str] = []
    """NVIDIA's, by name."""
    system: str | None = None
    """Kernel and version."""
    machine: str | None = None
    """x86_64, aarch64, …"""


class Unused(Document):
    """Files that are not used, for one reason."""

    reason: str
    """`hidden`, `damaged`, `unsupported type .heic`, `repeated from test, taken out of train`, …"""
    count: int
    """How many."""
    examples: list[str] = []
    """At most five of them."""

    def __str__(self) -> str:
        return f"{self.count} {self.reason}" + (f" ({', '.join(self.examples[:3])})" if self.examples else "")


class DatasetEntry(Document):
    """The data: names, numbers of samples, and what tells it from other data."""

    name: str
    """The folder's name, or `digits`."""
    classes: list[str]
    """Class names, in the order of the logits."""
    train: int
    """Training samples."""
    validation: int
    """Validation samples."""
    test: int
    """Test samples."""
    unlabeled: int = 0
    """Samples without labels."""
    rows: int = 1
    """Supervised rows per sample; figures are over rows."""
    fingerprint: str | None = None
    """Of the samples and how they were split."""
    unused: list[Unused] = []
    """Files of the data folder that no split holds, by reason."""
    notes: list[str] = []
    """What else has to be said of the data."""


class Budget(Document):
    """How the time that a run was given was divided, before anything was trained."""

    time: str
    """As it was given."""
    seconds: float
    """The same in seconds."""
    planned: dict[str, float]
    """Phase → seconds that it should take; `start` has been taken by then."""
    epochs: dict[str, int]
    """Role → epochs, of each seed; 0 where nothing is trained."""


class ChosenStudent(Document):
    """What became of a budget of milliseconds and megabytes; `students.json` has the figures."""

    name: str | None = None
    """The student that keeps to it, measured after training; null where none does, or not yet."""
    file: str | None = None
    """Its file that does."""
    finalists: list[str] = []
    """What was tried by short trainings; none where the student was named."""
    reason: str = ""
    """Why it was trained first."""
    measured: list[str] = []
    """A sentence per trained student and file: what it came to."""


class RunNote(Document):
    """`run.json`: how a run was started and how it ended."""

    schema_version: int = 1
    """Of the document's form."""
    created: str
    """UTC."""
    command: str | None = None
    """The command line of the first start; a resume keeps it."""
    name: str | None = None
    """The run folder's."""
    status: Status | None = None
    """How far it has come."""
    recipe: str | None = None
    """Fingerprint of the resolved recipe."""
    dataset: DatasetEntry | None = None
    """What it trains on."""
    seeds: list[int] | None = None
    """Of student and baseline."""
    versions: dict[str, str | None] | None = None
    """Package → version; null where it is not installed."""
    host: Host | None = None
    """Where it was trained."""
    device: str | None = None
    """Where it was trained: cpu, cuda."""
    finished: str | None = None
    """UTC; null until it is done."""
    error: str | None = None
    """What it failed with, if it did."""
    budget: Budget | None = None
    """Null where the run was given no time."""
    student: ChosenStudent | None = None
    """Null where the run was given no milliseconds or megabytes, or has not measured its student yet."""
    taken: dict[str, float] = {}
    """Phase → seconds that it took, over all starts: start, teacher (its members with it), targets (a teacher's answers),
    assistant, student, baseline, export, benchmark, shift; the report, which tells them, is not among them."""


Shipped = Literal["student", "baseline"]


class Choice(Document):
    """Which of student and baseline ships, chosen on validation over the seeds that both have."""

    role: Shipped
    """The one that ships under the student's name."""
    seeds: int
    """Over how many."""
    student_top1: float
    """Of the student, a fraction, mean over the seeds."""
    baseline_top1: float
    """Of the baseline, likewise."""
    student_nll: float | None = None
    """Of the student's calibrated probabilities, nats; decides between equal accuracies."""
    baseline_nll: float | None = None
    """Of the baseline's, likewise."""
    by: Literal["top1", "nll"] = "top1"
    """What decided: how often each is right, or the NLL of a token, where that is what a model is for."""


class LanguageFigures(Document):
    """What a language model makes of a text, read whole in a sliding window; every token but the first is scored once.

    A masked one is asked about some tokens of each window.
    """

    nll: float | None
    """Mean negative log-likelihood of a token, nats; null where it is no number."""
    perplexity: float | None
    """Its exponential; comparable only between models with the same tokens."""
    bits_per_byte: float | None = None
    """Bits for a byte of the text (UTF-8): comparable between vocabularies; null where its bytes are not known."""
    tokens: int
    """How many were scored."""
    bytes: int | None = None
    """Of the text."""
    length: int
    """Tokens that are read at a time, at most."""
    stride: int
    """Tokens that the window goes on by: each is scored after at least `length` − `stride` others, but at the beginning."""
    blocks: list[float] = []
    """Mean NLL of consecutive, equally long stretches: two models on the same text are compared stretch by stretch."""
    masked: bool = False
    """Whether the tokens scored are those hidden in windows side by side, seen from both sides: no perplexity of a text."""


class ArchitectureNote(Document):
    """Of a card's architecture, its name."""

    name: str
    """The architecture's name in its family."""


class StageNote(Document):
    """`model.json` of a stage: what needs no torch to be read. `models.checkpoint.Card` is all of it."""

    architecture: ArchitectureNote
    """What it is."""
    role: str
    """teacher, member (one of several teachers), assistant, baseline or student."""
    origin: str
    """Where its first weights came from: `pretrained`, `scratch` or a path."""
    seed: int | None = None
    """Null where nothing was drawn."""
    params: int | None = None
    """Parameters; null where a given teacher doesn't say."""
    macs: int | None = None
    """Multiply–accumulate operations for one sample; null where a given teacher doesn't say."""
    temperature: float | None = None
    """Calibration temperature fitted on validation."""
    calibration: str | None = None
    """What has to be said of it: of a model that may have been trained on the validation samples it never sharpens."""
    train_seconds: float | None = None
    """Null where it was not trained in this run."""
    images_per_second: float | None = None
    """In training."""
    validation: dict[str, float | None] | None = None
    """`top1`, `top5`, `nll`, `ece` on validation."""
    language: dict[str, LanguageFigures] = {}
    """Split → figures of a language model on its whole text; empty for other models."""
    choice: Choice | None = None
    """Of what ships (`student.json`): why it is this one; null without a baseline."""


class Epoch(Document):
    """A line of `metrics.jsonl`: one pass over the training samples."""

    epoch: int
    """From 1."""
    loss: float | None = None
    """Mean over its steps."""
    terms: dict[str, float | None] = {}
    """Each active term's own value, before its weight."""
    lr: float | None = None
    """The learning rate at its end."""
    seconds: float
    """What it took."""
    data_wait_share: float = 0.0
    """The share of its time that it waited for data."""
    validation_top1: float | None = None
    """A fraction."""
    validation_nll: float | None = None
    """Nats."""
