"""The report's plots: which figures are drawn, and in which colours. Pure functions of `report.json`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

from compressor.benchmarking import lengths
from compressor.benchmarking.document import Timed
from compressor.benchmarking.rows import combination
from compressor.evaluation.document import Bin
from compressor.evaluation.quantiles import NORMAL
from compressor.quantization.document import ArtifactEntry
from compressor.reporting import language, svg
from compressor.reporting.document import Report
from compressor.reporting.svg import Series
from compressor.runnote import Epoch

COLORS = {"teacher": "#b45309", "member": "#d97706", "assistant": "#7c3aed", "baseline": "#6b7280", "student": "#0b6bcb",
          "fp16": "#be185d", "int8": "#0f8a5f"}  # fmt: skip
DASHES = {"baseline": "6 4", "assistant": "9 3 2 3", "fp16": "2 3", "int8": "6 3"}
_OTHERS = ("#0b6bcb", "#b45309", "#0f8a5f", "#be185d", "#7c3aed", "#6b7280")

FEW = 10
"""Samples below which a bin's accuracy is chance."""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A drawn figure with what must stand beside it."""

    name: str
    title: str
    remark: str
    drawing: str
    """An `<svg>` element; everything in it is escaped."""
    keys: list[tuple[str, str, str]]
    """Legend: label, colour, dash pattern."""


def plots(report: Report) -> list[Plot]:
    """All plots that this report has figures for."""
    drawn = [curves(report), minutes(report), pareto(report), latencies(report), reliability(report), confusion(report)]
    return [entry for entry in drawn if entry is not None]


@dataclass(frozen=True)
class _Measure:
    """What an epoch is told by: accuracy, or of language models the NLL."""

    what: str
    axis: str
    floor: float | None
    of: Callable[[Epoch], float | None]


_TOP1 = _Measure("accuracy", "top-1 on validation", 0.0, lambda epoch: epoch.validation_top1)
_NLL = _Measure("NLL", "NLL on validation, nats a token", None, lambda epoch: epoch.validation_nll)


def _measure(report: Report) -> _Measure:
    return _NLL if language.told(report) else _TOP1


def curves(report: Report) -> Plot | None:
    """Validation accuracy (of language models NLL) per epoch of what was trained in the run."""
    trained = [c for c in report.curves if c.epochs]
    if not trained:
        return None
    series, told = [], _measure(report)
    for c in trained:
        seen = [(float(i + 1), told.of(e)) for i, e in enumerate(c.epochs)]
        points = [(epoch, value) for epoch, value in seen if value is not None]
        label = f"{c.role} {c.name}, seed {c.seed}"
        series.append(Series(label=label, points=points, color=_color(c.role), dash=DASHES.get(c.role, "")))
    if not any(s.points for s in series):
        return None
    longest = max(len(c.epochs) for c in trained)
    x = svg.Axis(label="epoch", low=0 if longest == 1 else 1, high=max(longest, 2))
    y = svg.around([v for s in series for _, v in s.points], told.axis, floor=told.floor)
    drawing = svg.plot("curves", f"Validation {told.what} per epoch", series, x, y)
    what = told.what[0].upper() + told.what[1:]
    return Plot(name="curves", title="Learning curves", remark=f"{what} on validation after each epoch.",
                drawing=drawing, keys=_keys(series))  # fmt: skip


