"""What a report keeps of language models beside their figures: the teacher's help, and texts that were written on."""

from __future__ import annotations

from typing import Literal

from compressor.document import Document

Helped = Literal["helped", "hurt", "no difference", "one training"]
"""`one training`: a single seed, from which nobody can tell. Older documents judged that, too."""


class Foretold(Document):
    """What the teacher was worth to a language model: student − baseline on the test text, paired by seed."""

    seeds: list[int]
    """Those that student and baseline share."""
    difference: list[float]
    """Per seed, of the NLL, nats a token; below zero the teacher helped."""
    difference_mean: float
    """Over the seeds."""
    interval: tuple[float, float] | None
    """95 %, over seeds and stretches of the text; over stretches alone for a single seed; null of too short a text."""
    verdict: Helped
    """What its interval says; `one training` for a single seed."""
    tokens: int
    """Of the test text that were scored."""
    length: int
    """Tokens of the window."""
    stride: int
    """Tokens that it goes on by."""
    three_seeds_seconds: float | None = None
    """For a single seed: what two more trainings of student and baseline would take, as long as the first took."""


class Continued(Document):
    """A stretch of the test text, and how each model writes it on."""

    prompt: str
    """The stretch."""
    texts: dict[str, str]
    """`text` (how it goes on in truth) or a role → what follows."""


class Continuations(Document):
    """`continuations.json`: texts that a run's language models wrote on."""

    schema_version: int = 1
    """Of the document's form."""
    texts: list[Continued]
    """At most a few."""
