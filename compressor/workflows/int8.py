"""From a student to its int8 file: the float file it starts from, the ladder, and the fine-tuning behind `--qat`."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from compressor.data.dataset import Dataset
from compressor.data.decoded import with_decoded
from compressor.distillation import chain
from compressor.errors import UsageError
from compressor.exporting import export as exporting
from compressor.models.checkpoint import Card
from compressor.progress import Progress
from compressor.quantization import ladder
from compressor.quantization.config import ArtifactsConfig
from compressor.quantization.cpus import TARGETS, detect
from compressor.quantization.document import Rung
from compressor.quantization.ladder import Outcome
from compressor.recipe import load as load_recipe
from compressor.runfolder import RunFolder
from compressor.workflows import plan as planning


@dataclass(frozen=True, kw_only=True)
class Making:
    """An int8 file to be made."""

    model: nn.Module
    card: Card
    path: Path
    config: ArtifactsConfig
    dataset: Dataset
    run: RunFolder | None
    """Whose teacher fine-tunes, where `qat` is asked for."""
    recipe: str | None
    """Fingerprint of the resolved recipe."""
    pixels: NDArray[np.uint8]
    """(samples, size, size, 3) uint8 validation images for the gate."""
    fp32: Path | None = None
    """The student's float file, where it has just been exported with the same options."""


def make(made: Making, progress: Progress) -> Outcome:
    """Up the ladder and, with `qat`, once more after a fine-tuning where no rung keeps within the drop.

    Raises:
        UsageError: `qat` without a run that a teacher belongs to.
    """
    if made.config.int8.qat and (made.run is None or not made.run.recipe.is_file()):
        raise UsageError("--qat needs the teacher of a run: export a run (compress export runs/NAME --qat)")
    outcome, top1 = _climb(made, made.model, made.fp32, None, progress)
    if outcome.chosen is not None or not made.config.int8.qat or any(rung.within for rung in outcome.rungs):
        return outcome
    progress.say(f"int8: {outcome.reason}; fine-tuning with int8's steps")
    tuned = _tuned(made, progress)
    again, _ = _climb(made, tuned, None, top1, progress)
    rungs = (*outcome.rungs, *(_renamed(rung) for rung in again.rungs))
    chosen = _renamed(again.chosen) if again.chosen else None
    return replace(again, rungs=rungs, chosen=chosen, about=again.about | {"qat_epochs": made.config.int8.qat_epochs})


def _renamed(rung: Rung) -> Rung:
    return rung.model_copy(update={"name": f"fine-tuned, {rung.name}"})


def _climb(
    made: Making, model: nn.Module, fp32: Path | None, top1: float | None, progress: Progress
) -> tuple[Outcome, float]:
    """The ladder for a model's own float file; the drop counts from `top1`, where one is given."""
    with tempfile.TemporaryDirectory() as folder:
        if fp32 is None:
            fp32 = Path(folder) / "fp32.onnx"
            exporting.export(
                model, made.card, fp32, precision="fp32", config=made.config, pixels=made.pixels,
                recipe=made.recipe, progress=progress,
            )  # fmt: skip
        job = ladder.Job(
            fp32=fp32,
            dataset=made.dataset,
            reference=exporting.reference_of(model, made.card, made.config),
            pixels=made.pixels[: made.config.parity_samples],
            batches=exporting.batches_of(made.config),
            top1=top1,
        )
        outcome = ladder.climb(job, made.path, made.config.int8, progress)
    return outcome, outcome.about["fp32_validation_top1"]


def _tuned(made: Making, progress: Progress) -> nn.Module:
    """The student after a few epochs of fake quantisation under its own teacher's stored targets."""
    from compressor.quantization import qat

    assert made.run is not None
    recipe = load_recipe(made.run.recipe)
    found = [chain.finished(folder) for folder in made.run.stages()]
    teachers = [result for result in found if result is not None and result.card.role in ("teacher", "assistant")]
    if not teachers:
        raise UsageError(f"run '{made.run.path}' holds no teacher, which --qat needs")
    teacher = teachers[-1]  # the one that taught the student
    device = planning.accelerator("cpu" if made.run.read().device == "cpu" else "auto")
    sizes = (made.dataset.image_size, *(result.card.preprocessing.size for result in teachers))
    dataset = with_decoded(made.dataset, max(sizes), progress)
    stage = recipe.stage_for("student", made.card.architecture.name)
    stage = stage.model_copy(update={"targets": _settled(stage.targets)})
    student = chain.Start(
        model=made.model, architecture=made.card.architecture, preprocessing=made.card.preprocessing,
        origin=made.card.origin, training="finetune",
    )  # fmt: skip
    guide: Any = chain.prepare_teacher(
        teacher.as_teacher(calibrate=recipe.teacher.calibrate), student, dataset, stage, epochs=made.config.int8.qat_epochs,
        label=f"{teacher.card.role} {teacher.card.architecture.name}", device=device.device, progress=progress,
    )  # fmt: skip
    target = made.config.int8.target
    with tempfile.TemporaryDirectory() as folder:
        return qat.tune(
            made.model,
            made.card.preprocessing,
            dataset,
            stage=stage,
            config=made.config.int8,
            types=TARGETS[detect() if target == "auto" else target],
            teacher=guide,
            seed=recipe.seed,
            folder=Path(folder),
            accelerator=device,
            progress=progress,
        )


def _settled(targets: Any) -> Any:
    """Targets whose precision a run has not measured are computed in float32."""
    return targets.model_copy(update={"precision": "fp32"}) if targets.precision == "auto" else targets
