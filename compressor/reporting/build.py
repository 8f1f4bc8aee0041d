"""`report.json`: everything a run found, in one document, rebuilt from the run folder's files. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from compressor.benchmarking import accuracy, rows
from compressor.data.dataset import Dataset
from compressor.errors import CompressorError, MissingExtraError
from compressor.evaluation import metrics
from compressor.evaluation.predictions import Predictions
from compressor.files import finite, write_json, write_text
from compressor.progress import log
from compressor.reporting import examples, headline, html, mistakes, tables
from compressor.runfolder import RunFolder

QUANTILES = 51
"""Points that a latency's distribution is drawn from: every 2 %."""


def write(run: RunFolder, dataset: Dataset | None = None) -> dict[str, Any]:
    """Builds the report and writes `report.json`, `.md`, `.csv` and, where jinja2 is there, `report.html`.

    With the dataset at hand, pictures on which student and teacher disagree are stored in the run first, so that
    the report has them when it is rebuilt elsewhere.
    """
    if dataset is not None:
        _collect(run, dataset)
    report = build(run)
    write_json(run.report, report)
    write_text(run.path / "report.md", tables.render(report))
    write_text(run.path / "report.csv", headline.csv(report))
    try:
        write_text(run.path / "report.html", html.render(report, examples.embedded(run, report["examples"])))
    except MissingExtraError as error:
        log.warning("report.html was not written: %s", error)
    return report


def _collect(run: RunFolder, dataset: Dataset) -> None:
    teacher, student = mistakes.teacher(run), mistakes.shipped(run)
    if teacher and student:
        seen = [Predictions.load(folder / "predictions.npz") for folder in (teacher, student)]
        examples.collect(run, dataset, *seen)


def build(run: RunFolder) -> dict[str, Any]:
    """The report of a run, as far as it has come.

    Raises:
        CompressorError: no stage is finished yet.
    """
    stages = run.stages()
    if not stages:
        raise CompressorError(f"run '{run.path}' has no finished stage yet; nothing to report")
    note = run.read()
    predictions = {folder: Predictions.load(folder / "predictions.npz") for folder in stages}
    cards = {folder: _json(folder / "model.json") for folder in stages}
    teacher = next((f for f in stages if cards[f]["role"] == "teacher"), None)
    models = [_model(f, cards[f], predictions[f], predictions[teacher] if teacher else None) for f in stages]
    benchmark = _json(run.benchmark) if run.benchmark.is_file() else {"rows": [], "host": note.get("host")}
    shipped = _json(run.student.with_suffix(".json")) if run.student.with_suffix(".json").is_file() else None
    report = {
        "schema_version": 1,
        "run": {k: note.get(k) for k in ("name", "command", "status", "created", "finished", "recipe")},
        "dataset": {**note["dataset"], "classes": note["dataset"]["classes"]},
        "models": models,
        "exports": _json(run.exports) if run.exports.is_file() else [],
        "int8": _json(run.int8) if run.int8.is_file() else None,
        "benchmark": [_timing(row) for row in benchmark["rows"]],
        "shipped_seed": shipped["seed"] if shipped else None,
        "help": _help(cards, predictions),
        "errors": _errors(note["dataset"]["classes"], stages, cards, predictions),
        "reliability": mistakes.reliability(run),
        "confusion": mistakes.confusion(run, note["dataset"]["classes"]),
        "examples": examples.stored(run),
        "benchmark_models": benchmark.get("models"),
        "verdicts": benchmark.get("verdicts", []),
        "curves": [_curve(f, cards[f]) for f in stages if (f / "metrics.jsonl").is_file()],
        "host": benchmark["host"],
        "versions": note.get("versions"),
    }
    report["warnings"] = _warnings(report)
    result: dict[str, Any] = finite(report)
    return result


def _model(folder: Path, card: dict[str, Any], own: Predictions, teacher: Predictions | None) -> dict[str, Any]:
    row = {
        "role": card["role"],
        "name": card["architecture"]["name"],
        "seed": card["seed"],
        "stage": folder.parent.name,
        "params": card["params"],
        "macs": card["macs"],
        **metrics.summary(own.labels, own.logits),
        "temperature": card["temperature"],
        "ece_calibrated": metrics.ece(own.labels, own.logits, temperature=card["temperature"] or 1.0),
        "balanced_accuracy": metrics.balanced_accuracy(own.labels, own.logits),
        "teacher_agreement": None,
        "copied_mistakes": None,
        "validation": card["validation"],
        "train_seconds": card["train_seconds"],
        "images_per_second": card["images_per_second"],
        "data_wait_share": _waited(folder),
        "weights": card["origin"],
        "bytes": (folder / "weights.safetensors").stat().st_size,
    }
    if teacher is not None and card["role"] != "teacher" and np.array_equal(teacher.ids, own.ids):
        row["teacher_agreement"] = metrics.agreement(teacher.logits, own.logits)
        row["copied_mistakes"] = metrics.copied_mistakes(own.labels, teacher.logits, own.logits)
    return row


