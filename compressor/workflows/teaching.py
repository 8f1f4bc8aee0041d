"""How one stage is trained: what it learns on, who teaches it, and in which precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from accelerate import Accelerator

from compressor.data.dataset import Dataset
from compressor.distillation import assistants, chain, guidance
from compressor.distillation.acquire import Start
from compressor.distillation.chain import Result
from compressor.distillation.fit import Teacher
from compressor.progress import Progress
from compressor.runfolder import RunFolder
from compressor.workflows.plan import Plan, Stage, baseline_epochs, settled


def train_one(
    planned: Plan,
    run: RunFolder,
    stage: Stage,
    first: Start,
    seed: int,
    earlier: Sequence[Result],
    folder: Path,
    device: Accelerator,
    progress: Progress,
) -> Result:
    """A stage of the chain, trained; an assistant that was trained before, in whatever run, is taken from there."""
    dataset, source, name = planned.dataset, None, None
    if stage.role in ("assistant", "student"):
        with run.timed("targets"):
            dataset, source = learning_from(planned, stage, first, earlier, device, progress)
    if stage.role == "assistant":
        recipe = planned.recipe
        name = assistants.key(
            list(earlier), stage.model, first.origin, recipe.student.stem, stage.config, dataset,
            epochs=stage.epochs, seed=seed, calibrate=recipe.teacher.calibrate, threads=recipe.threads,
        )  # fmt: skip
        if (found := assistants.find(name, folder)) is not None:
            progress.say(f"assistant {stage.model}: trained before, and taken from the cache")
            return found
    with run.timed("teacher" if stage.role == "member" else stage.role):
        result = chain.run_stage(
            first,
            dataset,
            stage.config,
            role=stage.role,
            epochs=stage.epochs,
            seed=seed,
            teacher=source,
            folder=folder,
            accelerator=device,
            progress=progress,
        )
    if name is not None:
        assistants.keep(
            name, result, f"{stage.model} for {dataset.name}, taught by {earlier[-1].card.architecture.name}"
        )
    return result


def as_long_as_taught(planned: Plan, stage: Stage, teacher: Result, device: Accelerator) -> Stage:
    """The baseline with as many steps as its student: of unlabelled samples the chosen ones count, not all."""
    recipe, dataset = planned.recipe, planned.dataset
    if "unlabeled" not in dataset.splits or recipe.data.unlabeled_confidence == 0:
        return stage
    frozen = teacher.as_teacher(calibrate=recipe.teacher.calibrate)
    chosen = chain.confident(frozen, dataset, recipe.data.unlabeled_confidence, device.device)
    assert isinstance(stage.config.epochs, int)
    return replace(stage, epochs=baseline_epochs(stage.config.epochs, dataset, dataset.with_unlabeled(chosen)))


def learning_from(
    planned: Plan, stage: Stage, first: Start, earlier: Sequence[Result], device: Accelerator, progress: Progress
) -> tuple[Dataset, Teacher]:
    """What a taught stage learns from (unlabelled samples among it) and who teaches it, stored or live.

    `earlier` are the finished teacher and assistants, in the chain's order.
    """
    recipe, dataset = planned.recipe, planned.dataset
    if "unlabeled" in dataset.splits:
        frozen = earlier[-1].as_teacher(calibrate=recipe.teacher.calibrate)
        chosen = chain.confident(frozen, dataset, recipe.data.unlabeled_confidence, device.device)
        dataset = dataset.with_unlabeled(chosen)
        progress.say(f"{stage.role}: learns from {len(chosen)} unlabelled samples too")
    source = guidance.guide(
        recipe.guidance if stage.role == "student" else "last", earlier, first, dataset, stage.config,
        epochs=stage.epochs, calibrate=recipe.teacher.calibrate, device=device.device, progress=progress,
    )  # fmt: skip
    return dataset, source


def decide_precision(planned: Plan, run: RunFolder, teacher: Result, device: Accelerator, progress: Progress) -> Plan:
    """Measures once in which precision the teacher answers fastest, and writes it into the recipe for a resume."""
    recipe = planned.recipe
    if recipe.stage.targets.precision != "auto":
        return planned
    chosen = chain.fastest_precision(teacher, planned.dataset, recipe.stage, device.device)
    progress.say(f"the teacher answers in {chosen}")
    measured = recipe.stage.targets.model_copy(update={"precision": chosen})
    recipe = recipe.model_copy(update={"stage": recipe.stage.model_copy(update={"targets": measured})})
    return settled(planned, recipe, run)


def introduction(role: str, result: Result, *, calibrated: bool) -> str:
    """What is known of a teacher before it teaches."""
    seen = chain.calibration(result)
    if not seen:
        return f"{role} {result.card.architecture.name} says nothing of the validation samples: it is not calibrated"
    text = f"{role} {result.card.architecture.name} on validation: top-1 {seen['top1']:.3f}, ECE {seen['ece']:.3f}"
    if calibrated:
        text += f" ({seen['ece_calibrated']:.3f} at its calibration temperature {seen['temperature']:.2f})"
    if result.card.calibration:
        text += f". {result.card.calibration}"
    if seen["top1"] < 2 * seen["chance"]:
        text += " — it hardly beats guessing and will teach noise; give it more epochs or pretrained weights"
    return text
