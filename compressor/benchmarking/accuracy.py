"""Accuracy beside speed: what each measured file says of the same test images, compared sample by sample."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.evaluation import metrics
from compressor.evaluation.predictions import Predictions

WORST = 5
"""Classes that are named as the worst."""


def saved_at(file: Path) -> Path:
    """Where the predictions of an exported file lie: `student.int8.onnx` → `student.int8.predictions.npz`."""
    return file.with_suffix(".predictions.npz")


def saved(file: Path) -> Predictions | None:
    """The predictions stored beside an exported file; None where there are none, or the file is newer."""
    path = saved_at(file)
    if not path.is_file() or path.stat().st_mtime < file.stat().st_mtime:
        return None
    return Predictions.load(path)


def join(document: dict[str, Any], seen: dict[str, Predictions], classes: list[str], data: str) -> dict[str, Any]:
    """The benchmark document with `accuracy` in each model's entry; None where a file has no predictions.

    Args:
        document: `benchmark.json`, with `models` by label; left unchanged.
        seen: label → predictions, all of the same split.
        classes: class names in the order of the logits.
        data: fingerprint of what was predicted.
    """
    models = document["models"]
    teacher = next((label for label in seen if models[label]["role"] == "teacher"), None)
    fp32 = document["reference"] if models[document["reference"]]["precision"] == "fp32" else None
    joined = {}
    for label, facts in models.items():
        own = seen.get(label)
        entry = None
        if own is not None:
            entry = figures(own, classes, facts["temperature"]) | {"data": data}
            entry["teacher"] = against(own, seen[teacher]) if teacher and label != teacher else None
            entry["fp32"] = against(own, seen[fp32]) if fp32 in seen and label not in (fp32, teacher) else None
        joined[label] = facts | {"accuracy": entry}
    return document | {"models": joined}


def figures(own: Predictions, classes: list[str], temperature: float | None) -> dict[str, Any]:
    """`samples`, `top1`, `top5`, `nll`, `ece`, `ece_calibrated`, `worst` classes, and `right`: bits, base64."""
    labels, logits = own.labels, own.logits
    per_class = metrics.per_class(labels, logits, len(classes))
    ranked = sorted((value, name) for value, name in zip(per_class, classes, strict=True) if value is not None)
    return {
        "samples": len(labels),
        **metrics.summary(labels, logits),
        "ece_calibrated": metrics.ece(labels, logits, temperature=temperature) if temperature else None,
        "worst": [{"class": name, "top1": value} for value, name in ranked[:WORST]],
        "right": pack(right(own)),
    }


def against(own: Predictions, other: Predictions) -> dict[str, Any] | None:
    """`agreement` with another model on the same samples, and how much more often it is right; see `gain`."""
    if not np.array_equal(own.ids, other.ids):
        return None
    return {"agreement": metrics.agreement(other.logits, own.logits), **gain(right(own), right(other))}


def gain(own: NDArray[np.bool_], other: NDArray[np.bool_]) -> dict[str, float]:
    """`top1_gain` with its 95 % interval `low` … `high`, and `mcnemar_p`, both on paired samples, (n,) each."""
    found = metrics.paired_gain(own[None], other[None])
    return {
        "top1_gain": found["mean"],
        "low": found["low"],
        "high": found["high"],
        "mcnemar_p": metrics.mcnemar(own, other),
    }


def right(own: Predictions) -> NDArray[np.bool_]:
    """(n,) whether each sample was classified rightly."""
    answer: NDArray[np.bool_] = own.logits.argmax(axis=1) == own.labels
    return answer


def pack(bits: NDArray[np.bool_]) -> str:
    """(n,) truths as base64: 1.7 KB for 10,000 images."""
    return base64.b64encode(np.packbits(bits).tobytes()).decode()


def unpack(text: str, count: int) -> NDArray[np.bool_]:
    """What `pack` packed."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), dtype=np.uint8), count=count).astype(bool)
