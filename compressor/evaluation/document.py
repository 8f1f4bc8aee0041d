"""Figures of accuracy and calibration, and what `compress evaluate` prints."""

from __future__ import annotations

from compressor.artifact.metadata import TemperatureOf
from compressor.document import Document


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
    """1, 2 or 3; 0 for the samples as they are."""
    models: dict[str, ShiftFigures]
    """Role → its figures."""


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
    """Class → accuracy."""
    shift: list[ShiftRow] | None = None
    """With `--shift`: the same under damage."""
