"""How far the result holds: in every group of the test samples, and under damage. No torch."""

from __future__ import annotations

import numpy as np

from compressor.evaluation.document import SampleGroups, Shift, Slice, SliceFigures
from compressor.evaluation.slices import SMALLEST, TOO_FEW, Answers, looked_at, slices, worst
from compressor.files import read_document
from compressor.reporting.document import Report
from compressor.runfolder import RunFolder

ROLES = ("teacher", "baseline", "student")


def slices_of(run: RunFolder, answers: list[Answers]) -> list[Slice]:
    """A run's figures by group; nothing where its data had no groups. Answers on other samples are left out."""
    if not run.groups.is_file():
        return []
    groups = read_document(run.groups, SampleGroups)
    same = [own for own in answers if own.role in ROLES and np.array_equal(own.predictions.ids, groups.ids)]
    return slices(groups.columns, same) if same else []


def shift_of(run: RunFolder) -> Shift | None:
    """What was measured under damage; None where it was not asked for."""
    return read_document(run.shift, Shift) if run.shift.is_file() else None


def slice_table(found: list[Slice]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and lines, one per group; roles are those that the groups have figures of."""
    seen = {role for one in found for role in one.models}
    roles = [role for role in ("model", *ROLES) if role in seen]
    helped = any(one.help for one in found)
    header = ("group", "samples", *roles) + (("help of the teacher", "p corrected", "") if helped else ())
    lines = []
    for one in found:
        figures = tuple(_figures(one.models.get(role)) for role in roles)
        lines.append((named(one), str(one.samples), *figures, *(_help(one) if helped else ())))
    return header, lines


def named(one: Slice) -> str:
    """`column = group`, or which groups were pooled."""
    if one.group != TOO_FEW or not one.pooled:
        return f"{one.column} = {one.group}"
    names = ", ".join(one.pooled[:4]) + (" …" if len(one.pooled) > 4 else "")
    return f"{one.column} = {names} (each below {SMALLEST}: too few)"


def _figures(own: SliceFigures | None) -> str:
    if own is None:
        return "–"
    return f"{own.top1:.3f}" + ("" if own.ece_calibrated is None else f" (ECE {own.ece_calibrated:.3f})")


def _help(one: Slice) -> tuple[str, ...]:
    own = one.help
    if own is None:
        return "–", "–", "too few" if not one.models else "–"
    span = f"{100 * own.low:+.1f} … {100 * own.high:+.1f}"
    return f"{100 * own.top1_gain:+.1f} pt ({span})", f"{own.p_corrected:.2g}", own.verdict


def slice_line(report: Report) -> str | None:
    """The group that lost what the mean won, in one sentence; None without one."""
    lost, overall = worst(report.slices), report.help
    if lost is None or lost.help is None or overall is None or overall.top1_gain_mean <= 0:
        return None
    own = lost.help
    return (
        f"But where {named(lost)} ({lost.samples} samples) it cost {-100 * own.top1_gain:.1f} points "
        f"(95 % interval {100 * own.low:+.1f} … {100 * own.high:+.1f}; p {own.p_corrected:.2g} after correcting for "
        f"{looked_at(report.slices)} groups): the mean hides it."
    )


def shift_table(found: Shift) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and lines: each model's accuracy under each damage, the mean over damages at the end."""
    roles = [role for role in ("model", *ROLES) if role in found.mean.top1]
    both = {"student", "baseline"} <= set(roles)
    lines = []
    for row in found.rows:
        top1 = {role: row.models[role].top1 for role in roles}
        name = f"{row.kind} {row.strength or ''}".strip()
        gain = (f"{100 * (top1['student'] - top1['baseline']):+.1f} pt",) if both else ()
        lines.append((name, *(f"{top1[role]:.3f}" for role in roles), *gain))
    mean = found.mean
    helped = (
        "–" if mean.top1_gain is None or mean.low is None or mean.high is None
        else f"{100 * mean.top1_gain:+.1f} pt ({100 * mean.low:+.1f} … {100 * mean.high:+.1f})"
    )  # fmt: skip
    lines.append(("mean over damages", *(f"{mean.top1[role]:.3f}" for role in roles), *((helped,) if both else ())))
    return ("damage", *roles) + (("help of the teacher",) if both else ()), lines


def shift_line(report: Report) -> str | None:
    """What the help is worth under damage, in one sentence; None where it was not measured."""
    if report.shift is None:
        return None
    mean = report.shift.mean
    if mean.top1_gain is None or mean.low is None or mean.high is None:
        return None
    return (
        f"Under damage (mean over {len(report.shift.rows) - 1} kinds and strengths, the seed that ships) the teacher's "
        f"help was worth {100 * mean.top1_gain:+.1f} points (95 % interval over samples {100 * mean.low:+.1f} … "
        f"{100 * mean.high:+.1f})."
    )
