"""The lengths that a file is measured at whose graph leaves them open: so many tokens, or the data's own. Only numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Length = int | Literal["data"]
"""Tokens of every sample, or `data`: as long as validation samples are."""

DATA: Literal["data"] = "data"
USUAL = (8, 32, 128)
QUANTILES = 33
"""Lengths that stand for those of all samples."""


def quantiles(lengths: Sequence[int]) -> list[int]:
    """From the shortest to the longest, evenly spaced; each is a sample's own."""
    return [int(v) for v in np.quantile(lengths, np.linspace(0, 1, QUANTILES), method="nearest")]


def possible(asked: Sequence[Length] | None, *, longest: int | None, data: bool) -> list[Length]:
    """Those of `asked` (None: the data's and `USUAL`) that a file can be measured at, the data's first.

    What is said of a file in one figure is said of its first row.

    Args:
        asked: as the recipe has them.
        longest: what the file takes; None where nobody knows.
        data: whether the file says how long its data are.
    """
    chosen: list[Length] = list(dict.fromkeys(asked or [DATA, *USUAL]))
    numbers: list[Length] = [length for length in chosen if length != DATA and (longest is None or length <= longest)]
    return [DATA, *numbers] if data and DATA in chosen else numbers


def batches(known: Sequence[int], size: int) -> list[tuple[int, ...]]:
    """The lengths in each of the batches that are measured in turn: `known`, shuffled, and again until all are whole.

    From as many lengths on a batch holds them all: then one stands for every other.
    """
    rng = np.random.default_rng(0)
    count = len(known) if size < len(known) else 1
    rounds = -(-count * size // len(known))
    drawn = np.concatenate([rng.permutation(known) for _ in range(rounds)])[: count * size]
    return [tuple(int(v) for v in part) for part in drawn.reshape(count, size)]


def padding(found: Sequence[Sequence[int]]) -> float:
    """The share of what batches hold that is padding, each as wide as its longest."""
    return 1 - sum(map(sum, found)) / sum(len(batch) * max(batch) for batch in found)


def shown(length: Length, padded: float | None) -> str:
    """`length 8`; `the data's lengths, 12 % padding`."""
    if length != DATA:
        return f"length {length}"
    return "the data's lengths" + (f", {100 * padded:.0f} % padding" if padded else "")
