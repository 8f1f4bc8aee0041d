"""A split under damage of graded strength, the same on every machine. No torch.

What may damage a thing is its modality's to say; how models stand it is measured here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor import modalities
from compressor.artifact.preprocessing import Inputs, Preprocessing
from compressor.data.dataset import Dataset
from compressor.data.kind import stacked
from compressor.errors import UsageError
from compressor.evaluation import metrics
from compressor.evaluation.document import Shift, ShiftFigures, ShiftMean, ShiftRow
from compressor.evaluation.figures import copied_mistakes, figures, right
from compressor.evaluation.predictions import Batches, Predictions, Predictor, predict
from compressor.progress import Progress
from compressor.seeds import derive_seed

Damage = Callable[[Inputs, int, int], Inputs]
"""(one thing as encoded, strength 1 … 3, seed) → the damaged thing."""

STRENGTHS = (1, 2, 3)


@dataclass(frozen=True)
class OnThings:
    """A damage that is done to a thing as it was read, before it is encoded."""

    how: Callable[[Any, int, int], Any]
    """(one thing, strength, seed) → the damaged thing."""
    strengths: tuple[int, ...] = (1, 2, 3, 4, 5)


def damaged(
    batches: Batches, dataset: Dataset, kind: str, strength: int, how: Damage
) -> Iterator[tuple[NDArray[np.int64], Inputs]]:
    """The batches with every thing damaged; what chance there is depends on (kind, strength, sample) alone."""
    for indices, inputs in batches:
        things = []
        for position, index in enumerate(indices):
            one = {name: array[position] for name, array in inputs.items()}
            things.append(how(one, strength, derive_seed(kind, strength, dataset.ids[int(index)])))
        yield indices, stacked(things)


def damaged_things(
    dataset: Dataset, split: str, preprocessing: Preprocessing, kind: str, strength: int, how: OnThings
) -> Iterator[tuple[NDArray[np.int64], Inputs]]:
    """The split in batches of 64, every thing damaged before it is encoded; chance is as in `damaged`."""
    indices = dataset.splits[split]
    for start in range(0, len(indices), 64):
        part = indices[start : start + 64]
        seeds = [derive_seed(kind, strength, dataset.ids[i]) for i in part]
        things = [how.how(dataset.read(int(i)), strength, seed) for i, seed in zip(part, seeds, strict=True)]
        yield part, preprocessing.encode(things)


def strengths_of(damage: Damage | OnThings) -> tuple[int, ...]:
    """The strengths that a damage is measured at, rising."""
    return damage.strengths if isinstance(damage, OnThings) else STRENGTHS


def damages_of(modality: str) -> dict[str, Damage | OnThings]:
    """What may damage things of a modality. Raises UsageError where nothing is known."""
    reference = modalities.modality(modality).damages
    if reference is None:
        raise UsageError(f"--shift: no damages are known for data of modality {modality}")
    found: dict[str, Damage | OnThings] = modalities.part(reference)
    return found


def under_shift(
    models: dict[str, tuple[Predictor, Preprocessing, float | None]], dataset: Dataset, split: str, progress: Progress
) -> Shift:
    """Every model's figures on the split as it is and under each damage: one row per kind and strength, and the mean.

    Args:
        models: role → (predictor, how things reach it, its calibration temperature); with a `teacher` among them,
            the others' copied mistakes are counted; with `student` and `baseline`, the help under damage.

    Returns:
        one row for the split as it is (`none`), then one per kind and strength; the mean is over the latter.

    Raises:
        UsageError: no damages are known for this modality.
    """
    damages = damages_of(dataset.modality)
    rungs = [("none", 0), *((kind, strength) for kind in damages for strength in strengths_of(damages[kind]))]
    rows: list[ShiftRow] = []
    rights: dict[str, list[NDArray[np.bool_]]] = {role: [] for role in models}
    with progress.bar("shift", len(rungs) * len(models)) as bar:
        for kind, strength in rungs:
            seen: dict[str, Predictions] = {}
            for role, (predictor, preprocessing, _) in models.items():
                batches: Batches = dataset.inputs(split, preprocessing, 64)
                how = damages[kind] if strength else None
                if isinstance(how, OnThings):
                    batches = damaged_things(dataset, split, preprocessing, kind, strength, how)
                elif how is not None:
                    batches = damaged(batches, dataset, kind, strength, how)
                seen[role] = predict(predictor, dataset, split, preprocessing, batches=batches)
                if strength:
                    rights[role].append(right(seen[role]))
                bar.advance(note=f"{kind} {strength or ''} · {role}")
            teacher = seen.get("teacher")
            found = {
                role: _figures(own, models[role][2], teacher if role != "teacher" else None)
                for role, own in seen.items()
            }
            rows.append(ShiftRow(kind=kind, strength=strength, models=found))
    return Shift(rows=rows, mean=_mean({role: np.mean(own, axis=0) for role, own in rights.items()}))


def _mean(shares: dict[str, NDArray[np.float64]]) -> ShiftMean:
    """Role → (rows,): the share of damages under which each row is classified rightly.

    The damages of one sample stand and fall together, so samples are what is drawn anew.
    """
    mean = ShiftMean(top1={role: float(own.mean()) for role, own in shares.items()})
    if not {"student", "baseline"} <= shares.keys():
        return mean
    gain = metrics.paired_gain(shares["student"], shares["baseline"])
    return mean.model_copy(update={"top1_gain": gain["mean"], "low": gain["low"], "high": gain["high"]})


def _figures(own: Predictions, temperature: float | None, teacher: Predictions | None) -> ShiftFigures:
    copied = copied_mistakes(own, teacher) if teacher else None
    return ShiftFigures(**vars(figures(own, temperature)), copied_mistakes=copied)
