"""Test samples on which student and teacher disagree: a few in the run folder, as pictures or text, for the report."""

from __future__ import annotations

import base64
import shutil
from typing import Any

import numpy as np

from compressor.artifact.session import softmax
from compressor.data.dataset import Dataset
from compressor.data.kind import kind_of
from compressor.evaluation import metrics
from compressor.evaluation.predictions import Predictions
from compressor.files import inside, read_documents, write_json
from compressor.reporting.document import Example, Picture
from compressor.runfolder import RunFolder

COUNT = 12

_PICTURES = {"png": b"\x89PNG", "jpeg": b"\xff\xd8\xff"}  # how the files begin that `exhibit` makes


def collect(
    run: RunFolder,
    dataset: Dataset,
    teacher: Predictions,
    student: Predictions,
    temperatures: tuple[float, float] = (1.0, 1.0),
) -> list[Example]:
    """Writes `examples/` with up to 12 pictures and `examples.json`, and gives what is in it.

    Two thirds are the teacher's right answers that the student misses, the rest the other way round (or neither
    is right); the student's worst classes come first, one sample of each in turn. Their confidences are calibrated:
    `temperatures` are the teacher's and the student's.
    """
    folder = run.path / "examples"
    shutil.rmtree(folder, ignore_errors=True)
    index_of = {name: i // dataset.rows for i, name in enumerate(dataset.row_ids(dataset.splits["all"]))}
    found: list[Example] = []
    for row in choose(teacher, student):
        name = str(student.ids[row])
        if name not in index_of:
            continue
        folder.mkdir(exist_ok=True)
        shown: dict[str, Any] = {
            **kind_of(dataset.modality).exhibit(dataset, index_of[name], folder / f"{len(found):02d}")
        }
        if "image" in shown:
            shown["image"] = f"{folder.name}/{shown['image']}"
        found.append(Example(id=name, **shown, **_answers(dataset.classes, teacher, student, row, temperatures)))
    write_json(run.examples, found)
    return found


def choose(teacher: Predictions, student: Predictions, count: int = COUNT) -> list[int]:
    """Rows of the predictions to show; see `collect`. None where the two did not see the same samples."""
    if not np.array_equal(teacher.ids, student.ids):
        return []
    labels, answered, taught = student.labels, student.logits.argmax(axis=1), teacher.logits.argmax(axis=1)
    sure = softmax(student.logits).max(axis=1)
    by_class = metrics.per_class(labels, student.logits, student.logits.shape[1])
    missed = np.flatnonzero((taught == labels) & (answered != labels))
    others = np.flatnonzero((taught != answered) & (taught != labels))
    chosen: list[int] = []
    for pool, wanted in ((missed, count - min(count // 3, len(others))), (others, count)):
        turns: dict[int, int] = {}
        ranked = []
        for row in sorted(pool.tolist(), key=lambda r: -sure[r]):
            label = int(labels[row])
            turns[label] = turns.get(label, 0) + 1
            ranked.append((turns[label], by_class[label], row))
        chosen += [row for _, _, row in sorted(ranked)[: max(0, min(wanted, count - len(chosen)))]]
    return chosen


def _answers(
    classes: list[str], teacher: Predictions, student: Predictions, row: int, temperatures: tuple[float, float]
) -> dict[str, Any]:
    answer: dict[str, Any] = {"label": classes[int(student.labels[row])]}
    for who, seen, temperature in zip(("teacher", "student"), (teacher, student), temperatures, strict=True):
        probabilities = softmax(seen.logits[row], temperature)
        best = int(probabilities.argmax())
        answer |= {who: classes[best], f"{who}_confidence": float(probabilities[best])}
    return answer


def stored(run: RunFolder) -> list[Example]:
    """What `collect` left in the run; nothing where it was not there."""
    return read_documents(run.examples, Example) if run.examples.is_file() else []


def embedded(run: RunFolder, found: list[Example]) -> list[Picture]:
    """The examples with each picture as a data URI; one whose file is gone, outside the run or no picture is left out."""
    answer = []
    for entry in found:
        if entry.image is None:
            answer.append(Picture(**vars(entry)))
            continue
        path = inside(run.path, entry.image)
        content = path.read_bytes() if path and path.is_file() else b""
        kind = next((name for name, start in _PICTURES.items() if content.startswith(start)), None)
        if kind:
            data = base64.b64encode(content).decode()
            answer.append(Picture(**vars(entry), source=f"data:image/{kind};base64,{data}"))
    return answer
