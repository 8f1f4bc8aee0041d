"""`distill`, the one-way street: plan → data → teacher → chain → export → benchmark → report."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from compressor import runfolder
from compressor.benchmarking import host
from compressor.data.dataset import Dataset
from compressor.data.kind import kind_of
from compressor.display import surroundings
from compressor.distillation import chain
from compressor.distillation.accelerator import accelerator
from compressor.distillation.acquire import Start
from compressor.distillation.chain import Result
from compressor.distillation.job import Teacher
from compressor.errors import CompressorError, UsageError
from compressor.files import finite, write_json, write_text
from compressor.options import Settings, options, spelled
from compressor.packages import require, versions
from compressor.progress import Progress
from compressor.recipe import Recipe, merge
from compressor.reporting import build, screen
from compressor.reporting.document import Report
from compressor.reporting.screen import Block, Shown
from compressor.runfolder import RunFolder
from compressor.runnote import DatasetEntry
from compressor.seeds import leaves_no_trace
from compressor.workflows import exported
from compressor.workflows.benchmark import document, saved_predictions
from compressor.workflows.choose import choose
from compressor.workflows.evaluate import shift_of
from compressor.workflows.export import Results, export_run, ship
from compressor.workflows.plan import (
    NEEDED,
    Plan,
    Stage,
    begin,
    make_plan,
    run_name,
)


@dataclass(frozen=True, kw_only=True)
class DistillResult(Shown):
    """A finished run."""

    run: Path
    """Its folder."""
    student: Path
    """The shipped file."""
    files: dict[str, Path]
    """Precision → exported student."""
    document: Report
    """`report.json`."""

    def blocks(self) -> list[Block]:
        """The headline table and what the teacher's help was worth."""
        return screen.report(RunFolder(self.run), self.document)

    def _repr_html_(self) -> str:
        page = self.run / "report.html"
        return screen.framed(page) if page.is_file() else super()._repr_html_()


@leaves_no_trace
def distill(
    *,
    teacher: str | Path | None = None,
    student: str | None = None,
    data: str | Path | None = None,
    recipe: Recipe | str | Path | None = None,
    unlabeled: str | Path | None = None,
    assistants: str | Sequence[str] | None = None,
    baseline: bool | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    image_size: int | None = None,
    limit: int | None = None,
    seed: int | None = None,
    views: int | str | None = None,
    cache_limit: float | None = None,
    seeds: int | None = None,
    device: str = "auto",
    settings: Settings | None = None,
    name: str | None = None,
    resume: str | Path | None = None,
    progress: Progress | None = None,
    command: str | None = None,
    shift: bool | None = None,
) -> DistillResult:
    """The whole street: plan, data, teacher, chain, student, export, benchmark, report.

    Args: the options of `compress distill`; docs/recipes.md has what they change.
        recipe: a Recipe, a file, or a packaged one's name; options overrule it, `settings` overrule both.
        settings: `--set` strings, or values by recipe key: `{"stage.objective.kd.temperature": 2}`.
        progress: where to report to; None fits the surroundings (terminal, notebook, neither), `Silent()` is silent.
        command: what `run.json` notes as the way the run was started.

    Raises:
        UsageError, RecipeError, DataError: something given is wrong; nothing was started.
        CompressorError: it failed while running; `resume` goes on with it.
    """
    require(*NEEDED)
    progress = progress or surroundings()
    given = options(
        teacher=teacher, student=student, data=data, unlabeled=unlabeled, assistants=assistants, baseline=baseline,
        epochs=epochs, batch_size=batch_size, image_size=image_size, limit=limit, seed=seed, views=views,
        cache_limit=cache_limit, seeds=seeds, shift=shift,
    )  # fmt: skip
    own = accelerator(device)
    chosen, stopped = choose(recipe, given, settings, resume)
    planned = make_plan(chosen, progress)
    run = stopped or runfolder.create(name or run_name(planned))
    progress.say(f"run folder: {run.path}")
    try:
        found = carry_out(planned, run, progress, device=own, command=command or spelled("distill", given, settings))
    except KeyboardInterrupt:
        progress.say(f"stopped; continue with: compress distill --resume {run.path}")
        raise
    files = {p: run.artifact(p) for p in ("fp32", "fp16", "int8") if run.artifact(p).is_file()}
    return DistillResult(run=run.path, student=run.artifact("fp32"), files=files, document=found)


