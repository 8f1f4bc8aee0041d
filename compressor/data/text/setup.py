"""What is settled for a set of texts before any model sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.artifact.preprocessing import Inputs
from compressor.data.text.options import Options

MOST = 128_000_000
"""Bytes of encoded texts that are kept; what comes after is encoded each time."""
OVERHEAD = 200
"""Bytes that Python needs for each array beside its numbers."""

Cut = tuple[NDArray[Any], int, Any]
"""(what a text uses of an array, its full length, what fills the rest)."""


class Kept:
    """Texts as tokens, so that none is taken apart in every epoch. Each loader process fills its own."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.bytes = 0
        self._found: dict[tuple[str, int], dict[str, Cut]] = {}

    def __deepcopy__(self, memo: Any) -> Kept:
        return self

    def encoded(self, key: str, sample: int, encode: Callable[[], Inputs]) -> Inputs:
        """One sample's arrays, (length,) each; they are the caller's own."""
        found = self._found.get((key, sample))
        if found is None:
            one = encode()
            used = int(one["attention_mask"].sum())
            found = {name: (array[:used].copy(), len(array), array[-1]) for name, array in one.items()}
            size = sum(part.nbytes + OVERHEAD for part, _, _ in found.values())
            if self.bytes + size <= self.most:
                self._found[key, sample] = found
                self.bytes += size
        return {name: _whole(*cut) for name, cut in found.items()}


def _whole(part: NDArray[Any], length: int, rest: Any) -> NDArray[Any]:
    array = np.full(length, rest, dtype=part.dtype)
    array[: len(part)] = part
    return array


@dataclass(frozen=True, kw_only=True)
class TextSetup:
    """`Dataset.setup` of texts."""

    pair: bool
    """Whether a sample is two texts."""
    max_length: int | None = None
    """Tokens that a model sees; None: 128, or what the model has, if that is less."""
    mask: float = 0.0
    """Share of the words that a view hides."""
    options: Options = field(default_factory=Options)
    """As they were given: which columns hold what."""
    kept: Kept = field(default_factory=Kept, repr=False, compare=False)
