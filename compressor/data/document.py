"""What `compress doctor --data` says of a folder. No torch."""

from __future__ import annotations

from compressor.document import Document
from compressor.runnote import Unused


class ClassCount(Document):
    """A class and its samples in each split."""

    name: str
    """Its folder's name."""
    samples: int
    """All of them."""
    train: int
    """Training samples."""
    validation: int
    """Validation samples."""
    test: int
    """Test samples."""


class LookAlikes(Document):
    """Samples of two splits that look alike: perhaps one photo saved twice, or two of one burst."""

    splits: str
    """Which two: `test and train`."""
    pairs: int
    """How many."""
    examples: list[str] = []
    """At most five of them."""


class DataReport(Document):
    """The data before anything is trained on them."""

    name: str
    """The folder's name, or `digits`."""
    samples: int
    """That can be used, in all splits and out of them."""
    classes: list[ClassCount]
    """In the order of the logits."""
    train: int
    """Training samples."""
    validation: int
    """Validation samples."""
    test: int
    """Test samples."""
    seed: int
    """`data.seed`, by which splits are drawn that the folder does not have."""
    smallest: list[int] | None = None
    """Width and height, pixels, of the sample with the least of them; null where samples have no size."""
    median: list[int] | None = None
    """Median width and median height."""
    largest: list[int] | None = None
    """Of the sample with the most pixels."""
    words: list[int] | None = None
    """Words of a text: the median, what 99 % have at most, and the longest; null where samples are no texts."""
    imbalance: float
    """Samples of the largest class per sample of the smallest."""
    unused: list[Unused] = []
    """Files of the folder that no split holds, by reason; those that another split shows are among them."""
    look_alikes: list[LookAlikes] = []
    """Near-duplicates in two splits; nothing is done about them."""
    notes: list[str] = []
    """What else has to be said."""
    problems: list[str] = []
    """Why nothing could be trained on these data as they are."""
