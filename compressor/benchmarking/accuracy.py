"""Accuracy beside speed: what each measured file says of the same test samples, compared sample by sample."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray

from compressor.benchmarking.document import Accuracy, Against, Benchmark, ModelFacts, WorstClass
from compressor.evaluation import metrics
from compressor.evaluation.figures import figures, gain, right
from compressor.evaluation.predictions import Predictions

WORST = 5
"""Classes that are named as the worst."""


def join(document: Benchmark, seen: dict[str, Predictions], classes: list[str], data: str) -> Benchmark:
    """The benchmark document with `accuracy` in each model's entry; None where a file has no predictions.

    Args:
        document: with `models` by label; left unchanged.
        seen: label → predictions, all of the same split.
        classes: class names in the order of the logits.
        data: fingerprint of what was predicted.
    """
    models = document.models
    teacher = next((label for label in seen if models[label].role == "teacher"), None)
    fp32 = document.reference if models[document.reference].precision == "fp32" else None

    def joined(label: str, facts: ModelFacts) -> Accuracy | None:
        own = seen.get(label)
        if own is None:
            return None
        beside: dict[str, Against | None] = {"teacher": None, "fp32": None}
        if teacher and label != teacher:
            beside["teacher"] = against(own, seen[teacher])
        if fp32 in seen and label not in (fp32, teacher):
            beside["fp32"] = against(own, seen[fp32])
        return measured(own, classes, facts.temperature, data).model_copy(update=beside)

    entries = {label: facts.model_copy(update={"accuracy": joined(label, facts)}) for label, facts in models.items()}
    return document.model_copy(update={"models": entries})


def measured(own: Predictions, classes: list[str], temperature: float | None, data: str) -> Accuracy:
    """One file's figures, its worst classes and which samples it had right."""
    found = figures(own, temperature)
    ranked = sorted((v, name) for v, name in zip(found.per_class, classes, strict=True) if v is not None)
    return Accuracy(
        samples=found.samples,
        top1=found.top1,
        top5=found.top5,
        nll=found.nll,
        ece=found.ece,
        nll_calibrated=found.nll_calibrated,
        ece_calibrated=found.ece_calibrated,
        worst=[WorstClass.model_validate({"class": name, "top1": value}) for value, name in ranked[:WORST]],
        right=pack(right(own)),
        data=data,
    )


def against(own: Predictions, other: Predictions) -> Against | None:
    """A model beside another one; None where they did not see the same samples."""
    if not np.array_equal(own.ids, other.ids):
        return None
    agreement = metrics.agreement(other.logits, own.logits)
    return Against(agreement=agreement, **vars(gain(right(own), right(other))))


def pack(bits: NDArray[np.bool_]) -> str:
    """(n,) truths as base64: 1.7 KB for 10,000 samples."""
    return base64.b64encode(np.packbits(bits).tobytes()).decode()


def unpack(text: str, count: int) -> NDArray[np.bool_]:
    """What `pack` packed."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), dtype=np.uint8), count=count).astype(bool)
