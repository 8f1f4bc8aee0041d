"""From finished stages to what ships: the best seed's weights, exported files, their entries in the run."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from compressor import runfolder
from compressor.artifact.preprocessing import Inputs
from compressor.benchmarking.lengths import quantiles
from compressor.data.dataset import Dataset
from compressor.data.kind import kind_of
from compressor.display import surroundings
from compressor.distillation import acquire, chain, targets
from compressor.distillation.accelerator import accelerator
from compressor.errors import CompressorError, UsageError
from compressor.evaluation.figures import figures
from compressor.evaluation.predictions import predict_artifact, saved_at
from compressor.exporting import export as exporting
from compressor.files import write_json
from compressor.models import checkpoint
from compressor.models.checkpoint import Card
from compressor.models.text import gpt2_weights
from compressor.models.text.gpt2 import Gpt2, Gpt2Architecture
from compressor.options import checked, listed, options, whole
from compressor.packages import require
from compressor.progress import Progress
from compressor.quantization import int8
from compressor.quantization.config import ArtifactsConfig
from compressor.quantization.cpus import TARGETS, detect, open_artifact
from compressor.quantization.document import ArtifactEntry
from compressor.recipe import load as load_recipe
from compressor.recipe import merge
from compressor.reporting import build, screen
from compressor.reporting.screen import Block, Shown
from compressor.runfolder import RunFolder
from compressor.seeds import leaves_no_trace
from compressor.workflows import export_lm, exported, try_out
from compressor.workflows.evaluate import data_for
from compressor.workflows.plan import Plan
from compressor.workflows.ship import Results

MEASURED = 2000
"""Validation samples whose lengths are looked at, at most."""


def validation_inputs(dataset: Dataset, card: Card, count: int) -> Inputs:
    """At most `count` real validation samples as the model wants them, spread over the classes."""
    chosen = dataset.spread("validation", count, "parity")
    return dataset.some("validation", chosen, card.preprocessing)


def validation_lengths(dataset: Dataset, card: Card) -> list[int] | None:
    """Quantiles of how long validation samples are; None where all are of one size."""
    chosen = dataset.spread("validation", MEASURED, "lengths")
    found = card.preprocessing.lengths(dataset.read(int(i)) for i in chosen)
    return quantiles(found) if found else None


def export_run(planned: Plan, run: RunFolder, results: Results, progress: Progress) -> dict[str, Path]:
    """Exports the shipped student in all precisions and the teacher in fp32; label → file.

    An int8 file that the ladder refuses is a notice: hours of training must not end here.
    """
    recipe, dataset = planned.recipe, planned.dataset
    stage = planned.stage("teacher")
    assert stage is not None
    teacher = results["teacher", stage.seeds[0]][0]
    timed = teacher.card.params is not None  # what has no parameters is no model
    teacher_file = run.stage(stage.index, "teacher", stage.model, stage.seeds[0]) / "model.onnx"
    precisions = ordered(recipe.export.precisions)
    if isinstance(teacher.card.architecture, Gpt2Architecture) and "fp16" in precisions:
        progress.say("fp16: a language model is exported in fp32 or int8")
        precisions.remove("fp16")
    wanted = [(run.path, run.artifact(p), p) for p in precisions]
    wanted += [(teacher.folder, teacher_file, "fp32")] if timed else []
    files: dict[str, Path] = {}
    for source, path, precision in wanted:
        origin = exported.made_from(source, precision, recipe.export, dataset)
        if (known := exported.known(run, path, origin)) is not None:
            progress.say(f"{known} is already exported")
            files[known] = path
            continue
        model, card = checkpoint.load(source)
        try:
            entry = export_one(
                model, card, path, precision=precision, config=recipe.export, dataset=dataset,
                run=run, recipe=recipe.fingerprint, progress=progress, made_from=origin,
                fp32=files.get(run.artifact("fp32").name) if precision == "int8" else None,
            )  # fmt: skip
        except CompressorError as error:
            if source == run.path and precision != "int8":
                raise
            if source == run.path:  # another student's may lie there
                _removed(path, path.name, run, progress)
                run.int8.unlink(missing_ok=True)
            what = "no int8 file was made" if source == run.path else "the teacher was not exported, so it is not timed"
            progress.say(f"{what}: {error}")
            continue
        if entry.file is not None:
            files[entry.file] = path
        elif entry.int8 is not None:
            progress.say(f"no int8 file was made: {entry.int8.reason}")
    return files


def ordered(precisions: Sequence[str]) -> list[str]:
    """Each once, fp32 first: int8 is made from it."""
    return sorted(dict.fromkeys(precisions), key=lambda p: p != "fp32")


def export_one(
    model: torch.nn.Module,
    card: Card,
    path: Path,
    *,
    precision: str,
    config: ArtifactsConfig,
    dataset: Dataset,
    run: RunFolder | None,
    recipe: str | None,
    progress: Progress,
    fp32: Path | None = None,
    made_from: str | None = None,
) -> ArtifactEntry:
    """One file through the gate (int8: up the ladder) and over the test split; its entry joins `exports.json`.

    An int8 file that no rung of the ladder allows has None for its `file`. `fp32` is the float file that it is made
    from, where that has just been exported.
    """
    progress.say(f"exporting {card.role} {card.architecture.name} ({precision})")
    before = exported.digest(path)
    label = path.relative_to(run.path).as_posix() if run and path.is_relative_to(run.path) else path.as_posix()
    entry = ArtifactEntry(file=label, role=card.role, precision=precision, opset=config.opset)
    if isinstance(model, Gpt2):
        try:
            told = export_lm.export_trained(
                model, card, path, precision=precision, config=config, dataset=dataset, recipe=recipe, fp32=fp32, progress=progress,
            )  # fmt: skip
        except CompressorError:
            if precision == "int8":
                _removed(path, label, run, progress)
            raise
        return _listed(entry.model_copy(update=told), path, run, before, made_from, progress)
    inputs, lengths = validation_inputs(dataset, card, config.parity_samples), validation_lengths(dataset, card)
    if precision == "int8":
        if config.int8.qat and (run is None or not run.recipe.is_file()):
            raise UsageError("--qat needs the teacher of a run: export a run (compress export runs/NAME --qat)")
        job = int8.Int8Job(
            model=model, card=card, path=path, config=config, dataset=dataset, recipe=recipe, inputs=inputs, fp32=fp32,
            lengths=lengths,
        )  # fmt: skip
        fine_tuned = partial(_fine_tuned, job, run, progress) if run else None
        outcome = int8.make_int8(job, progress, fine_tuned=fine_tuned)
        if run is not None and path.is_relative_to(run.path):
            write_json(run.int8, outcome.document())
        entry = entry.model_copy(update={"int8": outcome.document()})
        if outcome.chosen is None or outcome.parity is None:
            _removed(path, label, run, progress)
            return entry.model_copy(update={"file": None})
        seen_parity = outcome.parity
    else:
        seen_parity = exporting.export(
            model, card, path, precision=precision, config=config, inputs=inputs, recipe=recipe, progress=progress,
            lengths=lengths,
        ).parity  # fmt: skip
    entry = entry.model_copy(update={"parity": seen_parity} | _measured(path, dataset, run, progress))
    return _listed(entry, path, run, before, made_from, progress)


def _removed(path: Path, label: str, run: RunFolder | None, progress: Progress) -> None:
    """Takes a file of an earlier export away, which would be taken for one that was refused."""
    saved_at(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    exported.enlist(run, path, label, None)
    exported.forget(run, label, progress)


def _listed(
    entry: ArtifactEntry,
    path: Path,
    run: RunFolder | None,
    before: str | None,
    made_from: str | None,
    progress: Progress,
) -> ArtifactEntry:
    """The entry with what says that the file need not be made again, in the run's `exports.json`."""
    label = str(entry.file)
    if before not in (None, exported.digest(path)):
        exported.forget(run, label, progress)
    entry = entry.model_copy(update={"made_from": made_from, "digest": exported.digest(path)})
    exported.enlist(run, path, label, entry)
    return entry


