"""Several runs side by side: what each ships, and its accuracy against the first run's, image by image."""

from __future__ import annotations

from typing import Any

import numpy as np

from compressor.benchmarking import accuracy
from compressor.evaluation.predictions import Predictions
from compressor.reporting import headline, html, mistakes, tables
from compressor.runfolder import RunFolder

COLUMNS = ("run", "student", "top-1", "against the first", "teacher", "help of the teacher", "file", "latency p50",
           "peak memory", "status")  # fmt: skip


def compare(runs: list[tuple[RunFolder, dict[str, Any]]]) -> dict[str, Any]:
    """The comparison's document: `runs` (one entry each) and `warnings`; figures are of what ships.

    Args:
        runs: each run with its report; the first is what the others are compared with.
    """
    entries = [_entry(run, report) for run, report in runs]
    predictions = [_predictions(run) for run, _ in runs]
    for entry, own in zip(entries[1:], predictions[1:], strict=True):
        first = predictions[0]
        if own is not None and first is not None and np.array_equal(own.ids, first.ids):
            entry["against_first"] = accuracy.gain(accuracy.right(own), accuracy.right(first))
    warnings = []
    if len({report["dataset"]["fingerprint"] for _, report in runs}) > 1:
        warnings.append("The runs were made on different images or splits: their accuracies are not comparable.")
    hosts = {(report["host"] or {}).get("cpu") for _, report in runs}
    if len(hosts) > 1:
        warnings.append("The runs were timed on different machines: their latencies are not comparable.")
    elif any(entry["p50_ms"] for entry in entries):
        warnings.append(
            "Latencies were measured in different sessions; `compress benchmark A B` measures files side by side."
        )
    return {"runs": entries, "warnings": warnings}


def _entry(run: RunFolder, report: dict[str, Any]) -> dict[str, Any]:
    rows = headline.rows(report)
    student = next((r for r in rows if r.label == "student"), None)
    shipped = next((r for r in rows if r.label == "exported" and r.model == "student.onnx"), student)
    teacher = next((r for r in rows if r.label == "teacher"), None)
    helped = report["help"]
    return {
        "run": str(run.path),
        "name": report["run"]["name"],
        "status": report["run"]["status"],
        "student": student.model if student else None,
        "top1": student.top1 if student else None,
        "top1_std": student.top1_std if student else None,
        "teacher": teacher.model if teacher else None,
        "teacher_top1": teacher.top1 if teacher else None,
        "help": helped and {"top1_gain": helped["top1_gain_mean"], "low": helped["interval"][0],
                            "high": helped["interval"][1], "verdict": helped["verdict"]},
        "bytes": shipped.bytes if shipped else None,
        "p50_ms": shipped.p50_ms if shipped else None,
        "peak_rss_mb": shipped.peak_rss_mb if shipped else None,
        "against_first": None,
    }  # fmt: skip


def _predictions(run: RunFolder) -> Predictions | None:
    folder = mistakes.shipped(run)
    return Predictions.load(folder / "predictions.npz") if folder else None


def lines(document: dict[str, Any]) -> list[tuple[str, ...]]:
    """The table's lines, one per run."""
    found: list[tuple[str, ...]] = []
    for r in document["runs"]:
        top1 = tables.number(r["top1"], ".4f")
        if r["top1_std"] is not None:
            top1 += f" ± {r['top1_std']:.4f}"
        helped = r["help"]
        found.append((
            r["name"], r["student"] or "–", top1, tables.gained(r["against_first"]), 
            "–" if r["teacher"] is None else f"{r['teacher']} ({tables.number(r['teacher_top1'], '.4f')})",
            "–" if helped is None else f"{100 * helped['top1_gain']:+.1f} pt ({100 * helped['low']:+.1f} … "
                                       f"{100 * helped['high']:+.1f}), {helped['verdict']}",
            "–" if r["bytes"] is None else f"{r['bytes'] / 1e6:.1f} MB",
            tables.number(r["p50_ms"], ".2f", " ms"), tables.number(r["peak_rss_mb"], ".0f", " MB"),
            r["status"] or "–",
        ))  # fmt: skip
    return found


def to_markdown(document: dict[str, Any]) -> str:
    """The comparison as Markdown."""
    parts = ["# Runs compared", tables.grid(COLUMNS, lines(document))]
    parts += [f"**Note.** {warning}" for warning in document["warnings"]]
    return "\n\n".join(parts) + "\n"


def to_html(document: dict[str, Any]) -> str:
    """The comparison as one self-contained page. Raises MissingExtraError without jinja2."""
    return html.page("comparison.html", columns=COLUMNS, lines=lines(document), warnings=document["warnings"])
