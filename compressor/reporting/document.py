"""`report.json`, the comparison of several runs, and the pictures beside them: everything that the report shows."""

from __future__ import annotations

from compressor.benchmarking.document import ModelFacts, Timed, Verdict
from compressor.benchmarking.students import Students
from compressor.distillation.document import Pilot
from compressor.document import Document
from compressor.evaluation.document import Bin, CopiedMistakes, Gain, Shift, Slice
from compressor.quantization.document import ArtifactEntry, Int8
from compressor.reporting.foretold import Continued, Foretold, Helped
from compressor.runnote import Budget, Choice, DatasetEntry, Epoch, Host, LanguageFigures, Shipped


class RunEntry(Document):
    """Of `run.json`, what the report says of the run."""

    name: str | None
    """The run folder's."""
    command: str | None = None
    """The command line of the first start."""
    status: str | None = None
    """How far the run has come."""
    created: str | None = None
    """UTC."""
    finished: str | None = None
    """UTC; null until it is done."""
    recipe: str | None = None
    """Fingerprint of the resolved recipe."""


class Model(Document):
    """A trained model, one per role and seed; figures are of the PyTorch model on test."""

    role: str
    """teacher, member (one of several teachers), assistant, baseline or student."""
    name: str
    """The architecture's name in its family."""
    seed: int | None
    """Null where nothing was drawn."""
    stage: str
    """Its folder in `stages/`."""
    params: int | None
    """Parameters; null where a given teacher doesn't say."""
    macs: int | None
    """Multiply–accumulate operations for one sample; null where a given teacher doesn't say."""
    top1: float | None
    """A fraction, as everywhere; null for a table of probabilities that has no test samples."""
    top5: float | None
    """Share of samples whose class is among the first five."""
    nll: float | None
    """Raw, at temperature 1; nats."""
    ece: float | None
    """Raw expected calibration error, at temperature 1; 15 bins."""
    temperature: float | None = None
    """Calibration temperature fitted on validation."""
    calibration: str | None = None
    """What has to be said of it."""
    nll_calibrated: float | None = None
    """Of the probabilities that ship: at the calibration temperature; null without one."""
    ece_calibrated: float | None = None
    """Of the probabilities that ship: at the calibration temperature; null without one."""
    balanced_accuracy: float | None = None
    """Mean of the classes' accuracies."""
    teacher_agreement: float | None = None
    """Share of test rows on which it names the teacher's class; null for the teacher."""
    copied_mistakes: CopiedMistakes | None = None
    """The teacher's mistakes that it makes, too; null for the teacher."""
    validation: dict[str, float | None] | None = None
    """`top1`, `top5`, `nll`, `ece` on validation."""
    train_seconds: float | None = None
    """Null where it was not trained in this run."""
    images_per_second: float | None = None
    """In training."""
    data_wait_share: float | None = None
    """The share of its training that it waited for data."""
    language: dict[str, LanguageFigures] = {}
    """Split → figures of a language model on its whole text; empty for others."""
    weights: str
    """Where its first weights came from."""
    bytes: int | None
    """Of its weights file; null for a table of probabilities."""


class Help(Document):
    """What the teacher was worth: student − baseline on test, paired by seed and sample."""

    seeds: list[int]
    """Those that student and baseline share."""
    top1_gain: list[float]
    """Per seed."""
    top1_gain_mean: float
    """Over the seeds."""
    interval: tuple[float, float]
    """95 %, over seeds and samples; over samples alone for a single seed."""
    mcnemar_p: list[float]
    """Per seed."""
    verdict: Helped
    """What its interval says; `one training` for a single seed."""
    three_seeds_seconds: float | None = None
    """For a single seed: what two more trainings of student and baseline would take, as long as the first took."""


class ClassErrors(Document):
    """A model's accuracy within each class."""

    role: str
    """teacher, member (one of several teachers), assistant, baseline or student."""
    name: str
    """The architecture's name in its family."""
    seed: int | None
    """Null where nothing was drawn."""
    per_class: list[float | None]
    """In the order of the classes; null for one without test samples."""


class Errors(Document):
    """Per-class accuracy of every model."""

    classes: list[str]
    """Class names, in the order of the logits."""
    models: list[ClassErrors]
    """One per role and seed."""


class Reliability(Document):
    """A reliability diagram on test, as the probabilities ship and before calibration."""

    label: str
    """What the line is called."""
    kind: str
    """teacher, what ships (student or baseline), or the precision of a quantised file."""
    bins: list[Bin]
    """Before calibration: those that hold samples."""
    calibrated: list[Bin] = []
    """The same at the calibration temperature, as it ships; empty without one."""
    temperature: float | None = None
    """The calibration temperature."""


class Confusion(Document):
    """What the shipped student says of the classes where it does worst."""

    rows: list[str]
    """True classes."""
    columns: list[str]
    """What it says; the last may be `others`."""
    counts: list[list[int]]
    """Test samples."""