def _measured(path: Path, dataset: Dataset, run: RunFolder | None, progress: Progress) -> dict[str, Any]:
    """What a file weighs and comes to on test, for its entry; of a run its predictions are kept beside it."""
    artifact = open_artifact(path, progress)
    seen = predict_artifact(artifact, dataset, "test")
    if run is not None:
        seen.save(saved_at(path))
    about = artifact.metadata
    found = vars(figures(seen, about.temperature))
    keys = ("top1", "nll", "ece", "nll_calibrated", "ece_calibrated", "temperature")
    return {
        "bytes": path.stat().st_size, "temperature_of": about.temperature_of, **{key: found[key] for key in keys}
    }  # fmt: skip


def _fine_tuned(job: int8.Int8Job, run: RunFolder, progress: Progress) -> torch.nn.Module:
    """The student after a few epochs of fake quantisation under its own teacher's stored targets."""
    from compressor.quantization import qat

    recipe = load_recipe(run.recipe)
    found = [chain.finished(folder) for folder in run.stages()]
    teachers = [result for result in found if result is not None and result.card.role in ("teacher", "assistant")]
    if not teachers:
        raise UsageError(f"run '{run.path}' holds no teacher, which --qat needs")
    teacher = teachers[-1]  # the one that taught the student
    device = accelerator("cpu" if run.read().device == "cpu" else "auto")
    dataset = kind_of(job.dataset.modality).prepared(job.dataset, teacher.card.preprocessing, progress)
    stage = recipe.stage_for("student", job.card.architecture.name)
    if stage.targets.precision == "auto":  # a run that has not measured it
        stage = stage.model_copy(update={"targets": stage.targets.model_copy(update={"precision": "fp32"})})
    student = acquire.Start(
        model=job.model, architecture=job.card.architecture, preprocessing=job.card.preprocessing,
        origin=job.card.origin, training="finetune",
    )  # fmt: skip
    config = job.config.int8
    taught = chain.prepare_teacher(
        teacher.as_teacher(calibrate=recipe.teacher.calibrate), student, dataset, stage,
        views=range(targets.views_needed(stage.targets, config.qat_epochs)),
        label=f"{teacher.card.role} {teacher.card.architecture.name}", device=device.device, progress=progress,
    )  # fmt: skip
    types = TARGETS[detect() if config.target == "auto" else config.target]
    with tempfile.TemporaryDirectory() as folder:
        return qat.tune(
            job.model, job.card.preprocessing, dataset, stage=stage, config=config, types=types, teacher=taught,
            seed=recipe.seed, folder=Path(folder), accelerator=device, progress=progress,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ExportResult(Shown):
    """What was exported."""

    files: dict[str, Path]
    """Precision → file; one that the int8 ladder refused is not there."""
    document: list[ArtifactEntry]
    """An entry per precision asked for, refusals included."""

    def blocks(self) -> list[Block]:
        """Files with their parity, and the ladder."""
        return screen.exports(self.document)


@leaves_no_trace
def export(
    source: str | Path | None = None,
    *,
    precision: str | Sequence[str] | None = None,
    output: str | Path | None = None,
    opset: int | None = None,
    batch: int | str | None = None,
    uint8_input: bool | None = None,
    max_drop: float | None = None,
    target: str | None = None,
    qat: bool | None = None,
    allow_slower: bool | None = None,
    data: str | Path | None = None,
    progress: Progress | None = None,
    web: str | Path | None = None,
) -> ExportResult:
    """A run's shipped student, or a checkpoint, as ONNX files that reproduce it on real validation samples.

    Args: the options of `compress export`. What is None is as a run's own recipe says, else the default.
        source: a run, a checkpoint folder, weights with their card, or a folder with GPT-2; None: the newest run.
        data: samples for the gate, for a checkpoint outside a run; texts, for a language model.
        web: a folder for a page that runs the first of the files in a browser (`try_out`).

    Raises:
        UsageError: nothing there to export, or a checkpoint without data.
        ParityError: a file does not reproduce the model.
    """
    require("torch", "timm", "onnx", "onnxscript", "onnxruntime")
    progress = progress or surroundings()
    if web is not None:
        try_out.ready(Path(web))
    given = options(precisions=listed(precision), opset=opset, batch=whole(batch), uint8_input=uint8_input)
    int8_given = options(max_drop=max_drop, target=target, qat=qat, allow_slower=allow_slower)
    given |= {"int8": int8_given} if int8_given else {}
    checked(ArtifactsConfig, **given)
    if source is not None and gpt2_weights.claims(Path(source).expanduser()):
        files, entries = export_lm.export_folder(Path(source).expanduser(), output, data, given | int8_given, progress)
        return ExportResult(files=files, document=entries)
    path, run = _source(source)
    model, card = checkpoint.load(path)
    dataset, _ = data_for(path, card.dataset, data, "test", progress, told=export_lm.reads(path, card))
    recipe = load_recipe(run.recipe) if run and run.recipe.is_file() else None
    config = checked(ArtifactsConfig, **merge(recipe.export.model_dump() if recipe else {}, given))
    _same_data(run, card, dataset, data)
    folder = _target(output, run.path if run else path.parent if path.is_file() else path, len(config.precisions))
    entries, files = [], {}
    with run.held() if run else contextlib.nullcontext():
        for own in ordered(config.precisions):
            file = folder if folder.suffix == ".onnx" else RunFolder(folder).artifact(own)
            entry = export_one(
                model, card, file, precision=own, config=config, dataset=dataset, run=run,
                recipe=recipe.fingerprint if recipe else None, progress=progress, fp32=files.get("fp32"),
            )  # fmt: skip
            entries.append(entry)
            files |= {own: file} if entry.file else {}
        if run is not None and run.stages():
            build.write(run)
    if web is not None and files:
        progress.say(str(try_out.export_page(next(iter(files.values())), web, progress).blocks()[0]))
    return ExportResult(files=files, document=entries)


def _same_data(run: RunFolder | None, card: Card, dataset: Dataset, data: str | Path | None) -> None:
    """Raises UsageError where a run would be exported with other data than its own."""
    if run is not None and not dataset.known_as(card.dataset.get("content", dataset.content)):
        raise UsageError(
            f"the data in '{data or dataset.name}' are not those that run '{run.path}' was trained and measured on.\n"
            f"Export its checkpoint with them: compress export {run.student} --data ... --output ..."
        )


def _target(output: str | Path | None, own: Path, count: int) -> Path:
    """The file or the folder to export to. Raises UsageError for several files in one."""
    folder = Path(output) if output else own
    if folder.suffix == ".onnx" and count > 1:
        raise UsageError(f"--output {folder} is one file and {count} precisions are asked for")
    return folder


def _source(named: str | Path | None) -> tuple[Path, RunFolder | None]:
    """A checkpoint's path, and the run that it is the student of."""
    path = Path(named) if named else runfolder.newest().path
    if path.suffix == ".safetensors" or (path / checkpoint.CARD).is_file():
        return path, None
    run = runfolder.open_run(path)
    return run.path, run
