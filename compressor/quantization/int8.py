"""From a student to its int8 file: the float file it starts from, the ladder, and once more after a fine-tuning."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from compressor.artifact.preprocessing import Inputs, taken
from compressor.data.dataset import Dataset
from compressor.exporting import export as exporting
from compressor.models.checkpoint import Card
from compressor.progress import Progress
from compressor.quantization import ladder
from compressor.quantization.config import ArtifactsConfig
from compressor.quantization.document import Rung
from compressor.quantization.ladder import Outcome


@dataclass(frozen=True, kw_only=True)
class Int8Job:
    """An int8 file to be made."""

    model: nn.Module
    card: Card
    path: Path
    config: ArtifactsConfig
    dataset: Dataset
    recipe: str | None
    """Fingerprint of the resolved recipe."""
    inputs: Inputs
    """Validation samples for the gate."""
    fp32: Path | None = None
    """The student's float file, where it has just been exported with the same options."""
    lengths: list[int] | None = None
    """Quantiles of validation samples' lengths."""


def make_int8(job: Int8Job, progress: Progress, *, fine_tuned: Callable[[], nn.Module] | None = None) -> Outcome:
    """Up the ladder and, with `qat`, once more after a fine-tuning where no rung keeps within the drop.

    Args:
        fine_tuned: trains a copy of the model with int8's steps; needed where the configuration asks for `qat`.
    """
    outcome, top1 = _climb(job, job.model, job.fp32, None, progress)
    if outcome.chosen is not None or not job.config.int8.qat or any(rung.within for rung in outcome.rungs):
        return outcome
    progress.say(f"int8: {outcome.reason}; fine-tuning with int8's steps")
    assert fine_tuned is not None
    tuned = fine_tuned()
    again, _ = _climb(job, tuned, None, top1, progress)
    rungs = (*outcome.rungs, *(_renamed(rung) for rung in again.rungs))
    chosen = _renamed(again.chosen) if again.chosen else None
    return replace(again, rungs=rungs, chosen=chosen, about=again.about | {"qat_epochs": job.config.int8.qat_epochs})


def _renamed(rung: Rung) -> Rung:
    return rung.model_copy(update={"name": f"fine-tuned, {rung.name}"})


def _climb(
    job: Int8Job, model: nn.Module, fp32: Path | None, top1: float | None, progress: Progress
) -> tuple[Outcome, float]:
    """The ladder for a model's own float file; the drop counts from `top1`, where one is given."""
    with tempfile.TemporaryDirectory() as folder:
        if fp32 is None:
            fp32 = Path(folder) / "fp32.onnx"
            exporting.export(
                model, job.card, fp32, precision="fp32", config=job.config, inputs=job.inputs,
                recipe=job.recipe, progress=progress, lengths=job.lengths,
            )  # fmt: skip
        climbing = ladder.Job(
            fp32=fp32,
            dataset=job.dataset,
            reference=exporting.reference_of(model, job.card, job.config),
            inputs=taken(job.inputs, slice(job.config.parity_samples)),
            batches=exporting.batches_of(job.config),
            top1=top1,
        )
        outcome = ladder.climb(climbing, job.path, job.config.int8, progress)
    return outcome, outcome.about["fp32_validation_top1"]
