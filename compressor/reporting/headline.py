"""The headline table: one row per model and exported file, with the ratios to the teacher."""

from __future__ import annotations

import io
from collections.abc import Sequence
from csv import DictWriter
from dataclasses import dataclass
from typing import Any

import numpy as np

from compressor.benchmarking.rows import combination
from compressor.reporting.document import Model, Report, Timing
from compressor.runnote import Budget, Choice, LanguageFigures

SHIPPED_NLL, SHIPPED_ECE = "NLL calibrated (raw)", "ECE calibrated (raw)"
"""Columns of what ships, at the calibration temperature; in brackets at temperature 1. See `shipped`."""

COLUMNS = ("", "model", "top-1", "parameters", "file", "latency p50", "peak memory", SHIPPED_ECE,
           SHIPPED_NLL)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row; None is what was not measured."""

    label: str
    model: str
    top1: float | None = None
    top1_std: float | None = None
    """Over seeds; None for a single one."""
    params: int | None = None
    bytes: int | None = None
    p50_ms: float | None = None
    peak_rss_mb: float | None = None
    ece: float | None = None
    """Of the probabilities that ship, over seeds the mean; None without a calibration temperature."""
    ece_raw: float | None = None
    nll: float | None = None
    """As `ece`; nats."""
    nll_raw: float | None = None
    told: Sequence[LanguageFigures] = ()
    """Of language models, on the test text: one per seed."""


ORDER = ("teacher", "member", "assistant", "baseline", "student")


def rows(report: Report) -> list[Line]:
    """Teacher, assistants, baseline, student and every file exported from the student.

    A role with several seeds is one row with mean and standard deviation. Latency and memory are of the
    ONNX file, on the first measured provider, at the first batch, thread count and length (the data's, where measured).
    """
    groups: dict[tuple[str, str], list[Model]] = {}
    for model in report.models:
        groups.setdefault((model.role, model.stage), []).append(model)
    known = {role: rank for rank, role in enumerate(ORDER)}  # one that this version does not know comes last
    ranked = sorted(groups.items(), key=lambda item: (known.get(item[0][0], len(ORDER)), item[0][1]))
    found = [_trained(report, role, stage, models) for (role, stage), models in ranked]
    for entry in report.exports:
        if entry.role == "student" and entry.file is not None:
            timing = _timing(report, entry.file)
            found.append(
                Line(
                    label="exported",
                    model=entry.file,
                    top1=entry.top1,
                    bytes=entry.bytes,
                    p50_ms=timing.p50_ms if timing else None,
                    peak_rss_mb=timing.peak_rss_mb if timing else None,
                    ece=entry.ece_calibrated,
                    ece_raw=entry.ece,
                    nll=entry.nll_calibrated,
                    nll_raw=entry.nll,
                    told=[entry.language] if entry.language else [],
                )
            )
    return found


def _trained(report: Report, role: str, stage: str, models: list[Model]) -> Line:
    """The row of one stage, over its seeds."""
    files = [e for e in report.exports if e.role == role and e.file and e.file.startswith(f"stages/{stage}/")]
    timing = _timing(report, files[0].file) if files else None
    top1 = [m.top1 for m in models if m.top1 is not None]
    return Line(
        label=role,
        model=models[0].name,
        top1=float(np.mean(top1)) if top1 else None,
        top1_std=float(np.std(top1, ddof=1)) if len(top1) > 1 else None,
        params=models[0].params,
        bytes=files[0].bytes if files else models[0].bytes,
        p50_ms=timing.p50_ms if timing else None,
        peak_rss_mb=timing.peak_rss_mb if timing else None,
        ece=_mean([m.ece_calibrated for m in models]), ece_raw=_mean([m.ece for m in models]),
        nll=_mean([m.nll_calibrated for m in models]), nll_raw=_mean([m.nll for m in models]),
        told=[m.language["test"] for m in models if "test" in m.language],
    )  # fmt: skip


def _mean(values: list[float | None]) -> float | None:
    """None where one is not known."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def cells(found: list[Line]) -> list[tuple[str, ...]]:
    """The rows as text, each figure with its ratio to the teacher's in brackets."""
    teacher = found[0] if found and found[0].label == "teacher" else None

    def ratio(value: float | None, of: float | None, row: Line) -> str:
        if value is None or not of or row is teacher:
            return ""
        return f" ({value / of:.2f}×)"

    lines: list[tuple[str, ...]] = []
    for row in found:
        top1 = "–" if row.top1 is None else f"{row.top1:.3f}"
        if row.top1_std is not None:
            top1 += f" ± {row.top1_std:.3f}"
        if teacher is not None and row is not teacher and row.top1 is not None and teacher.top1 is not None:
            top1 += f" ({100 * (row.top1 - teacher.top1):+.1f} pt)"
        of = teacher or row
        lines.append((
            row.label,
            row.model,
            top1,
            "–" if row.params is None else f"{row.params / 1e6:.2f} M" + ratio(row.params, of.params, row),
            "–" if row.bytes is None else f"{row.bytes / 1e6:.1f} MB" + ratio(row.bytes, of.bytes, row),
            "–" if row.p50_ms is None else f"{row.p50_ms:.2f} ms" + ratio(row.p50_ms, of.p50_ms, row),
            "–" if row.peak_rss_mb is None
            else f"{row.peak_rss_mb:.0f} MB" + ratio(row.peak_rss_mb, of.peak_rss_mb, row),
            shipped(row.ece, row.ece_raw, ".3f"), shipped(row.nll, row.nll_raw, ".3f"),
        ))  # fmt: skip
    return lines


def shipped(calibrated: float | None, raw: float | None, spec: str = ".4f") -> str:
    """A figure of the probabilities that ship, with the raw one in brackets; alone and named raw where nothing else is."""
    if calibrated is None:
        return "–" if raw is None else f"– ({raw:{spec}} raw)"
    return f"{calibrated:{spec}} ({'–' if raw is None else format(raw, spec)} raw)"


def help_line(report: Report) -> str | None:
    """One sentence on what the teacher was worth, with its sign; None without a baseline."""
    helped = report.help
    if helped is None:
        return None
    gain = 100 * helped.top1_gain_mean
    low, high = (100 * v for v in helped.interval)
    verdicts = {"helped": "It helped", "hurt": "It hurt", "no difference": "No difference can be told"}
    verdicts["one training"] = one_training("test samples", helped.three_seeds_seconds)
    seeds = f"{len(helped.seeds)} seeds" if len(helped.seeds) > 1 else "one seed"
    worth = "came to" if helped.verdict == "one training" else "was worth"
    return (
        f"The teacher's help {worth} {gain:+.1f} points of test accuracy (95 % interval {low:+.1f} … {high:+.1f}; "
        f"{seeds}, {report.dataset.test} samples). {verdicts[helped.verdict]}."
    )


def choice_line(choice: Choice | None) -> str | None:
    """One sentence where the teacher lost on validation: what ships, and both figures; else None."""
    if choice is None:
        return None
    if choice.by == "nll":
        return _told_choice(choice)
    taught, alone = choice.student_top1, choice.baseline_top1
    figures = f"on validation it is right on {100 * alone:.2f} %, the taught one on {100 * taught:.2f} %"
    if taught == alone and choice.student_nll is not None and choice.baseline_nll is not None:
        figures += f", with an NLL of {choice.baseline_nll:.4f} against {choice.student_nll:.4f}"
    figures += f" (mean of {choice.seeds} seeds)" if choice.seeds > 1 else ""
    if choice.role == "baseline":
        return f"What ships is the student without a teacher: {figures}."
    if taught < alone:
        return (
            f"The taught student ships because the recipe asks for it (ship: student), not the one without: {figures}."
        )
    return None


def _told_choice(choice: Choice) -> str | None:
    """The same of language models."""
    taught, alone = choice.student_nll, choice.baseline_nll
    if taught is None or alone is None or (choice.role == "student" and taught <= alone):
        return None
    mean = f" (mean of {choice.seeds} seeds)" if choice.seeds > 1 else ""
    figures = f"its validation NLL is {{}} nats a token, the other's {{}}{mean}."
    if choice.role == "baseline":
        return f"What ships is the student without a teacher: {figures.format(f'{alone:.4f}', f'{taught:.4f}')}"
    asked = "The taught student ships because the recipe asks for it (ship: student)"
    return f"{asked}: {figures.format(f'{taught:.4f}', f'{alone:.4f}')}"


def lasted(seconds: float) -> str:
    """`45 s`, `12.3 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def budget_line(budget: Budget) -> str:
    """One sentence: how the time that was given is divided."""

    def part(phase: str) -> str:
        epochs = (
            budget.epochs.get("member") or budget.epochs.get(phase) if phase == "teacher" else budget.epochs.get(phase)
        )
        return f"{phase} {lasted(budget.planned[phase])}" + (
            f" ({epochs} epoch{'s' if epochs > 1 else ''})" if epochs else ""
        )

    return f"Of {budget.time}: {', '.join(part(phase) for phase in budget.planned)}."


def time_line(report: Report) -> str | None:
    """One sentence: what the run took beside what it was given, and where it was longer; None where no time was given."""
    budget, taken = report.budget, report.taken
    if budget is None or not taken:
        return None
    spent = sum(taken.values())
    late = {p: taken[p] - budget.planned.get(p, 0.0) for p in taken}
    worst = max(late, key=lambda phase: late[phase])
    text = f"Given {budget.time}, the run took {lasted(spent)} ({100 * spent / budget.seconds:.0f} %)"
    if late[worst] > 0.05 * budget.seconds:
        text += f"; {worst} took {lasted(taken[worst])} instead of {lasted(budget.planned.get(worst, 0.0))}"
    return text + (". What a run takes over its time is told, not made up for." if spent > budget.seconds else ".")


def one_training(over: str, seconds: float | None) -> str:
    """Why there is no verdict, and what one would cost."""
    more = "" if seconds is None else f", for about {_lasting(seconds)} more of training"
    return (
        f"One training can't tell: the interval is over {over} alone, and another seed may turn it around. "
        f"Three seeds (--seeds 3) may{more}"
    )


def _lasting(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`."""
    if seconds < 120:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def measured_on(report: Report) -> str | None:
    """Where and how the latency column was measured."""
    if not report.benchmark:
        return None
    cpu = (report.host.cpu if report.host else None) or "unknown CPU"
    return (
        f"Latency of the ONNX file: onnxruntime, {combination(report.benchmark[0])}, {cpu}. "
        "A baseline has the student's architecture, so its size and speed, too."
    )


def _timing(report: Report, file: str | None) -> Timing | None:
    return next((row for row in report.benchmark if row.file == file), None)


def csv(report: Report) -> str:
    """`report.csv`: models, exported files and benchmark rows, one table; `kind` says which, cells are empty elsewhere."""
    lines = [{"kind": "model", **model.as_dict()} for model in report.models]
    lines += [{"kind": "export", **entry.as_dict()} for entry in report.exports]
    lines += [{"kind": "benchmark", **row.as_dict()} for row in report.benchmark]
    plain = [_flat(line) for line in lines]
    columns = list(dict.fromkeys(key for line in plain for key in line))
    out = io.StringIO()
    writer = DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(plain)
    return out.getvalue()


def _flat(line: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested figures as `outer.inner`; lists of samples and texts are left to the JSON."""
    found: dict[str, Any] = {}
    for key, value in line.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        elif not isinstance(value, list):
            found[prefix + key] = value
    return found
