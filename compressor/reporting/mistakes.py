"""Where the models are wrong: calibration bins and confusions, from the run's stored predictions. No torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compressor.evaluation import metrics
from compressor.evaluation.document import Bin
from compressor.evaluation.predictions import Predictions, saved_at
from compressor.files import inside, read_documents
from compressor.quantization.document import ArtifactEntry
from compressor.reporting.document import Confusion, Reliability
from compressor.runfolder import RunFolder

WORST, COLUMNS = 5, 7
"""Classes that the confusion shows, and how many of the answers given instead it names."""
MOST = 2000
"""Classes of which every pair is counted; of more, as of tokens, there is no confusion."""


def reliability(run: RunFolder) -> list[Reliability]:
    """The reliability diagrams (test, calibrated as they ship and raw) of teacher, student and the student's quantised files."""
    found, temperature = [], None
    choice = run.choice()
    for kind, folder in (("teacher", run.teacher()), (choice.role if choice else "student", run.shipped())):
        if folder is not None:
            note = run.stage_note(folder)
            temperature = note.temperature  # lastly the student's, which is also that of older files made from it
            label = f"{kind} {note.architecture.name}"
            found.append(_bins(label, kind, Predictions.load(folder / "predictions.npz"), temperature))
    for entry in read_documents(run.exports, ArtifactEntry) if run.exports.is_file() else []:
        if entry.file is None or entry.role != "student" or entry.precision == "fp32":
            continue
        file = inside(run.path, str(saved_at(Path(entry.file))))
        if file and file.is_file():
            found.append(_bins(entry.file, entry.precision, Predictions.load(file), entry.temperature or temperature))
    return found


def _bins(label: str, kind: str, seen: Predictions, temperature: float | None) -> Reliability:
    def at(own: float) -> list[Bin]:
        return [Bin.model_validate(b) for b in metrics.reliability(seen.labels, seen.logits, temperature=own)]

    calibrated = at(temperature) if temperature else []
    return Reliability(label=label, kind=kind, bins=at(1.0), calibrated=calibrated, temperature=temperature)


def confusion(run: RunFolder, classes: list[str]) -> Confusion | None:
    """The shipped student's worst classes, what it says of them, and on how many test samples.

    The last column, `others`, holds what the named columns leave. None without a student, or without a mistake.
    """
    folder = run.shipped()
    if folder is None or len(classes) > MOST:
        return None
    seen = Predictions.load(folder / "predictions.npz")
    answered = seen.logits.argmax(axis=1)
    matrix = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(matrix, (seen.labels, answered), 1)
    if matrix.trace() == matrix.sum():
        return None
    right = metrics.per_class(seen.labels, seen.logits, len(classes))
    worst = [i for _, i in sorted((value, i) for i, value in enumerate(right) if value is not None)[:WORST]]
    wrong = matrix[worst].sum(axis=0)
    rest = [int(i) for i in np.argsort(-wrong, kind="stable") if i not in worst and wrong[i] > 0]
    columns = worst + rest[: COLUMNS - len(worst)]
    counts = matrix[np.ix_(worst, columns)]
    others = matrix[worst].sum(axis=1) - counts.sum(axis=1)
    names = [classes[i] for i in columns]
    if others.any():
        counts, names = np.column_stack([counts, others]), [*names, "others"]
    return Confusion(rows=[classes[i] for i in worst], columns=names, counts=counts.tolist())
