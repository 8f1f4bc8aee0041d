"""A trial: a short but complete training with a seed and a figure on validation. All searching is made of these.

A trial that has ended is read back, one that was stopped goes on; the same trial gives the same figure.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from compressor.data.dataset import Dataset
from compressor.distillation import chain
from compressor.distillation.acquire import Start
from compressor.distillation.config import StageConfig
from compressor.distillation.fit import fit
from compressor.distillation.job import Teacher
from compressor.evaluation import metrics
from compressor.evaluation.predictions import Predictions
from compressor.evaluation.torch_predictor import predict_model
from compressor.files import read_json, write_json
from compressor.progress import Progress

WORST_NLL = 9.9
"""Nats at which the NLL is cut off, so that it decides less than one row of accuracy does."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a trial came to on validation."""

    seen: Predictions
    seconds: float
    """Of training."""
    tokens: bool = False
    """Whether classes are tokens, so that the likelihood alone tells."""

    @property
    def top1(self) -> float:
        """A fraction."""
        return metrics.top_k(self.seen.labels, self.seen.logits, 1)

    @property
    def nll(self) -> float:
        """Nats."""
        return metrics.nll(self.seen.labels, self.seen.logits)

    @property
    def score(self) -> float:
        """What trials are ordered by."""
        return score(self.top1, self.nll, len(self.seen.labels), tokens=self.tokens)


def score(top1: float, nll: float, rows: int, *, tokens: bool = False) -> float:
    """Accuracy on validation, of which less than one row is the NLL's to decide; of tokens the NLL alone, below zero."""
    if tokens:
        return -nll
    return top1 - min(nll, WORST_NLL) / (10 * rows)


def run(
    begin: Start,
    dataset: Dataset,
    config: StageConfig,
    *,
    label: str,
    epochs: int,
    seed: int,
    teacher: Teacher | None,
    folder: Path,
    accelerator: Accelerator,
    progress: Progress,
    watch: Callable[[dict[str, Any]], None] | None = None,
) -> Outcome:
    """Trains `begin` for `epochs` with a schedule of its own and measures it on validation, with its last weights.

    Args:
        begin: its model is moved.
        dataset: with the splits `train` and `validation`.
        teacher: None for the control, which learns from the hard labels alone.
        folder: the trial's own; its state is in it until it has ended.
        watch: is given each epoch's figures; what it raises ends the trial.

    Raises:
        CompressorError: the loss is no longer finite.
    """
    if (found := ended(folder)) is not None:
        return found
    device = accelerator.device
    known = chain.begun(folder)
    begin = chain.taken_up(begin, dataset, config, known, label=label, device=device, progress=progress)
    # The best epoch of each would flatter whoever has more epochs to choose from.
    config = config.model_copy(update={"keep": "last"})
    job = chain.job_for(begin, config, label=label, epochs=epochs, seed=seed, teacher=teacher)
    job = replace(job, begun=chain.how_begun(begin, dataset, teacher, known, label))
    try:
        fitted = fit(begin.model, dataset, job, folder=folder, accelerator=accelerator, progress=progress, watch=watch)
    finally:
        if sys.exc_info()[0] is not KeyboardInterrupt:
            shutil.rmtree(folder / "state", ignore_errors=True)
    seen = predict_model(begin.model, dataset, "validation", begin.preprocessing, device=device)
    seen.save(folder / "validation.npz")
    outcome = Outcome(seen=seen, seconds=fitted.seconds, tokens=dataset.tokens)
    document = {"top1": outcome.top1, "nll": outcome.nll, "seconds": outcome.seconds, "tokens": outcome.tokens}
    write_json(folder / "trial.json", document)
    return outcome


def ended(folder: Path) -> Outcome | None:
    """A trial that came to its end; None where it did not."""
    path = folder / "trial.json"
    if not path.is_file():
        return None
    known = read_json(path)
    seen = Predictions.load(folder / "validation.npz")
    return Outcome(seen=seen, seconds=known["seconds"], tokens=known.get("tokens", False))
