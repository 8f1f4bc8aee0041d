"""A teacher's calibration temperature, where nobody says what the teacher has seen.

A teacher that came as a file may have been trained on what is held out here for validation. Its validation figures
are flattering then, and a temperature fitted to them sharpens a teacher that is overconfident already. Of such a
teacher the temperature never goes below 1: what memorising does to the fit is to lower it, so a fitted one above 1
is at most too small, and 1 changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compressor.artifact.session import softmax
from compressor.evaluation import metrics
from compressor.evaluation.predictions import Predictions

HELD_OUT = 3.0
"""Standard errors by which a teacher has to be better on training samples before validation counts as held out."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A temperature, and what has to be said of it."""

    temperature: float
    suspect: bool = False
    """Whether it may have seen the validation samples: its figures on them are no evidence."""
    note: str | None = None
    """A sentence for people; None where there is nothing to say."""


def calibrate(validation: Predictions, training: Predictions | None) -> Calibration:
    """The temperature at which a model's logits are calibrated.

    Args:
        validation: what it says of the validation split.
        training: what it says of as many training samples, for a model of which nobody knows what it has seen; None
            for one that is known not to have seen validation.
    """
    if not len(validation.labels):
        return Calibration(
            temperature=1.0,
            suspect=True,
            note="The teacher says nothing of the validation samples and is not calibrated.",
        )
    fitted = metrics.calibration_temperature(validation.labels, validation.logits)
    if training is None:
        return Calibration(temperature=fitted)
    gap = lead(training, validation)
    suspect = gap < HELD_OUT
    if not suspect and fitted >= 1:
        return Calibration(temperature=fitted)
    note = "Nothing says what the teacher was trained on: it may have seen the validation samples"
    if suspect:
        note += f" (on training samples it does no better: {gap:+.1f} standard errors)"
    if fitted < 1:
        note += f". The temperature fitted on them, {fitted:.2f}, would make it surer of itself and is not applied."
    else:
        note += f". Its temperature {fitted:.2f} is fitted on them, and may be too low."
    return Calibration(temperature=max(1.0, fitted), suspect=suspect, note=note)


def lead(training: Predictions, validation: Predictions) -> float:
    """By how many standard errors a model does better on training samples than on validation (NLL; Welch's z)."""
    own, other = losses(training), losses(validation)
    error = float(np.sqrt(own.var() / len(own) + other.var() / len(other)))
    return float(other.mean() - own.mean()) / error if error else 0.0


def losses(seen: Predictions, temperature: float = 1.0) -> NDArray[np.float64]:
    """(n,): the negative log-likelihood of each label at a temperature, nats."""
    own = softmax(seen.logits, temperature)[np.arange(len(seen.labels)), seen.labels]
    found: NDArray[np.float64] = -np.log(np.maximum(own, 1e-30))
    return found
