"""From predictions to figures: of one model, and of two on the same samples. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compressor.evaluation import metrics
from compressor.evaluation.document import CopiedMistakes, Figures, Gain
from compressor.evaluation.predictions import Predictions


def figures(own: Predictions, temperature: float | None = None) -> Figures:
    """All figures of one model; `nll` and `ece` are raw, the calibrated ones are there where the temperature is known."""
    labels, logits = own.labels, own.logits
    return Figures(
        samples=len(labels),
        top1=metrics.top_k(labels, logits, 1),
        top5=metrics.top_k(labels, logits, 5),
        nll=metrics.nll(labels, logits),
        ece=metrics.ece(labels, logits),
        nll_calibrated=metrics.nll(labels, logits, temperature=temperature) if temperature else None,
        ece_calibrated=metrics.ece(labels, logits, temperature=temperature) if temperature else None,
        temperature=temperature,
        balanced_accuracy=metrics.balanced_accuracy(labels, logits),
        per_class=metrics.per_class(labels, logits, logits.shape[1]),
    )


def right(own: Predictions) -> NDArray[np.bool_]:
    """(n,) whether each sample was classified rightly."""
    answer: NDArray[np.bool_] = own.logits.argmax(axis=1) == own.labels
    return answer


def gain(own: NDArray[np.bool_], other: NDArray[np.bool_]) -> Gain:
    """How much more often the first is right, on paired samples, (n,) each."""
    found = metrics.paired_gain(own, other)
    return Gain(top1_gain=found["mean"], low=found["low"], high=found["high"], mcnemar_p=metrics.mcnemar(own, other))


def copied_mistakes(own: Predictions, teacher: Predictions) -> CopiedMistakes:
    """How many of the teacher's mistakes are made too; see `metrics.copied_mistakes`."""
    found = metrics.copied_mistakes(own.labels, teacher.logits, own.logits)
    return CopiedMistakes.model_validate(found)
