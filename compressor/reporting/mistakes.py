"""Where the models are wrong: calibration bins and confusions, from the run's stored predictions. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from compressor.benchmarking import accuracy
from compressor.evaluation import metrics
from compressor.evaluation.predictions import Predictions
from compressor.runfolder import RunFolder

WORST, COLUMNS = 5, 7
"""Classes that the confusion shows, and what it shows of what was said instead."""


def teacher(run: RunFolder) -> Path | None:
    """The teacher's stage folder; None before it is finished."""
    return of_role(run, "teacher")


def shipped(run: RunFolder) -> Path | None:
    """The stage folder of the student that ships (the first seed's, before one was chosen); None without one."""
    return of_role(run, "student")


def of_role(run: RunFolder, role: str) -> Path | None:
    """A role's stage folder, of the seed that ships where the role has it, else the first; None without one."""
    found = [f for f in run.stages() if _card(f)["role"] == role]
    note = run.student.with_suffix(".json")
    seed = json.loads(note.read_text())["seed"] if note.is_file() else None
    return next((f for f in found if _card(f)["seed"] == seed), found[0] if found else None)


def reliability(run: RunFolder) -> list[dict[str, Any]]:
    """`label`, `kind` and the `bins` of a reliability diagram (test, uncalibrated): teacher, student, exported files."""
    found = []
    for kind, folder in (("teacher", teacher(run)), ("student", shipped(run))):
        if folder is not None:
            label = f"{kind} {_card(folder)['architecture']['name']}"
            found.append(_bins(label, kind, Predictions.load(folder / "predictions.npz")))
    entries = json.loads(run.exports.read_text()) if run.exports.is_file() else []
    for entry in entries:
        file = run.path / entry["file"]
        if entry["role"] == "student" and entry["precision"] != "fp32" and accuracy.saved_at(file).is_file():
            seen = Predictions.load(accuracy.saved_at(file))
            found.append(_bins(entry["file"], entry["precision"], seen))
    return found


def _bins(label: str, kind: str, seen: Predictions) -> dict[str, Any]:
    return {"label": label, "kind": kind, "bins": metrics.reliability(seen.labels, seen.logits)}


def confusion(run: RunFolder, classes: list[str]) -> dict[str, Any] | None:
    """`rows` (the shipped student's worst classes), `columns` (what it says of them) and `counts` of test images.

    The last column, `others`, holds what the named columns leave. None without a student, or without a mistake.
    """
    folder = shipped(run)
    if folder is None:
        return None
    seen = Predictions.load(folder / "predictions.npz")
    said = seen.logits.argmax(axis=1)
    matrix = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(matrix, (seen.labels, said), 1)
    if matrix.trace() == matrix.sum():
        return None
    right = metrics.per_class(seen.labels, seen.logits, len(classes))
    known = [i for i, value in enumerate(right) if value is not None]
    worst = sorted(known, key=lambda i: (right[i], i))[: min(WORST, len(known))]
    wrong = matrix[worst].sum(axis=0)
    rest = [int(i) for i in np.argsort(-wrong, kind="stable") if i not in worst and wrong[i] > 0]
    columns = worst + rest[: COLUMNS - len(worst)]
    counts = matrix[np.ix_(worst, columns)]
    others = matrix[worst].sum(axis=1) - counts.sum(axis=1)
    names = [classes[i] for i in columns]
    if others.any():
        counts, names = np.column_stack([counts, others]), [*names, "others"]
    return {"rows": [classes[i] for i in worst], "columns": names, "counts": counts.tolist()}


def _card(folder: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return card
