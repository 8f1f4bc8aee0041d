"""What `--dry-run` estimates and what `tune` found. No torch."""

from __future__ import annotations

from compressor.document import Document
from compressor.runnote import Budget, Unused


class EstimatedData(Document):
    """The data of a planned run: numbers of samples per split."""

    name: str
    """The folder's name, or `digits`."""
    classes: list[str]
    """Class names, in the order of the logits."""
    tokens: bool = False
    """Whether a class is a token."""
    train: int
    """Training samples."""
    validation: int
    """Validation samples."""
    test: int
    """Test samples."""
    unlabeled: int = 0
    """Samples without labels."""
    input: str
    """The models' input size."""
    unused: list[Unused] = []
    """Files of the data folder that no split holds, by reason."""


class EstimatedStage(Document):
    """One training of a planned run."""

    role: str
    """teacher, member (one of several teachers), assistant, baseline or student."""
    model: str
    """The architecture's name in its family."""
    weights: str
    """Where its first weights come from."""
    stem: str
    """How the stem was adapted to small inputs."""
    objective: str
    """Its active terms with their weights."""
    reads: list[str]
    """What the objective reads of the teacher."""
    teacher_is: str
    """`stored`: asked once, then gone from memory; `live`: asked in every step; – where none is read."""
    params: int | None
    """Parameters; null where a given teacher doesn't say."""
    macs: int | None
    """Multiply–accumulate operations for one sample; null where a given teacher doesn't say."""
    epochs: int
    """0 where it needs no training."""
    seeds: int
    """How often it is repeated."""
    seconds: float
    """Of training, over its seeds."""


class Estimate(Document):
    """What `compress distill --dry-run --json` prints."""

    dataset: EstimatedData
    """What it would train on."""
    stages: list[EstimatedStage]
    """In the chain's order."""
    seconds: float
    """Of training, in all."""
    memory_mb: float | None
    """Peak resident memory of the steps that were measured, MB (10⁶ bytes); null where it can't be told."""
    disk_mb: float
    """Weights and exported files."""
    targets_mb: float = 0.0
    """Answers of its teachers in the target store, which other runs share."""
    decoded_mb: float = 0.0
    """Images in the decoded store, which other runs share."""
    notes: list[str] = []
    """What is too large to be stored, and what happens instead."""
    budget: Budget | None = None
    """How the time that was given is divided; null where the epochs were given."""


class Tried(Document):
    """Values of the search and what they gave on validation; null where the training was stopped early."""

    params: dict[str, float]
    """Searched value → what it was."""
    top1: float | None = None
    """A fraction."""
    nll: float | None = None
    """Nats."""


class Trial(Tried):
    """One training of the search."""

    number: int
    """From 0."""
    state: str
    """complete or pruned."""
    error: str | None = None
    """What it failed with, if it did."""


class Tuning(Document):
    """`tune.json`, and what `compress tune --json` prints."""

    recipe: str
    """The recipe that was written."""
    best: Tried
    """The best trial's values."""
    own: Tried
    """The recipe's own values, which are tried first."""
    trials: list[Trial]
    """In turn; failed ones are not listed."""


class PilotTrial(Document):
    """One trial of an arm."""

    epochs: int
    """Of its own, complete schedule."""
    seed: int
    """Which weights and order it began with."""
    top1: float
    """On validation, a fraction."""
    nll: float
    """On validation, nats."""
    agreement: float | None = None
    """Share of the validation samples on which it names the class that its teacher names."""
    seconds: float
    """Of training."""


class PilotArm(Document):
    """What became of an arm."""

    name: str
    """As in the arms' table; an assistant's has the assistant's name in it."""
    objective: str
    """Its terms with their weights."""
    guidance: str
    """Who teaches: `last`, `all`, `route`, `snapshots`; `none` for the control."""
    trials: list[PilotTrial] = []
    """The shortest first; none where it was not tried."""
    note: str | None = None
    """Why it was not tried, or left."""
    ahead: dict[str, float] | None = None
    """How much more often it is right than the recipe's own arm after the same epochs: mean, low … high."""


class Pilot(Document):
    """`pilot.json`: what the pilot tried, what that cost and what it chose."""

    share: float
    """Of the student's training time that it was given."""
    budget: float
    """The same in epochs of the student."""
    spent: float = 0.0
    """Epochs of the student that its trials and assistants cost."""
    seconds: float = 0.0
    """Of training, in all."""
    costs: dict[str, float] = {}
    """Seconds measured at the start, which a resume keeps: `epoch` of the student, `view` of all samples by the teacher,
    `assistant`'s whole training; only what had to be known."""
    arms: list[PilotArm] = []
    """The chosen one too."""
    chosen: str | None = None
    """The arm's name; null before it is settled."""
    assistant: str | None = None
    """The assistant that was chosen with it."""
    why: str = ""
    """In a sentence."""


class PastPilot(Document):
    """A line of `pilots.jsonl`: what orders the arms of the next pilot."""

    gap: float
    """Logarithm of the teacher's parameters over the student's."""
    views: float
    """Logarithm of the samples that the student saw in all, at its longest trial."""
    pretrained: bool
    """Whether the student started from trained weights."""
    gains: dict[str, float]
    """Arm → validation accuracy above the recipe's own arm after the same epochs, a fraction."""
