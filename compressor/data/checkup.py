"""A look at data before anything is trained on them. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compressor.data.config import DataConfig
from compressor.data.dataset import Source, build
from compressor.data.document import ClassCount, DataReport, LookAlikes
from compressor.data.kind import kind_of
from compressor.data.load import modality_of
from compressor.data.prints import look_alikes
from compressor.data.splits import NAMED, SPLITS
from compressor.errors import DataError
from compressor.progress import Progress

PAIRS = (("test", "train"), ("test", "validation"), ("validation", "train"))


def checkup(config: DataConfig, progress: Progress) -> DataReport:
    """Classes, sizes, what is not used and why, repeats, look-alikes, and what the splits will be.

    Raises:
        DataError: no samples to speak of; what only keeps a training from starting is among the report's problems.
    """
    source = kind_of(modality_of(config.source, config.task)).read(
        config.model_copy(update={"max_unreadable": 1.0}), progress
    )
    splits: dict[str, NDArray[np.int64]] = {}
    unused, notes, problems = list(source.unused), list(source.notes), []
    try:
        dataset = build(source, config)
        splits, unused, notes = dataset.splits, dataset.unused, dataset.notes
    except DataError as error:
        problems.append(str(error))
    allowed = config.max_unreadable * (len(source.ids) + len(source.unreadable))
    if len(source.unreadable) > allowed:
        problems.append(
            f"{len(source.unreadable)} samples can't be read, and data.max_unreadable = {config.max_unreadable:g} "
            f"allows {int(allowed)}: repair or remove them, or raise the limit"
        )
    return _report(source, splits, config).model_copy(update={"unused": unused, "notes": notes, "problems": problems})


def _report(source: Source, splits: dict[str, NDArray[np.int64]], config: DataConfig) -> DataReport:
    labels = source.labels if source.labels.ndim == 1 else source.labels[:, 0]
    number = len(source.classes)
    whole = np.bincount(labels, minlength=number)
    of = {s: np.bincount(labels[splits[s]], minlength=number) if s in splits else np.zeros(number, int) for s in SPLITS}
    sizes = source.prints.sizes if source.prints else None
    smallest, median, largest = (None, None, None) if sizes is None or not len(sizes) else _sizes(sizes)
    return DataReport(
        name=source.name,
        samples=len(source.ids),
        classes=[
            ClassCount(name=name, samples=int(whole[i]), **{s: int(of[s][i]) for s in SPLITS})
            for i, name in enumerate(source.classes)
        ],
        train=int(of["train"].sum()),
        validation=int(of["validation"].sum()),
        test=int(of["test"].sum()),
        smallest=smallest,
        median=median,
        largest=largest,
        words=None if source.prints is None else _words(source.prints.words),
        seed=config.seed,
        imbalance=float(whole.max() / max(1, whole.min())),
        look_alikes=_look_alikes(source, splits),
    )


def _sizes(sizes: NDArray[np.int32]) -> tuple[list[int], list[int], list[int]]:
    """Width and height: fewest pixels, medians, most pixels."""
    pixels = sizes.astype(np.int64).prod(axis=1)
    median = np.median(sizes, axis=0).astype(int)
    return sizes[pixels.argmin()].tolist(), median.tolist(), sizes[pixels.argmax()].tolist()


def _words(words: NDArray[np.int32] | None) -> list[int] | None:
    """Median, 99 % and most."""
    if words is None or not len(words):
        return None
    return [int(value) for value in np.quantile(words, [0.5, 0.99, 1.0], method="higher")]


def _look_alikes(source: Source, splits: dict[str, NDArray[np.int64]]) -> list[LookAlikes]:
    if source.prints is None or source.prints.near is None or not splits:
        return []
    found = []
    for one, other in PAIRS:
        pairs = look_alikes(splits[one], splits[other], source.prints.near)
        if pairs:
            examples = [f"{source.ids[i]} ~ {source.ids[j]}" for i, j in pairs[:NAMED]]
            found.append(LookAlikes(splits=f"{one} and {other}", pairs=len(pairs), examples=examples))
    return found
