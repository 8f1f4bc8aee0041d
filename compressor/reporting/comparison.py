"""Several runs side by side: what each ships, and its accuracy against the first run's, sample by sample."""

from __future__ import annotations

import numpy as np

from compressor.evaluation.document import Gain
from compressor.evaluation.figures import gain, right
from compressor.evaluation.predictions import Predictions
from compressor.reporting import headline, html, language, tables
from compressor.reporting.document import ComparedHelp, ComparedRun, Comparison, Help, Report
from compressor.runfolder import RunFolder
from compressor.text import markdown

COLUMNS = ("run", "student", "top-1", "against the first", "teacher", "help of the teacher", "file", "latency p50",
           "peak memory", "status")  # fmt: skip

LANGUAGE_COLUMNS = ("run", "student", "perplexity", "bits per byte", "teacher", "what the teacher changed, nats a token", "file",
                    language.TIME, "peak memory", "status")  # fmt: skip


def compare(runs: list[tuple[RunFolder, Report]]) -> Comparison:
    """The comparison's document; figures are of what ships.

    Args:
        runs: each run with its report; the first is what the others are compared with.
    """
    first = _predictions(runs[0][0])
    entries = [_entry(*runs[0])]
    for run, report in runs[1:]:
        own, beside = _predictions(run), None
        told = language.told(report)  # a token named first says little
        if not told and own is not None and first is not None and np.array_equal(own.ids, first.ids):
            beside = gain(right(own), right(first))
        entries.append(_entry(run, report, beside))
    warnings = []
    if len({report.dataset.fingerprint for _, report in runs}) > 1:
        warnings.append(
            "The runs were made on different texts, splits, tokens or windows: their perplexities are not comparable, and bits "
            "per byte are on one test text alone."
            if any(language.told(report) for _, report in runs)
            else "The runs were made on different samples or splits: their accuracies are not comparable."
        )
    hosts = {report.host and report.host.cpu for _, report in runs}
    if len(hosts) > 1:
        warnings.append("The runs were timed on different machines: their latencies are not comparable.")
    elif any(entry.p50_ms for entry in entries):
        warnings.append(
            "Latencies were measured in different sessions; `compress benchmark A B` measures files side by side."
        )
    return Comparison(runs=entries, warnings=warnings)


def _entry(run: RunFolder, report: Report, against_first: Gain | None = None) -> ComparedRun:
    rows = headline.rows(report)
    student = next((r for r in rows if r.label == report.shipped_role), None)
    shipped = next((r for r in rows if r.label == "exported" and r.model == "student.onnx"), student)
    teacher = next((r for r in rows if r.label == "teacher"), None)
    return ComparedRun(
        run=run.path.as_posix(),
        name=report.run.name,
        status=report.run.status,
        student=student.model if student else None,
        top1=student.top1 if student else None,
        top1_std=student.top1_std if student else None,
        teacher=teacher.model if teacher else None,
        teacher_top1=teacher.top1 if teacher else None,
        help=_helped(report.help) if report.help else None,
        bytes=shipped.bytes if shipped else None,
        p50_ms=shipped.p50_ms if shipped else None,
        peak_rss_mb=shipped.peak_rss_mb if shipped else None,
        against_first=against_first,
        perplexity=_told(student, "perplexity"),
        bits_per_byte=_told(student, "bits_per_byte"),
        teacher_perplexity=_told(teacher, "perplexity"),
        foretold=report.foretold,
        masked=language.hides(report),
    )


def _told(row: headline.Line | None, name: str) -> float | None:
    return language.mean(row.told, name)[0] if row else None


def _helped(found: Help) -> ComparedHelp:
    low, high = found.interval
    return ComparedHelp(top1_gain=found.top1_gain_mean, low=low, high=high, verdict=found.verdict)


def _predictions(run: RunFolder) -> Predictions | None:
    folder = run.shipped()
    return Predictions.load(folder / "predictions.npz") if folder else None


def table(document: Comparison) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and lines, one per run; of language models by perplexity."""
    if any(run.perplexity is not None for run in document.runs):
        hides = any(run.masked for run in document.runs)
        return language.timed(LANGUAGE_COLUMNS, hides=hides), language_lines(document)
    return COLUMNS, lines(document)


def language_lines(document: Comparison) -> list[tuple[str, ...]]:
    """The table's lines, where runs are of language models."""
    found: list[tuple[str, ...]] = []
    for r in document.runs:
        helped = r.foretold
        interval = "" if helped is None or helped.interval is None else " ({:+.3f} … {:+.3f})".format(*helped.interval)
        found.append((
            r.name or "–", r.student or "–", tables.number(r.perplexity, ".2f"), tables.number(r.bits_per_byte, ".3f"),
            "–" if r.teacher is None else f"{r.teacher} ({tables.number(r.teacher_perplexity, '.2f')})",
            "–" if helped is None else f"{helped.difference_mean:+.3f}{interval}, {helped.verdict}",
            "–" if r.bytes is None else f"{r.bytes / 1e6:.1f} MB",
            tables.number(r.p50_ms, ".3f", " ms"), tables.number(r.peak_rss_mb, ".0f", " MB"), r.status or "–",
        ))  # fmt: skip
    return found


def lines(document: Comparison) -> list[tuple[str, ...]]:
    """The table's lines, one per run."""
    found: list[tuple[str, ...]] = []
    for r in document.runs:
        top1 = tables.number(r.top1, ".4f")
        if r.top1_std is not None:
            top1 += f" ± {r.top1_std:.4f}"
        helped = r.help
        found.append((
            r.name or "–", r.student or "–", top1, tables.gained(r.against_first),
            "–" if r.teacher is None else f"{r.teacher} ({tables.number(r.teacher_top1, '.4f')})",
            "–" if helped is None else f"{100 * helped.top1_gain:+.1f} pt ({100 * helped.low:+.1f} … "
                                       f"{100 * helped.high:+.1f}), {helped.verdict}",
            "–" if r.bytes is None else f"{r.bytes / 1e6:.1f} MB",
            tables.number(r.p50_ms, ".2f", " ms"), tables.number(r.peak_rss_mb, ".0f", " MB"), r.status or "–",
        ))  # fmt: skip
    return found


def to_markdown(document: Comparison) -> str:
    """The comparison as Markdown."""
    parts = ["# Runs compared", tables.grid(*table(document))]
    parts += [f"**Note.** {markdown(warning)}" for warning in document.warnings]
    return "\n\n".join(parts) + "\n"


def to_html(document: Comparison) -> str:
    """The comparison as one self-contained page. Raises MissingExtraError without jinja2."""
    columns, cells = table(document)
    return html.page("comparison.html", columns=columns, lines=cells, warnings=document.warnings)
