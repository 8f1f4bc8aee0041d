"""Figures within groups of samples: where a gain on average hides a loss. No torch.

Calibration and the teacher's help of a handful of samples are noise, and of many groups one looks bad by chance:
small groups are pooled, and a verdict on a group is corrected for having looked at all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compressor.evaluation import metrics
from compressor.evaluation.document import Slice, SliceFigures, SliceHelp
from compressor.evaluation.figures import right
from compressor.evaluation.predictions import Predictions

SMALLEST = 30
"""Samples below which a group has no figures of its own: one image more is over three points."""
CALIBRATED = 200
"""Samples below which 15 bins say more of chance than of calibration."""
SURE = 0.05
"""Corrected p below which a group is said to have gained or lost."""
TOO_FEW = "too few samples"
"""What the pool of a column's small groups is called."""

Members = tuple[str, str, list[str], NDArray[np.bool_]]
"""(column, group, groups pooled in it, rows in it)."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """A model's answers on the split whose groups are looked at."""

    role: str
    seed: int | None
    predictions: Predictions
    temperature: float | None


def slices(columns: dict[str, list[str]], answers: Sequence[Answers]) -> list[Slice]:
    """Figures of every group, the columns in turn, large groups first.

    Args:
        columns: column → the group of each row.
        answers: of models on these very rows, in this order; a role may have several seeds.
    """
    roles = list(dict.fromkeys(own.role for own in answers))
    paired = _paired(answers)
    found = []
    for column, group, pooled, inside in (entry for name in columns for entry in _members(name, columns[name])):
        count = int(inside.sum())
        enough = count >= SMALLEST
        models = {role: _figures([a for a in answers if a.role == role], inside) for role in roles} if enough else {}
        own = _help(*(rights[:, inside] for rights in paired)) if enough and paired else None
        found.append(Slice(column=column, group=group, samples=count, pooled=pooled, models=models, help=own))
    return _corrected(found)


def worst(found: Sequence[Slice]) -> Slice | None:
    """The group that lost most by the teacher, of those that are sure to have lost; None without any."""
    lost = [(one.help.top1_gain, place) for place, one in enumerate(found) if one.help and one.help.verdict == "hurt"]
    return found[min(lost)[1]] if lost else None


def looked_at(found: Sequence[Slice]) -> int:
    """How many groups the correction is for."""
    return sum(one.help is not None for one in found)


def _members(column: str, groups: Sequence[str]) -> list[Members]:
    """The groups of a column, the largest first; small ones as one at the end."""
    values = np.array(groups)
    names, counts = np.unique(values, return_counts=True)
    order = sorted(zip((-counts).tolist(), names.tolist(), strict=True))
    alone: list[Members] = [(column, name, [], values == name) for count, name in order if -count >= SMALLEST]
    small = [name for count, name in order if -count < SMALLEST]
    return alone + ([(column, TOO_FEW, small, np.isin(values, small))] if small else [])


def _figures(answers: Sequence[Answers], inside: NDArray[np.bool_]) -> SliceFigures:
    errors = []
    for own in answers:
        if own.temperature and inside.sum() >= CALIBRATED:
            seen = own.predictions
            errors.append(metrics.ece(seen.labels[inside], seen.logits[inside], temperature=own.temperature))
    top1 = float(np.mean([right(own.predictions)[inside].mean() for own in answers]))
    return SliceFigures(top1=top1, ece_calibrated=float(np.mean(errors)) if errors else None)


def _paired(answers: Sequence[Answers]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """(seeds, rows) whether student and baseline are right, of the seeds that both have; None without any."""
    found: dict[str, dict[int, NDArray[np.bool_]]] = {"student": {}, "baseline": {}}
    for own in answers:
        if own.role in found and own.seed is not None:
            found[own.role][own.seed] = right(own.predictions)
    seeds = sorted(found["student"].keys() & found["baseline"].keys())
    if not seeds:
        return None
    student, baseline = (np.stack([found[role][seed] for seed in seeds]) for role in found)
    return student, baseline


def _help(student: NDArray[np.bool_], baseline: NDArray[np.bool_]) -> SliceHelp:
    """(seeds, rows of the group) each; not corrected yet."""
    gain = metrics.training_gain(student, baseline)
    p = metrics.sign_flip(student.sum(axis=0) - baseline.sum(axis=0))
    return SliceHelp(
        top1_gain=gain["mean"], low=gain["low"], high=gain["high"], p=p, p_corrected=p, verdict="no difference"
    )


def _corrected(found: list[Slice]) -> list[Slice]:
    """The slices with p-values corrected for their number, and verdicts."""
    ps = iter(metrics.holm([one.help.p for one in found if one.help]))
    return [one.model_copy(update={"help": _judged(one.help, next(ps))}) if one.help else one for one in found]


def _judged(own: SliceHelp, p: float) -> SliceHelp:
    verdict = "no difference"
    if p < SURE and own.low > 0:
        verdict = "helped"
    elif p < SURE and own.high < 0:
        verdict = "hurt"
    return own.model_copy(update={"p_corrected": p, "verdict": verdict})
