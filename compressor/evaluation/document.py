"""Figures of accuracy and calibration, and what `compress evaluate` prints."""

from __future__ import annotations

from typing import Literal

from compressor.artifact.metadata import TemperatureOf
from compressor.document import Document
from compressor.runnote import LanguageFigures


class Figures(Document):
    """What a model's answers on a split come to; null is what can't be told, such as the NLL of logits that overflow."""

    samples: int
    """How many."""
    top1: float
    """A fraction, as everywhere."""
    top5: float
    """Share of samples whose class is among the first five."""
    nll: float | None
    """Raw, at temperature 1; nats."""
    ece: float | None
    """Raw expected calibration error, at temperature 1; 15 bins."""
    nll_calibrated: float | None = None
    """Of the probabilities that ship: at the calibration temperature; null without one."""
    ece_calibrated: float | None
    """Of the probabilities that ship: at the calibration temperature; null without one."""
    temperature: float | None = None
    """The calibration temperature."""
    balanced_accuracy: float | None
    """Mean of the classes' accuracies."""
    per_class: list[float | None]
    """Accuracy within each class, in the order of the logits; null for a class without samples."""


class CopiedMistakes(Document):
    """How many of the teacher's mistakes a model makes, too, with the same wrong class."""

    teacher_mistakes: int
    """How many the teacher makes."""
    copied: int
    """How many of them the model makes, with the same wrong class."""
    share: float | None
    """Null when the teacher makes none."""


class Gain(Document):
    """How much more often a model is right than another one, on the same samples."""

    top1_gain: float
    """A fraction; below zero it is right less often."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""
    mcnemar_p: float
    """McNemar's exact p-value that both err equally often."""


class Bin(Document):
    """A bin of a reliability diagram that holds samples."""

    low: float
    """Confidences above this …"""
    high: float
    """… up to this."""
    count: int
    """Samples in it."""
    confidence: float
    """Mean confidence of its samples."""
    accuracy: float
    """Share of them that are right."""


class ShiftFigures(Figures):
    """A model's figures under one damage."""

    copied_mistakes: CopiedMistakes | None = None
    """Null for the teacher and without one."""


class ShiftRow(Document):
    """One kind of damage at one strength."""

    kind: str
    """`none` for the samples as they are."""
    strength: int
    """1 to 3, of texts to 5; 0 for the samples as they are."""
    models: dict[str, ShiftFigures]
    """Role → its figures."""


class ShiftMean(Document):
    """Over all damages and strengths, each counting the same; the samples as they are apart."""

    top1: dict[str, float]
    """Role → share of samples whose class is named first."""
    top1_gain: float | None = None
    """The teacher's help under damage: student − baseline; null without both."""
    low: float | None = None
    """Lower end of its 95 % interval over samples."""
    high: float | None = None
    """Upper end."""


class Shift(Document):
    """`shift.json`: the test samples under damage, seen by the models of the seed that ships."""

    schema_version: int = 1
    """Of the document's form."""
    rows: list[ShiftRow]
    """The samples as they are, then one per kind and strength."""
    mean: ShiftMean
    """Over the damages."""


class SliceFigures(Document):
    """A model on one group, mean over its seeds."""

    top1: float
    """A fraction."""
    ece_calibrated: float | None = None
    """Expected calibration error at the model's calibration temperature; null below 200 samples or without one."""


class SliceHelp(Document):
    """What the teacher was worth in one group: student − baseline, paired by seed and sample."""

    top1_gain: float
    """A fraction; below zero the student is right less often than without a teacher."""
    low: float
    """Lower end of the 95 % interval over seeds and samples, for this group alone."""
    high: float
    """Upper end."""
    p: float
    """Of the randomisation test over samples (with one seed McNemar's exact one)."""
    p_corrected: float
    """After Holm's correction for having looked at every group."""
    verdict: Literal["helped", "hurt", "no difference"]
    """helped or hurt where the interval is on one side of zero and the corrected p is below 0.05."""


class Slice(Document):
    """One group of the test samples. Groups below 30 samples are pooled, per column."""

    column: str
    """Of `metadata.csv`."""
    group: str
    """Its value; `unknown` where the file says none."""
    samples: int
    """Rows in it."""
    pooled: list[str] = []
    """Groups too small to stand alone that are in it together; empty for a group of its own."""
    models: dict[str, SliceFigures] = {}
    """Role → figures; empty below 30 samples."""
    help: SliceHelp | None = None
    """Null without both models, or below 30 samples."""


class SampleGroups(Document):
    """`groups.json`: which group each test sample is in, so that the report can be built without the data."""

    schema_version: int = 1
    """Of the document's form."""
    ids: list[str]
    """Rows of `predictions.npz`."""
    columns: dict[str, list[str]]
    """Column → group of each of them."""


class Evaluation(Document):
    """What `compress evaluate --json` prints."""

    model: str
    """As it was named."""
    data: str
    """The dataset's name."""
    split: str
    """test, validation, train or all."""
    samples: int
    """How many."""
    top1: float
    """Share of samples whose class is named first."""
    top5: float
    """Share of samples whose class is among the first five."""
    nll: float | None
    """Raw negative log-likelihood, at temperature 1; nats."""
    ece: float | None
    """Raw expected calibration error, at temperature 1; 15 bins."""
    nll_calibrated: float | None = None
    """Of the probabilities that ship: at the calibration temperature; null without one."""
    ece_calibrated: float | None
    """Of the probabilities that ship: at the calibration temperature; null without one."""
    temperature: float | None = None
    """The calibration temperature; softmax(logits / temperature) are the probabilities that ship."""
    temperature_of: TemperatureOf | None = None
    """Whose validation logits it was fitted to; null where the file does not say."""
    balanced_accuracy: float | None
    """Mean of the classes' accuracies."""
    per_class: dict[str, float | None]
    """Class → accuracy; empty where classes are tokens."""
    shift: list[ShiftRow] | None = None
    """With `--shift`: the same under damage."""
    shift_mean: ShiftMean | None = None
    """With `--shift`: over the damages."""
    slices: list[Slice] = []
    """By group, where the data have a `metadata.csv`."""


class LanguageEvaluation(Document):
    """What `compress evaluate --json` prints of a language model."""

    model: str
    """As it was named."""
    data: str
    """The corpus' name."""
    split: str
    """test, validation, train or all."""
    language: LanguageFigures
    """On the text of the split."""