class Example(Document):
    """A test sample on which student and teacher disagree."""

    id: str
    """The sample's."""
    image: str | None = None
    """Its picture inside the run; None for a thing without one."""
    text: str | None = None
    """The thing itself, where it is text."""
    label: str
    """What it is."""
    teacher: str
    """What the teacher says."""
    teacher_confidence: float
    """The probability that the teacher gives its answer."""
    student: str
    """What the student says."""
    student_confidence: float
    """The probability that the student gives its answer."""


class Picture(Example):
    """An example with its picture at hand."""

    source: str | None = None
    """A data URI; None for a thing without a picture."""


class Timing(Timed):
    """A benchmark row with its samples as quantiles, which the plots are drawn from."""

    quantiles_ms: list[float] = []
    """From the fastest call to the slowest, every 2 %."""


class Curve(Document):
    """How a model learned in this run."""

    role: str
    """teacher, member (one of several teachers), assistant, baseline or student."""
    name: str
    """The architecture's name in its family."""
    seed: int | None
    """Null where nothing was drawn."""
    epochs: list[Epoch]
    """In turn."""


class Report(Document):
    """`report.json`. Fractions, not percent; times in ms; bytes; MB = 10⁶ bytes; null is what was not measured."""

    schema_version: int = 1
    """Of the document's form."""
    run: RunEntry
    """How it was started and how it ended."""
    dataset: DatasetEntry
    """What it was trained on."""
    models: list[Model]
    """One per role and seed."""
    exports: list[ArtifactEntry] = []
    """The exported files."""
    int8: Int8 | None = None
    """What the int8 ladder came to, where it was climbed."""
    benchmark: list[Timing] = []
    """Their timings."""
    shipped_seed: int | None = None
    """The seed that is best on validation, of the role that ships."""
    shipped_role: Shipped = "student"
    """What ships as the student: the taught one, or the baseline where that is better on validation."""
    choice: Choice | None = None
    """Why it is this one; null without a baseline."""
    help: Help | None = None
    """Null without a baseline, and of language models."""
    foretold: Foretold | None = None
    """The same of language models; null without a baseline."""
    continuations: list[Continued] = []
    """Texts that language models wrote on."""
    slices: list[Slice] = []
    """By group of the test samples, where the data have a `metadata.csv`."""
    shift: Shift | None = None
    """Under damage; null where it was not asked for."""
    students: Students | None = None
    """What was asked of the student's file, what was tried for it and what was measured; null where nothing was asked."""
    pilot: Pilot | None = None
    """What chose how the student is taught; null where the recipe said it."""
    errors: Errors
    """Accuracy within each class."""
    reliability: list[Reliability] = []
    """Of teacher, student and its quantised files."""
    confusion: Confusion | None = None
    """Null without a student, or without a mistake."""
    examples: list[Example] = []
    """Test samples on which student and teacher disagree."""
    benchmark_models: dict[str, ModelFacts] | None = None
    """File → what it is and how accurate; null before a benchmark."""
    verdicts: list[Verdict] = []
    """Whether each file is worth it."""
    curves: list[Curve] = []
    """Of what was trained in the run."""
    budget: Budget | None = None
    """How the time that the run was given was divided; null where it was given epochs."""
    taken: dict[str, float] = {}
    """Phase → seconds that it took; the report is not among them. Empty in older runs."""
    host: Host | None = None
    """Where it was timed, or else trained."""
    versions: dict[str, str | None] | None = None
    """Package → version; null where it is not installed."""
    warnings: list[str] = []
    """What a reader must know before trusting the result."""


class ComparedHelp(Document):
    """What the teacher was worth in one of several runs."""

    top1_gain: float
    """A fraction; below zero it is right less often."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""
    verdict: Helped
    """What its interval says."""


class ComparedRun(Document):
    """One of several runs: what it ships."""

    run: str
    """Its folder."""
    name: str | None
    """The run folder's name."""
    status: str | None
    """How far the run has come."""
    student: str | None
    """Its architecture."""
    top1: float | None
    """The student's, mean over seeds."""
    top1_std: float | None
    """Over seeds; null for a single one."""
    teacher: str | None
    """Its architecture."""
    teacher_top1: float | None
    """The teacher's."""
    help: ComparedHelp | None
    """What the teacher was worth; null without a baseline."""
    bytes: int | None
    """Of the shipped file; so are the next two."""
    p50_ms: float | None
    """Latency of the shipped file."""
    peak_rss_mb: float | None
    """Peak resident memory with the shipped file, MB."""
    against_first: Gain | None = None
    """Beside the first run, sample by sample; null for itself, on other samples, and of language models."""
    perplexity: float | None = None
    """The student's, of the test text, mean over seeds; null of other models."""
    bits_per_byte: float | None = None
    """Likewise."""
    teacher_perplexity: float | None = None
    """The teacher's."""
    foretold: Foretold | None = None
    """What the teacher was worth to a language model."""
    masked: bool = False
    """Whether it says what is hidden: its perplexity is of that alone."""


class Comparison(Document):
    """What `compress report A B --json` prints."""

    runs: list[ComparedRun]
    """In the order that they were named in."""
    warnings: list[str] = []
    """What a reader must know."""