def carry_out(
    planned: Plan, run: RunFolder, progress: Progress, *, device: Accelerator | None = None, command: str | None = None
) -> Report:
    """Runs what is not finished yet of a plan and gives the report.

    `run.json` says afterwards how it ended: done, interrupted or failed.

    Raises:
        HeldError: another process works on this run.
    """
    with run.held():
        return _carry_out(planned, run, progress, device=device or accelerator(), command=command)


def _carry_out(
    planned: Plan, run: RunFolder, progress: Progress, *, device: Accelerator, command: str | None
) -> Report:
    dataset, recipe = planned.dataset, planned.recipe
    same_data(run, dataset)
    if not run.recipe.is_file():
        write_text(run.recipe, recipe.to_yaml())
        run.update(command=command)  # a resume keeps the first one
    run.update(
        name=run.path.name,
        status="running",
        error=None,
        recipe=recipe.fingerprint,
        dataset=dataset_entry(dataset),
        seeds=list(planned.stages[-1].seeds),
        versions=versions(),
        host=host.fingerprint(),
        device=str(device.device),
    )
    try:
        results = train(planned, run, device, progress)
        ship(planned, run, results)
        files = export_run(planned, run, results, progress)
        origin = exported.measured_from(files, recipe.benchmark)
        if not exported.is_measured(run, origin):
            measured = document(
                files, recipe.benchmark, progress,
                seen=saved_predictions(files), classes=dataset.classes, data=f"{dataset.fingerprint}/test",
            )  # fmt: skip
            write_json(run.benchmark, finite(measured) | {"made_from": origin})
        if recipe.evaluation.shift:
            write_json(run.shift, shift_of(run, dataset, progress, str(device.device)))
        run.update(status="done", finished=runfolder.now())
        return build.write(run, dataset)
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt)
        with contextlib.suppress(OSError):  # a full disk has no room for this either, and is the news
            run.update(status="interrupted" if stopped else "failed", error=None if stopped else str(error))
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise CompressorError(
                f"the disk of {run.path} is full ({shutil.disk_usage(run.path).free / 1e6:.1f} MB are free): make room, "
                f"then compress distill --resume {run.path}"
            ) from error
        raise


def same_data(run: RunFolder, dataset: Dataset) -> None:
    """Refuses to go on with other data: the splits would be drawn anew, and models have seen the new test samples."""
    entry = run.read().dataset if run.note.is_file() else None
    known = entry.fingerprint if entry else None
    if known not in (None, dataset.fingerprint):
        raise UsageError(
            f"the data in '{dataset.name}' have changed since run '{run.path}' began, and so have its splits.\n"
            "Put them back as they were, or start a new run."
        )


def dataset_entry(dataset: Dataset) -> DatasetEntry:
    """What `run.json` and the report say of the data."""
    counts = {name: len(dataset.splits.get(name, ())) for name in ("train", "validation", "test", "unlabeled")}
    return DatasetEntry(
        name=dataset.name, classes=dataset.classes, **counts, rows=dataset.rows, fingerprint=dataset.fingerprint
    )


