"""Speculative decoding, greedy: a draft guesses the next tokens, its target checks them all in one pass. Only numpy.

Leviathan et al. 2023 and Chen et al. 2023, at temperature 0: a guess counts while it is the token that the target
itself would take, so that the text is the target's own, token by token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from compressor.artifact.text.generation import greedy
from compressor.artifact.text.language import Reader

GRAM = 3
"""Tokens of the longest n-gram that is looked up."""


class Draft(Protocol):
    """What guesses how a text goes on."""

    def guess(self, ids: Sequence[int], count: int, end: int | None) -> list[int]:
        """At most `count` tokens that may follow `ids`, of which only the last may be `end`."""


class ModelDraft:
    """A small model, greedily; where it can read no more of a text it guesses nothing."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def guess(self, ids: Sequence[int], count: int, end: int | None) -> list[int]:
        """It reads what it has not: of its earlier guesses those stay read that were right."""
        reader = self._reader
        guessed: list[int] = []
        reader.cut(min(common(reader.seen, ids), len(ids) - 1))
        for _ in range(min(count, reader.positions - len(ids) + 1)):
            guessed.append(greedy(reader.read([*ids, *guessed][len(reader.seen) :])[-1]))
            if guessed[-1] == end:
                break
        return guessed


class Lookup:
    """No model: what followed the text's last tokens where they stood before (prompt lookup, Saxena 2023)."""

    def guess(self, ids: Sequence[int], count: int, end: int | None) -> list[int]:
        """After the earliest match of the longest n-gram that has one."""
        text = np.asarray(ids)
        for size in range(min(GRAM, len(text) - 1), 0, -1):
            windows = np.lib.stride_tricks.sliding_window_view(text[:-1], size)
            found = np.flatnonzero((windows == text[-size:]).all(axis=1))
            if len(found):
                guessed: list[int] = text[found[0] + size :][:count].tolist()
                return guessed[: guessed.index(end) + 1] if end in guessed else guessed
        return []


@dataclass(frozen=True, kw_only=True)
class Told:
    """A text that was written on, and what it took."""

    ids: list[int]
    """What follows the prompt, without the token that ends a text."""
    passes: int
    """Of the target."""
    drafted: int
    """Tokens that were guessed."""
    accepted: int
    """Those of them that were right."""


def write(
    target: Reader, draft: Draft | None, prompt: Sequence[int], *, guesses: int, limit: int, end: int | None
) -> Told:
    """Writes on greedily, `guesses` tokens at a time; without a draft the target writes alone.

    Args:
        target: its cache is emptied first.
        prompt: at least one token, no more than the target can read.
        limit: tokens to write, at most.
    """
    target.cut(0)
    ids = list(prompt)
    longest = min(len(ids) + limit, target.positions + 1)
    passes = drafted = accepted = 0
    while len(ids) < longest and (end is None or len(ids) == len(prompt) or ids[-1] != end):
        count = min(guesses, longest - len(ids) - 1)
        guessed = draft.guess(ids, count, end) if draft and count else []
        answers = target.read([*ids[len(target.seen) :], *guessed])[-len(guessed) - 1 :].argmax(axis=1).tolist()
        right = common(guessed, answers)
        passes, drafted, accepted = passes + 1, drafted + len(guessed), accepted + right
        ids += answers[: right + (not (right and guessed[right - 1] == end))]
        target.cut(len(ids) - 1)
    written = ids[len(prompt) :]
    written = written[:-1] if written and written[-1] == end else written
    return Told(ids=written, passes=passes, drafted=drafted, accepted=accepted)


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens both begin with."""
    shorter = min(len(a), len(b))
    return next((place for place in range(shorter) if a[place] != b[place]), shorter)
