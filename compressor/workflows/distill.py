"""The one-way street of `distill`: plan → data → teacher → chain → export → benchmark → report."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator

from compressor import runfolder
from compressor.benchmarking import host
from compressor.data.dataset import Dataset
from compressor.data.decoded import with_decoded
from compressor.distillation import chain
from compressor.distillation.chain import Result, Start
from compressor.distillation.fit import Teacher
from compressor.errors import UsageError
from compressor.files import write_json, write_text
from compressor.packages import versions
from compressor.progress import Progress
from compressor.reporting import build
from compressor.reporting.document import Report
from compressor.runfolder import RunFolder
from compressor.runnote import DatasetEntry
from compressor.workflows.benchmark import document, saved_predictions
from compressor.workflows.export import Results, export_run, ship
from compressor.workflows.plan import Plan, Stage, accelerator, begin


def distill(planned: Plan, run: RunFolder, progress: Progress, *, device: Accelerator | None = None) -> Report:
    """Runs what is not finished yet of a plan and gives the report.

    `run.json` says afterwards how it ended: done, interrupted or failed.
    """
    device = device or accelerator()
    dataset, recipe = planned.dataset, planned.recipe
    same_images(run, dataset)
    if not run.recipe.is_file():
        write_text(run.recipe, recipe.to_yaml())
        run.update(command=shlex.join(["compress", *sys.argv[1:]]))  # a resume keeps the first one
    run.update(
        name=run.path.name,
        status="running",
        recipe=recipe.fingerprint,
        dataset=dataset_entry(dataset),
        seeds=[recipe.seed + k for k in range(recipe.seeds)],
        versions=versions(),
        host=host.fingerprint(),
        device=str(device.device),
    )
    try:
        results = train(planned, run, device, progress)
        ship(planned, run, results)
        files = export_run(planned, run, results, progress)
        measured = document(
            files, recipe.benchmark, progress,
            seen=saved_predictions(files), classes=dataset.classes, data=f"{dataset.fingerprint}/test",
        )  # fmt: skip
        write_json(run.benchmark, measured)
        run.update(status="done", finished=runfolder.now())
        return build.write(run, dataset)
    except KeyboardInterrupt:
        run.update(status="interrupted")
        raise
    except BaseException as error:
        run.update(status="failed", error=str(error))
        raise


def same_images(run: RunFolder, dataset: Dataset) -> None:
    """Refuses to go on with other images: the splits would be drawn anew, and models have seen the new test images."""
    entry = run.read().dataset if run.note.is_file() else None
    known = entry.fingerprint if entry else None
    if known not in (None, dataset.fingerprint):
        raise UsageError(
            f"the images in '{dataset.name}' have changed since run '{run.path}' began, and so have its splits.\n"
            "Put them back as they were, or start a new run."
        )


def dataset_entry(dataset: Dataset) -> DatasetEntry:
    """What `run.json` and the report say of the data."""
    counts = {name: len(dataset.splits.get(name, ())) for name in ("train", "validation", "test", "unlabeled")}
    return DatasetEntry(name=dataset.name, classes=dataset.classes, **counts, fingerprint=dataset.fingerprint)


def train(planned: Plan, run: RunFolder, device: Accelerator, progress: Progress) -> Results:
    """Every stage's result: (role, seed) → results; finished stages are read back, not repeated."""
    assert planned.recipe.threads != "auto"
    torch.set_num_threads(planned.recipe.threads)
    results: Results = {}
    decoded: dict[int, Dataset] = {}
    teacher: Result | None = None
    for index in range(len(planned.stages)):
        if teacher is not None:
            planned = decide_precision(planned, run, teacher, device, progress)
        stage = planned.stages[index]
        for seed in stage.seeds:
            folder = run.stage(stage.index, stage.role, stage.model, seed)
            result = chain.finished(folder)
            if result is None:
                largest = max(planned.dataset.image_size, teacher.card.preprocessing.size if teacher else 0)
                if largest not in decoded:  # opening the store reads all of it to check it: once is enough
                    decoded[largest] = with_decoded(planned.dataset, largest, progress)
                own = replace(planned, dataset=decoded[largest])
                result = _train_one(own, stage, seed, teacher, folder, device, progress)
            else:
                progress.say(f"{stage.role} {result.card.architecture.name} · seed {seed}: already finished")
            results.setdefault((stage.role, seed), []).append(result)
            if stage.role in ("teacher", "assistant"):
                teacher = result
                progress.say(_introduction(stage.role, result, calibrated=planned.recipe.teacher.calibrate))
    return results


