"""`distill`, the one-way street: plan → data → teacher → chain → export → benchmark → report."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from accelerate import Accelerator

from compressor import runfolder
from compressor.benchmarking import host
from compressor.data.dataset import Dataset
from compressor.display import surroundings
from compressor.distillation.accelerator import accelerator
from compressor.errors import CompressorError, UsageError
from compressor.files import finite, write_json, write_text
from compressor.options import Settings, listed, options, spelled
from compressor.packages import require, versions
from compressor.progress import Progress
from compressor.recipe import Recipe
from compressor.reporting import build, screen
from compressor.reporting.document import Report
from compressor.reporting.screen import Block, Shown
from compressor.reporting.students import ships
from compressor.runfolder import RunFolder
from compressor.runnote import DatasetEntry
from compressor.seeds import leaves_no_trace
from compressor.workflows import continuing, exported, kept, selecting
from compressor.workflows.benchmark import document, foretold, saved_predictions
from compressor.workflows.budget import divide
from compressor.workflows.choose import choose
from compressor.workflows.evaluate import shift_of
from compressor.workflows.export import export_run
from compressor.workflows.plan import (
    NEEDED,
    Plan,
    make_plan,
    run_name,
)
from compressor.workflows.ship import ship
from compressor.workflows.train import train


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
    pilot: float | str | None = None,
    strict_data: bool | None = None,
    time: str | None = None,
    task: str | None = None,
    max_latency: float | str | None = None,
    max_size: float | str | None = None,
    max_memory: float | str | None = None,
    precision: str | Sequence[str] | None = None,
) -> DistillResult:
    """The whole street: plan, data, teacher, chain, student, export, benchmark, report.
    Args: the options of `compress distill`; docs/recipes.md has what they change.
        recipe: a Recipe, a file, or a packaged one's name; options overrule it, `settings` overrule both.
        settings: `--set` strings, or values by recipe key: `{"stage.objective.kd.temperature": 2}`.
        progress: where to report to; None fits the surroundings (terminal, notebook, neither), `Silent()` is silent.
        command: what `run.json` notes as the way the run was started.

    Raises:
        UsageError, RecipeError, DataError: something given is wrong, nothing was started.
        CompressorError: it failed while running; `resume` goes on with it.
    """
    since = monotonic()
    require(*NEEDED)
    progress = progress or surroundings()
    given = options(
        teacher=teacher, student=student, data=data, unlabeled=unlabeled, assistants=assistants, baseline=baseline,
        epochs=epochs, batch_size=batch_size, image_size=image_size, limit=limit, seed=seed, views=views,
        cache_limit=cache_limit, seeds=seeds, shift=shift, pilot=pilot, strict_data=strict_data, time=time, task=task,
        max_latency=max_latency, max_size=max_size, max_memory=max_memory, precision=listed(precision),
    )  # fmt: skip
    own = accelerator(device)
    chosen, stopped = choose(recipe, given, settings, resume)
    spelt = command or spelled("distill", given, settings)
    return _distilled(chosen, stopped, own, name=name, command=spelt, since=since, progress=progress)


def _distilled(
    chosen: Recipe, stopped: RunFolder | None, device: Accelerator, *, name: str | None, command: str, since: float,
    progress: Progress,
) -> DistillResult:  # fmt: skip
    """A recipe's run, new or one that was `stopped`."""
    chosen, screened = selecting.prepared(chosen, progress)
    planned = divide(make_plan(chosen, progress), chosen, device, progress, since=since)
    run = stopped or runfolder.create(name or run_name(planned))
    progress.say(f"run folder: {run.path}")
    if screened:
        write_json(run.students, screened)
    try:
        found = carry_out(planned, run, progress, device=device, command=command, since=since)
    except KeyboardInterrupt:
        progress.say(f"stopped; continue with: compress distill --resume {run.path}")
        raise
    files = {p: run.artifact(p) for p in ("fp32", "fp16", "int8") if run.artifact(p).is_file()}
    return DistillResult(run=run.path, student=ships(run, found.students), files=files, document=found)


def carry_out(
    planned: Plan,
    run: RunFolder,
    progress: Progress,
    *,
    device: Accelerator | None = None,
    command: str | None = None,
    since: float | None = None,
) -> Report:
    """Runs what is not finished yet of a plan and gives the report.

    `run.json` says afterwards how it ended: done, interrupted or failed.

    Raises:
        HeldError: another process works on this run.
    """
    with run.held():
        return _carry_out(planned, run, progress, device=device or accelerator(), command=command, since=since)


def _carry_out(
    planned: Plan, run: RunFolder, progress: Progress, *, device: Accelerator, command: str | None, since: float | None
) -> Report:
    planned = replace(planned, dataset=planned.dataset.keeping(progress))
    dataset, recipe = planned.dataset, planned.recipe
    same_data(run, dataset)
    if not run.recipe.is_file():
        write_text(run.recipe, recipe.to_yaml())
        run.update(command=command, budget=planned.budget)  # a resume keeps the first ones
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
    run.took("start", 0.0 if since is None else monotonic() - since)
    try:
        over = _for_budget(planned, run, device, progress)
        if recipe.evaluation.shift:
            with run.timed("shift"):
                write_json(run.shift, shift_of(run, dataset, progress, str(device.device)))
        if over is not None:  # the report is written all the same
            build.write(run, dataset)
            raise over
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


def _for_budget(planned: Plan, run: RunFolder, device: Accelerator, progress: Progress) -> CompressorError | None:
    """Makes students until one keeps to the recipe's budget, or the one where there is none; what is wrong where none does."""
    while True:
        kept.tidied(planned, run)
        planned = _made(planned, run, device, progress)
        try:
            further = kept.following(planned, run, progress)
        except CompressorError as error:
            return error
        if further is None:
            return None
        planned = further


def _made(planned: Plan, run: RunFolder, device: Accelerator, progress: Progress) -> Plan:
    """Trains what is not trained yet, exports what ships and measures it; the plan with what was settled on the way."""
    planned, results = train(planned, run, device, progress)
    recipe, dataset = planned.recipe, planned.dataset
    with run.timed("export"):
        ship(run, results, recipe.ship, progress)
        files = export_run(planned, run, results, progress)
    origin = exported.measured_from(files, recipe.benchmark)
    with run.timed("benchmark"):
        if not exported.is_measured(run, origin):
            measured = document(
                files, recipe.benchmark, progress,
                seen=saved_predictions(files), classes=dataset.classes, data=f"{dataset.fingerprint}/test",
                foretold=foretold(run),
            )  # fmt: skip
            write_json(run.benchmark, finite(measured) | {"made_from": origin})
    continuing.collect(run, results, dataset, progress)
    return planned


def same_data(run: RunFolder, dataset: Dataset) -> None:
    """Refuses to go on with other data: the splits would be drawn anew, and models have seen the new test samples."""
    entry = run.read().dataset if run.note.is_file() else None
    known = entry.fingerprint if entry else None
    if known is not None and not dataset.unchanged_since(known):
        raise UsageError(
            f"the data in '{dataset.name}' have changed since run '{run.path}' began, and so have its splits.\n"
            "Put them back as they were, or start a new run."
        )


def dataset_entry(dataset: Dataset) -> DatasetEntry:
    """What `run.json` and the report say of the data."""
    counts = {name: len(dataset.splits.get(name, ())) for name in ("train", "validation", "test", "unlabeled")}
    return DatasetEntry(
        name=dataset.name, classes=dataset.classes, **counts, rows=dataset.rows, fingerprint=dataset.fingerprint,
        unused=dataset.unused, notes=dataset.notes,
    )  # fmt: skip