def train(planned: Plan, run: RunFolder, device: Accelerator, progress: Progress) -> Results:
    """Every stage's result: (role, seed) → results; finished stages are read back, not repeated."""
    assert planned.recipe.threads != "auto"
    torch.set_num_threads(planned.recipe.threads)
    results: Results = {}
    prepared: dict[str, Dataset] = {}
    teacher: Result | None = None
    for index in range(len(planned.stages)):
        if teacher is not None:
            planned = decide_precision(planned, run, teacher, device, progress)
        for seed in planned.stages[index].seeds:
            stage = planned.stages[index]  # what one seed settles holds for the next
            folder = run.stage(stage.index, stage.role, stage.model, seed)
            result = chain.finished(folder)
            if result is None:
                members = results.get(("member", seed), [])
                known = chain.begun(folder)
                # Weights that are trained already come from the save: nothing is fetched for them, or tried again.
                init = "scratch" if known else None
                first = begin(planned, stage, seed, device.device, members, init=init)
                if first.notice:
                    progress.say(first.notice)
                if stage.role == "student" and not known and planned.recipe.student.init == "auto":
                    planned = settle(planned, run, {"student": {"init": first.origin}})
                sees = teacher.card.preprocessing if teacher else first.preprocessing
                if sees.view_key not in prepared:  # opening a store reads all of it to check it: once is enough
                    kind = kind_of(planned.dataset.modality)
                    prepared[sees.view_key] = kind.prepared(planned.dataset, sees, progress)
                    planned = settle(planned, run, {"data": kind.settled(prepared[sees.view_key])})
                own = replace(planned, dataset=prepared[sees.view_key])
                result, planned = _train_one(own, stage, first, seed, teacher, folder, run, device, progress)
            else:
                progress.say(f"{stage.role} {result.card.architecture.name} · seed {seed}: already finished")
            results.setdefault((stage.role, seed), []).append(result)
            if stage.role in ("teacher", "assistant", "member"):
                teacher = result if stage.role != "member" else None
                progress.say(_introduction(stage.role, result, calibrated=planned.recipe.teacher.calibrate))
    return results


def _train_one(
    planned: Plan,
    stage: Stage,
    first: Start,
    seed: int,
    teacher: Result | None,
    folder: Path,
    run: RunFolder,
    device: Accelerator,
    progress: Progress,
) -> tuple[Result, Plan]:
    """A stage's result, and the plan with what was settled on the way."""
    whole, dataset = planned, planned.dataset
    source = None
    if stage.role in ("assistant", "student"):
        assert teacher is not None
        if (chain.begun(folder) or {}).get("taught") == "live":  # there may be room for a store by now: it rounds
            stage = replace(stage, config=chain.unstored(stage.config))
        dataset, source = learning_from(planned, stage, first, teacher, device, progress)

    def in_parts(micro_batch: int) -> None:
        nonlocal whole
        own = whole.recipe.overrides.get(stage.model, {}) | {"micro_batch": micro_batch}
        whole = settle(whole, run, {"overrides": whole.recipe.overrides | {stage.model: own}})

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
    return result, whole


def learning_from(
    planned: Plan, stage: Stage, first: Start, teacher: Result, device: Accelerator, progress: Progress
) -> tuple[Dataset, Teacher]:
    """What a taught stage learns from (unlabelled samples among it) and the teacher, stored or live."""
    recipe, dataset = planned.recipe, planned.dataset
    frozen = teacher.as_teacher(calibrate=recipe.teacher.calibrate)
    if "unlabeled" in dataset.splits:
        chosen = chain.confident(frozen, dataset, recipe.data.unlabeled_confidence, device.device)
        dataset = dataset.with_unlabeled(chosen)
        progress.say(f"{stage.role}: learns from {len(chosen)} unlabelled samples too")
    source = chain.prepare_teacher(
        frozen, first, dataset, stage.config, epochs=stage.epochs,
        label=f"{teacher.card.role} {teacher.card.architecture.name}", device=device.device, progress=progress,
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


def settle(planned: Plan, run: RunFolder, changes: dict[str, Any]) -> Plan:
    """The plan with what was found out by trying, which is written into the run's recipe: a resume does not try again."""
    recipe = planned.recipe.model_validate(merge(planned.recipe.model_dump(), changes))
    if recipe == planned.recipe:
        return planned
    write_text(run.recipe, recipe.to_yaml())
    run.update(recipe=recipe.fingerprint)
    stages = tuple(replace(s, config=recipe.stage_for(s.role, s.model)) for s in planned.stages)
    return replace(planned, recipe=recipe, stages=stages)


def _introduction(role: str, result: Result, *, calibrated: bool) -> str:
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
