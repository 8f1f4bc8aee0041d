"""What samples show, as numbers that can be compared: which show the same, and which of a pair has to go. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BANDS = 4
"""Parts of 16 bits of a near print: of two that differ in fewer bits than that, one part is the same."""
NEAR = BANDS - 1
"""Bits in which the near prints of near-duplicates differ at most."""
PLAIN = 6
"""A near print with fewer ones or fewer noughts is of a sample without a shape: half of a folder may look like that."""
CROWD = 200
"""Samples that share a part at most: a larger crowd has a part in common, not a picture."""


@dataclass(frozen=True, kw_only=True)
class Prints:
    """One entry per sample."""

    exact: NDArray[np.uint64]
    """(samples,), equal where two samples show the same."""
    near: NDArray[np.uint64] | None = None
    """(samples,), of which few bits differ where two samples look alike; None where nobody has defined any."""
    sizes: NDArray[np.int32] | None = None
    """(samples, 2) width and height; None where samples have none."""
    words: NDArray[np.int32] | None = None
    """(samples,) words; None where samples are no texts."""


@dataclass(frozen=True, kw_only=True)
class Apart:
    """Splits none of whose samples show what another one's do."""

    splits: dict[str, NDArray[np.int64]]
    moved: dict[tuple[str, str], list[tuple[int, int]]]
    """(split, split that holds the same) → pairs of (sample that was taken out, sample that shows the same)."""


ORDER = ("test", "validation", "train")
"""Who keeps what two splits have: the report's samples stay, and training gives way to both."""


def apart(splits: dict[str, NDArray[np.int64]], exact: NDArray[np.uint64]) -> Apart:
    """The splits with whatever an earlier one in `ORDER` shows taken out of the later ones."""
    kept = dict(splits)
    moved: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for place, split in enumerate(ORDER):
        for owner in ORDER[:place]:
            holders = kept[owner]
            order = np.argsort(exact[holders], kind="stable")
            shown = exact[holders][order]
            at = np.searchsorted(shown, exact[kept[split]])
            seen = shown[np.minimum(at, len(shown) - 1)] == exact[kept[split]] if len(shown) else np.zeros(0, bool)
            if not seen.any():
                continue
            twins = holders[order][at[seen]]
            moved[split, owner] = list(zip(kept[split][seen].tolist(), twins.tolist(), strict=True))
            kept[split] = kept[split][~seen]
    return Apart(splits=kept, moved=moved)


def repeated(indices: NDArray[np.int64], exact: NDArray[np.uint64]) -> list[list[int]]:
    """Samples of `indices` that show the same, a list for each such picture."""
    order = indices[np.argsort(exact[indices], kind="stable")]
    starts = np.flatnonzero(np.diff(exact[order], prepend=exact[order][:1] ^ np.uint64(1)))
    counts = np.diff(np.append(starts, len(order)))
    return [order[s : s + c].tolist() for s, c in zip(starts[counts > 1], counts[counts > 1], strict=True)]


def look_alikes(here: NDArray[np.int64], there: NDArray[np.int64], near: NDArray[np.uint64]) -> list[tuple[int, int]]:
    """Pairs (sample of `here`, sample of `there`) whose near prints differ in at most `NEAR` bits.

    A banded lookup: each sample is compared with those alone that share one of its four parts.
    """
    here, there = here[_shaped(near[here])], there[_shaped(near[there])]
    if not len(here) or not len(there):
        return []
    found: set[tuple[int, int]] = set()
    for band in range(BANDS):
        shift = np.uint64(16 * band)
        parts = (near[there] >> shift) & np.uint64(0xFFFF)
        order = np.argsort(parts, kind="stable")
        own = (near[here] >> shift) & np.uint64(0xFFFF)
        first, last = (np.searchsorted(parts[order], own, side=side) for side in ("left", "right"))
        for i, a, b in zip(here.tolist(), first.tolist(), last.tolist(), strict=True):
            some = there[order[a : min(b, a + CROWD)]]
            close = some[_ones(near[some] ^ near[i]) <= NEAR] if len(some) else some
            found.update((i, int(j)) for j in close)
    return sorted(found)


def _shaped(near: NDArray[np.uint64]) -> NDArray[np.bool_]:
    ones = _ones(near)
    return (ones >= PLAIN) & (ones <= 64 - PLAIN)


def _ones(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """(n,) bits that are set; numpy 1 has no function for it."""
    counted: NDArray[np.int64] = np.unpackbits(values.view(np.uint8).reshape(len(values), 8), axis=1).sum(axis=1)
    return counted


def overlap(seen: NDArray[np.uint64], indices: NDArray[np.int64], exact: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The samples of `indices` that show something of `seen`."""
    return indices[np.isin(exact[indices], seen)]


def described(moved: dict[tuple[str, str], list[tuple[int, int]]], ids: Sequence[str]) -> list[tuple[str, list[str]]]:
    """(reason, names) of what was taken out of a split."""
    return [
        (
            f"repeated from {owner}, taken out of {split}",
            [f"{ids[i]} = {ids[j]}" for i, j in pairs],
        )
        for (split, owner), pairs in moved.items()
    ]