def _train_one(
    planned: Plan,
    stage: Stage,
    seed: int,
    teacher: Result | None,
    folder: Path,
    device: Accelerator,
    progress: Progress,
) -> Result:
    dataset = planned.dataset
    first = begin(planned, stage, seed, device.device)
    if first.notice:
        progress.say(first.notice)
    guide = None
    if stage.role in ("assistant", "student"):
        assert teacher is not None
        dataset, guide = guided(planned, stage, first, teacher, device, progress)
    return chain.run_stage(
        first,
        dataset,
        stage.config,
        role=stage.role,
        epochs=stage.epochs,
        seed=seed,
        teacher=guide,
        folder=folder,
        accelerator=device,
        progress=progress,
    )


def guided(
    planned: Plan, stage: Stage, first: Start, teacher: Result, device: Accelerator, progress: Progress
) -> tuple[Dataset, Teacher]:
    """What a taught stage learns from (unlabelled images among it) and the teacher, stored or live."""
    recipe, dataset = planned.recipe, planned.dataset
    frozen = teacher.as_teacher(calibrate=recipe.teacher.calibrate)
    if "unlabeled" in dataset.splits:
        chosen = chain.confident(frozen, dataset, recipe.data.unlabeled_confidence, device.device)
        dataset = dataset.with_unlabeled(chosen)
        progress.say(f"{stage.role}: learns from {len(chosen)} unlabelled images too")
    guide = chain.prepare_teacher(
        frozen, first, dataset, stage.config, epochs=stage.epochs,
        label=f"{teacher.card.role} {teacher.card.architecture.name}", device=device.device, progress=progress,
    )  # fmt: skip
    return dataset, guide


def decide_precision(planned: Plan, run: RunFolder, teacher: Result, device: Accelerator, progress: Progress) -> Plan:
    """Measures once in which precision the teacher answers fastest, and writes it into the recipe for a resume."""
    recipe = planned.recipe
    if recipe.stage.targets.precision != "auto":
        return planned
    chosen = chain.fastest_precision(teacher, planned.dataset, recipe.stage, device.device)
    progress.say(f"the teacher answers in {chosen}")
    settled = recipe.stage.targets.model_copy(update={"precision": chosen})
    recipe = recipe.model_copy(update={"stage": recipe.stage.model_copy(update={"targets": settled})})
    write_text(run.recipe, recipe.to_yaml())
    run.update(recipe=recipe.fingerprint)
    stages = tuple(replace(s, config=recipe.stage_for(s.role, s.model)) for s in planned.stages)
    return replace(planned, recipe=recipe, stages=stages)


def _introduction(role: str, result: Result, *, calibrated: bool) -> str:
    """What is known of a teacher before it teaches."""
    seen = chain.calibration(result)
    text = f"{role} {result.card.architecture.name} on validation: top-1 {seen['top1']:.3f}, ECE {seen['ece']:.3f}"
    if calibrated:
        text += f" ({seen['ece_calibrated']:.3f} at its calibration temperature {seen['temperature']:.2f})"
    if seen["top1"] < 2 * seen["chance"]:
        text += " — it hardly beats guessing and will teach noise; give it more epochs or pretrained weights"
    return text