def _waited(folder: Path) -> float | None:
    """The share of its training that a model spent waiting for data; None when it was not trained here."""
    path = folder / "metrics.jsonl"
    epochs = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    seconds = sum(e["seconds"] for e in epochs)
    return sum(e["seconds"] * e["data_wait_share"] for e in epochs) / seconds if seconds else None


def _help(cards: dict[Path, Any], predictions: dict[Path, Predictions]) -> dict[str, Any] | None:
    """What the teacher was worth: student − baseline on test, paired by seed and sample; None without both."""
    right: dict[str, dict[int, Any]] = {"student": {}, "baseline": {}}
    for folder, card in cards.items():
        if card["role"] in right:
            right[card["role"]][card["seed"]] = accuracy.right(predictions[folder])
    seeds = sorted(right["student"].keys() & right["baseline"].keys())
    if not seeds:
        return None
    student, baseline = (np.stack([right[role][s] for s in seeds]) for role in ("student", "baseline"))
    gain = metrics.paired_gain(student, baseline)
    verdict = "helped" if gain["low"] > 0 else "hurt" if gain["high"] < 0 else "no difference"
    return {
        "seeds": seeds,
        "top1_gain": [float(v) for v in student.mean(axis=1) - baseline.mean(axis=1)],
        "top1_gain_mean": gain["mean"],
        "interval": [gain["low"], gain["high"]],
        "mcnemar_p": [metrics.mcnemar(a, b) for a, b in zip(student, baseline, strict=True)],
        "verdict": verdict,
    }


def _errors(
    classes: list[str], stages: list[Path], cards: dict[Path, Any], predictions: dict[Path, Predictions]
) -> dict[str, Any]:
    """Per-class accuracy, one entry per model, in the order of `classes`."""
    return {
        "classes": classes,
        "models": [
            {
                "role": cards[f]["role"],
                "name": cards[f]["architecture"]["name"],
                "seed": cards[f]["seed"],
                "per_class": metrics.per_class(predictions[f].labels, predictions[f].logits, len(classes)),
            }
            for f in stages
        ],
    }


def _curve(folder: Path, card: dict[str, Any]) -> dict[str, Any]:
    epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {"role": card["role"], "name": card["architecture"]["name"], "seed": card["seed"], "epochs": epochs}


def _timing(row: dict[str, Any]) -> dict[str, Any]:
    """A benchmark row with its samples as quantiles, which the plots are drawn from."""
    samples = np.concatenate(row["raw_ms"])
    quantiles = [float(v) for v in np.quantile(samples, np.linspace(0, 1, QUANTILES))]
    return {k: v for k, v in row.items() if k != "raw_ms"} | {"quantiles_ms": quantiles}


def _warnings(report: dict[str, Any]) -> list[str]:
    """What a reader must know before trusting the result."""
    found = []
    top1: dict[str, float] = {}
    for role in ("teacher", "baseline", "student"):
        values = [m["top1"] for m in report["models"] if m["role"] == role]
        if values:
            top1[role] = float(np.mean(values))
    if "teacher" in top1 and "baseline" in top1 and top1["teacher"] <= top1["baseline"]:
        found.append(
            f"The teacher ({top1['teacher']:.3f}) is no better than the baseline ({top1['baseline']:.3f}): "
            "it has little to teach. Train it longer, use pretrained weights, or take a stronger one."
        )
    if report["help"] and report["help"]["verdict"] == "hurt":
        found.append(
            f"The teacher hurt: {100 * report['help']['top1_gain_mean']:+.1f} points against the same student "
            "without it. Try another objective (docs/objectives.md), or ship the baseline."
        )
    for model in report["models"]:
        if model["role"] == "teacher" and model["weights"] == "scratch":
            found.append("The teacher had no pretrained weights and was trained on this data.")
    if report["int8"] and report["int8"]["kept"] is None:
        found.append(f"No int8 file was made: {report['int8']['reason']}.")
    return found + rows.warnings(report["benchmark"])


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
