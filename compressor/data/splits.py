"""Who is in which split: drawn by seed with the classes' shares kept, and nothing in two of them. No torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from compressor.data.config import DataConfig
from compressor.data.prints import Prints, apart, described, repeated
from compressor.errors import DataError
from compressor.runnote import Unused
from compressor.seeds import derive_seed

SPLITS = ("train", "validation", "test")
NAMED = 5
"""Samples that are named of many."""


def split(
    labels: NDArray[np.int64], fixed: dict[str, NDArray[np.int64]], config: DataConfig
) -> dict[str, NDArray[np.int64]]:
    """Three disjoint, sorted index arrays; what `fixed` does not give is drawn stratified by `data.seed`."""
    rest = fixed.get("train", np.arange(len(labels)))
    splits: dict[str, NDArray[np.int64]] = {n: fixed[n] for n in ("test", "validation") if n in fixed}
    for name, share in (("test", config.test), ("validation", config.validation)):
        if name in splits:
            continue
        whole = len(fixed["train"]) if fixed else len(labels)
        # Of few samples a class each split still gets one of every class.
        taken = stratified(labels[rest], max(round(whole * share), len(set(labels[rest]))), config.seed, name)
        splits[name] = rest[taken]
        rest = np.delete(rest, taken)
    splits["train"] = rest
    complete(labels, splits)
    return {name: np.sort(splits[name]) for name in SPLITS}


def complete(
    labels: NDArray[np.int64], splits: dict[str, NDArray[np.int64]], why: str = "too few samples to split"
) -> None:
    """Raises DataError where a split lacks a class."""
    for name in SPLITS:
        missing = set(labels.tolist()) - set(labels[splits[name]].tolist())
        if missing:
            raise DataError(
                f"{why}: {name} gets none of {len(missing)} class(es).\n"
                f"Each class needs at least 3 samples ({len(labels)} in all), "
                "or give the splits as folders train/, val/ and test/."
            )


def without_repeats(
    ids: Sequence[str],
    labels: NDArray[np.int64],
    prints: Prints,
    splits: dict[str, NDArray[np.int64]],
    config: DataConfig,
) -> tuple[dict[str, NDArray[np.int64]], list[Unused], list[str]]:
    """The splits with nothing in two of them, what was taken out, and notes on what stays.

    Raises:
        DataError: something is there twice that must not be, and `data.strict` asks for an error.
    """
    parted = apart(splits, prints.exact)
    unused = [
        Unused(reason=reason, count=len(names), examples=names[:NAMED])
        for reason, names in described(parted.moved, ids)
    ]
    doubtful, twice = [], 0
    labels = labels.reshape(len(ids), -1)
    for name in SPLITS:
        for same in repeated(parted.splits[name], prints.exact):
            twice += len(same) - 1
            if (labels[same] != labels[same[0]]).any():
                doubtful.append(" = ".join(ids[i] for i in same[:NAMED]))
    notes = []
    if twice:
        notes.append(
            f"{twice} sample(s) show what another one of their split does; they count as often as they are there"
        )
    if doubtful:
        named = "; ".join(doubtful[:NAMED]) + (" …" if len(doubtful) > NAMED else "")
        notes.append(f"{len(doubtful)} time(s) the very same is labelled as two classes: {named}")
    if config.strict and (unused or doubtful):
        lines = [str(entry) for entry in unused] + (notes[-1:] if doubtful else [])
        raise DataError(
            "data.strict (--strict-data): the splits hold samples that show the same.\n" + "\n".join(lines[:2])
        )
    return parted.splits, unused, notes


def stratified(labels: NDArray[np.int64], count: int, seed: int, *salt: str) -> NDArray[np.int64]:
    """Positions of `count` samples with the classes' shares kept, at least one each; sorted.

    A count below the number of classes takes one each of randomly chosen ones.

    A smaller count is always a subset of a larger one: samples are ranked once, per class, by seed.
    """
    if count >= len(labels):
        return np.arange(len(labels))
    ranks = np.empty(len(labels))
    for c in np.unique(labels):
        members = np.flatnonzero(labels == c)
        order = np.random.default_rng(derive_seed(seed, *salt, int(c))).permutation(len(members))
        # The k-th of n members stands at (k + ½) / n: cutting all classes at one height keeps shares.
        ranks[members[order]] = (np.arange(len(members)) + 0.5) / len(members)
        # The first of each class go before all others, in an order of classes that no salt changes: where the count is
        # below their number, every split keeps samples of the same classes, and not those whose names come first.
        ranks[members[order[0]]] = -1 - np.random.default_rng(derive_seed(seed, "classes", int(c))).random()
    return np.sort(np.argsort(ranks, kind="stable")[:count])