def minutes(report: Report) -> Plot | None:
    """Validation accuracy (of language models NLL) against minutes of training; the student's also from when its teachers began to be trained."""
    trained = [c for c in report.curves if c.epochs]
    if not trained:
        return None
    before = sum(report.taken.get(phase, 0.0) for phase in ("teacher", "targets", "pilot", "assistant")) / 60
    series, lines, told = [], {}, _measure(report)
    for c in trained:
        spent = itertools.accumulate(e.seconds / 60 for e in c.epochs)
        seen = [(m, told.of(e)) for m, e in zip(spent, c.epochs, strict=True)]
        points = [(m, value) for m, value in seen if value is not None]
        lines[c.role, c.seed] = points
        series.append(
            Series(label=f"{c.role} {c.name}", points=points, color=_color(c.role), dash=DASHES.get(c.role, ""))
        )
    first = next((key for key in lines if key[0] == "student"), None)
    what = told.what[0].upper() + told.what[1:]
    remark = f"{what} on validation against minutes in training steps, each model and seed from its own start."
    if first and before > 0:
        later = [(m + before, value) for m, value in lines[first]]
        label = "student, with its teachers' time"
        series.append(Series(label=label, points=later, color=COLORS["student"], dash="2 4"))
        remark += (
            f" Dotted: the student after the {before:.1f} min that its teachers, their answers and a pilot took first."
        )
    values = [point for s in series for point in s.points]
    if not values:
        return None
    x = svg.Axis(label="minutes of training", low=0, high=1.04 * max(m for m, _ in values))
    y = svg.around([value for _, value in values], told.axis, floor=told.floor)
    return Plot(name="minutes", title=f"{what} against minutes", remark=remark, keys=list(dict.fromkeys(_keys(series))),
                drawing=svg.plot("minutes", f"Validation {told.what} against minutes of training", series, x, y))  # fmt: skip


def pareto(report: Report) -> Plot | None:
    """Test accuracy against latency of every exported file, with the front that nothing beats in both."""
    spots = _spots(report)
    if len(spots) < 2:
        return None
    times, tops = [s.p50_ms for s in spots], [s.top1 for s in spots]
    front = sorted(
        (t, a) for t, a in zip(times, tops, strict=True)
        if not any((u < t and b >= a) or (u <= t and b > a) for u, b in zip(times, tops, strict=True))
    )  # fmt: skip
    series = [Series(label="front", points=front, color="currentColor", dash="2 4")] if len(front) > 1 else []
    for spot in spots:
        at = (spot.p50_ms, spot.top1)
        whiskers = [(*spot.interval, max(spot.top1 - spot.error, 0.0), min(spot.top1 + spot.error, 1.0))]
        series.append(Series(label=spot.label, points=[at], color=_color(spot.label), labels=True, whiskers=whiskers))
    wide = max(times) / min(times) > 4
    x = svg.around([v for s in spots for v in (s.p50_ms, *s.interval)], "latency p50, ms", log=wide)
    y = svg.around([v for s in spots for v in (s.top1 - s.error, s.top1 + s.error)], "top-1 on test")
    first = report.benchmark[0]
    remark = (f"{combination(first)}. Whiskers: 95 % intervals, "
              "over processes and over test samples. Up and left is better; the dotted line is the front.")  # fmt: skip
    return Plot(name="pareto", title="Accuracy against latency", remark=remark,
                drawing=svg.plot("pareto", "Accuracy against latency per file", series, x, y), keys=[])  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Spot:
    """A file's place between accuracy and latency."""

    label: str
    top1: float
    error: float
    """Half of its 95 % interval, over test rows."""
    p50_ms: float
    interval: tuple[float, float]
    """Of the latency, 95 %."""


def _spots(report: Report) -> list[_Spot]:
    """Every file with accuracy and latency; of student and baseline the one that does not ship takes the other's latency:
    its architecture is the same."""
    timings: dict[str | None, Timed] = {}
    for row in report.benchmark:
        timings.setdefault(row.file, row)

    def spot(label: str, top1: float, row: Timed) -> _Spot:
        error = NORMAL * math.sqrt(top1 * (1 - top1) / (report.dataset.test * report.dataset.rows))
        interval = row.p50_interval_ms or (row.p50_ms, row.p50_ms)
        return _Spot(label=label, top1=top1, error=error, p50_ms=row.p50_ms, interval=interval)

    timed = [entry for entry in report.exports if entry.file in timings]
    ships, other = ("student", "baseline") if report.shipped_role == "student" else ("baseline", "student")
    names = {"student": ships}
    found = [spot(names.get(_kind(e), _kind(e)), e.top1, timings[e.file]) for e in timed if e.top1 is not None]
    own = next((timings[e.file] for e in timed if e.role == "student" and e.precision == "fp32"), None)
    tops = [m.top1 for m in report.models if m.role == other and m.top1 is not None]
    if own and tops:
        found.append(spot(other, sum(tops) / len(tops), own))
    return found


