"""How one stage is trained: what it learns on, who teaches it, and in which precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from compressor.data.dataset import Dataset
from compressor.distillation import assistants, chain, guidance
from compressor.distillation.acquire import Start
from compressor.distillation.chain import Result
from compressor.distillation.job import Teacher
from compressor.evaluation import metrics
from compressor.progress import Progress
from compressor.runfolder import RunFolder
from compressor.workflows.plan import Plan, Stage, baseline_epochs, settle


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
) -> tuple[Result, Plan]:
    """A stage of the chain, trained, and the plan with what was settled on the way.

    An assistant that was trained before, in whatever run, is taken from there.
    """
    whole, dataset, source, name = planned, planned.dataset, None, None
    if stage.role in ("assistant", "student"):
        if (chain.begun(folder) or {}).get("taught") == "live":  # there may be room for a store by now: it rounds
            stage = replace(stage, config=chain.unstored(stage.config))
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
            return found, whole

    def in_parts(micro_batch: int) -> None:
        nonlocal whole
        own = whole.recipe.overrides.get(stage.model, {}) | {"micro_batch": micro_batch}
        whole = settle(whole, run, {"overrides": whole.recipe.overrides | {stage.model: own}})

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
            settle=in_parts,
        )
    if name is not None:
        assistants.keep(
            name, result, f"{stage.model} for {dataset.name}, taught by {earlier[-1].card.architecture.name}"
        )
    return result, whole


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
    return settle(planned, run, {"stage": {"targets": {"precision": chosen}}})


def introduction(role: str, result: Result, *, calibrated: bool, tokens: bool = False) -> str:
    """What is known of a teacher before it teaches; `tokens`: whether its classes are these."""
    seen = chain.calibration(result)
    if not seen:
        return f"{role} {result.card.architecture.name} says nothing of the validation samples: it is not calibrated"
    if tokens:
        return _perplexity(role, result)
    text = f"{role} {result.card.architecture.name} on validation: top-1 {seen['top1']:.3f}, ECE {seen['ece']:.3f}"
    if calibrated:
        text += f" ({seen['ece_calibrated']:.3f} at its calibration temperature {seen['temperature']:.2f})"
    if result.card.calibration:
        text += f". {result.card.calibration}"
    if seen["top1"] < 2 * seen["chance"]:
        text += " — it hardly beats guessing and will teach noise; give it more epochs or pretrained weights"
    return text


def _perplexity(role: str, result: Result) -> str:
    """Of the windows of validation that are kept, beside that of knowing how frequent each token is there."""
    labels, logits = result.validation.labels, result.validation.logits
    counts = np.bincount(labels)[labels] / len(labels)
    blind, own = float(np.exp(-np.log(counts).mean())), float(np.exp(metrics.nll(labels, logits)))
    text = f"{role} {result.card.architecture.name} on validation: perplexity {own:.1f} on {len(labels):,} tokens"
    if result.card.calibration:
        text += f". {result.card.calibration}"
    if own > blind:
        text += (
            f" — knowing how frequent each token is comes to {blind:.1f}: it will teach noise; give it more epochs or "
            "pretrained weights"
        )
    return text