def _kind(entry: ArtifactEntry) -> str:
    """What a file is called and coloured by: its role, or the precision it was reduced to."""
    return entry.role if entry.precision == "fp32" else entry.precision


def latencies(report: Report) -> Plot | None:
    """The distribution of each row's samples, at the first length: the share of calls that took at most so long."""
    rows = [row for row in report.benchmark if row.quantiles_ms and row.length == report.benchmark[0].length]
    if not rows:
        return None
    exports = {e.file: e for e in report.exports}
    several = len({(r.provider, r.batch, r.threads) for r in rows}) > 1
    series = []
    for i, row in enumerate(rows):
        kind = _kind(exports[row.file]) if row.file in exports else row.file
        where = f", {combination(row)}" if several else ""
        # The slowest calls of a busy machine would squeeze all the rest: the line ends at 98 %.
        values = row.quantiles_ms[:-1]
        points = [(v, k / len(values)) for k, v in enumerate(values)]
        color = _OTHERS[i % len(_OTHERS)] if several else COLORS.get(kind, _OTHERS[i % len(_OTHERS)])
        series.append(Series(label=f"{kind}{where}", points=points, color=color, dash=DASHES.get(kind, "")))
    everything = [v for s in series for v, _ in s.points]
    x = svg.around(everything, "latency, ms", log=max(everything) / min(everything) > 4)
    y = svg.Axis(label="share of calls", low=0, high=1)
    at = "" if rows[0].length is None else f", at {lengths.shown(rows[0].length, rows[0].padding)}"
    return Plot(name="latencies", title="Latency distributions",
                remark=f"The share of calls that took at most so long{at}; the slowest 2 % are left out.",
                drawing=svg.plot("latencies", "Distribution of latencies per file", series, x, y),
                keys=_keys(series))  # fmt: skip


def reliability(report: Report) -> Plot | None:
    """Accuracy against confidence, of teacher, student and its quantised files."""
    series = []
    for faint in (True, False):  # what ships lies on top
        for entry in report.reliability:
            bins = entry.bins if faint or not entry.calibrated else entry.calibrated
            if faint and not entry.calibrated:
                continue
            raw = faint or not entry.calibrated
            series.append(Series(
                label=f"{entry.label}, raw" if raw else entry.label, faint=faint, marks=not faint,
                points=[(b.confidence, b.accuracy) for b in _filled(bins)],
                color=_color(entry.kind), dash=DASHES.get(entry.kind, ""),
            ))  # fmt: skip
    if not series:
        return None
    x, y = svg.Axis(label="confidence", low=0, high=1), svg.Axis(label="accuracy", low=0, high=1)
    remark = ("Per bin of confidence, how often the model is right on test. Strong lines: the probabilities that ship, at the "
              "calibration temperature; faint ones: raw, at temperature 1. On the dotted line a model is as right as it "
              "says; below it is overconfident. Bins of fewer than 10 samples are left out.")  # fmt: skip
    return Plot(name="reliability", title="Reliability", remark=remark,
                keys=_keys([s for s in series if not s.faint]),
                drawing=svg.plot("reliability", "Reliability diagram", series, x, y, diagonal=True))  # fmt: skip


def _filled(bins: list[Bin]) -> list[Bin]:
    """The bins whose accuracy means something; all of them where no more than one would be left."""
    kept = [b for b in bins if b.count >= FEW]
    return kept if len(kept) > 1 else bins


def confusion(report: Report) -> Plot | None:
    """What the student says of the classes where it does worst."""
    found = report.confusion
    if not found:
        return None
    remark = ("Rows: the classes where the student does worst; columns: what it says of them, in test samples. Framed: "
              "right answers.")  # fmt: skip
    return Plot(name="confusion", title="Confusion of the worst classes", remark=remark, keys=[],
                drawing=svg.heatmap("confusion", "Confusion of the worst classes", found.rows, found.columns,
                                    found.counts))  # fmt: skip


def _color(kind: str) -> str:
    return COLORS.get(kind, "#0b6bcb")


def _keys(series: list[Series]) -> list[tuple[str, str, str]]:
    return [(s.label, s.color, s.dash) for s in series]
