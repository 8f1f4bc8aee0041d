"""The one-way street of `distill`: plan → data → teacher → chain → export → benchmark → report."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from compressor import runfolder
from compressor.artifact import session
from compressor.artifact.preprocessing import to_pixels
from compressor.benchmarking import host
from compressor.benchmarking.child import peak_rss_mb
from compressor.benchmarking.measure import document
from compressor.data.dataset import Dataset, stratified
from compressor.data.decoded import with_decoded
from compressor.data.load import load_dataset
from compressor.device import checked, data_for
from compressor.distillation import chain
from compressor.distillation.chain import Result, Start
from compressor.distillation.config import StageConfig
from compressor.distillation.teacher import FrozenTeacher
from compressor.errors import CompressorError, UsageError, nearest
from compressor.evaluation import metrics
from compressor.evaluation.predictions import predict_artifact
from compressor.export import onnx as exporting
from compressor.export.config import ExportConfig
from compressor.models import checkpoint, cost
from compressor.models.checkpoint import Card
from compressor.models.names import locate, resolve
from compressor.objectives.objective import STORABLE, active, needs, without_teacher
from compressor.recipe import ROLES, Recipe
from compressor.recipe import load as load_recipe
from compressor.reporting import build
from compressor.runfolder import RunFolder
from compressor.runtime import Progress, versions, write_json, write_text


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One training of the chain (the teacher's may turn out to need none)."""

    index: int
    role: str
    model: str
    epochs: int
    config: StageConfig
    seeds: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A resolved recipe, its data and its stages; nothing has been trained yet."""

    recipe: Recipe
    dataset: Dataset
    stages: tuple[Stage, ...]

    def stage(self, role: str) -> Stage | None:
        """The first stage of a role."""
        return next((s for s in self.stages if s.role == role), None)


def plan(recipe: Recipe, progress: Progress) -> Plan:
    """Resolves names and everything `auto`, and reads the data.

    Raises:
        UsageError: an unknown model, an override for nobody, or data that can't be trained on.
    """
    source = locate(recipe.teacher.model, role="teacher")
    student = resolve(recipe.student.model, role="student")
    assistants = [] if recipe.assistants == "none" else [resolve(a, role="assistant") for a in recipe.assistants]
    teacher = source.timm_name or recipe.teacher.model
    if source.path is not None:
        teacher = str(source.path.resolve())
    for spelled, name in ((recipe.teacher.model, teacher), (recipe.student.model, student)):
        if spelled != name and source.path is None:
            progress.say(f"{spelled} → {name}")
    _check_overrides(recipe, [teacher, student, *assistants])
    dataset = load_dataset(recipe.data, progress)
    for note in dataset.notes:
        progress.say(note)
    if dataset.unreadable:
        named = ", ".join(dataset.unreadable[:5]) + (" …" if len(dataset.unreadable) > 5 else "")
        progress.say(f"skipped {len(dataset.unreadable)} unreadable image(s): {named}")
    resolved = recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update={"image_size": dataset.image_size, "augment": dataset.augment}),
            "teacher": recipe.teacher.model_copy(update={"model": teacher}),
            "student": recipe.student.model_copy(update={"model": student}),
            "assistants": assistants or "none",
            "stage": recipe.stage.model_copy(
                update={"epochs": dataset.epochs if recipe.stage.epochs == "auto" else recipe.stage.epochs}
            ),
        }
    )
    resolved = resolved.model_copy(
        update={"teacher": resolved.teacher.model_copy(update={"epochs": _teacher_epochs(recipe, resolved, dataset)})}
    )
    return Plan(recipe=resolved, dataset=dataset, stages=tuple(_stages(resolved, teacher, student, assistants)))


def _teacher_epochs(asked: Recipe, resolved: Recipe, dataset: Dataset) -> int:
    if asked.teacher.epochs is not None:
        return asked.teacher.epochs
    stage = resolved.stage_for("teacher", resolved.teacher.model)
    if asked.stage.epochs == "auto" and "epochs" not in asked.overrides.get("teacher", {}):
        return dataset.teacher_epochs
    assert isinstance(stage.epochs, int)
    return stage.epochs


def _check_overrides(recipe: Recipe, models: list[str]) -> None:
    for name in recipe.overrides:
        if name not in ROLES and name not in models:
            close = nearest(name, [*ROLES, *models], 1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise UsageError(
                f"overrides.{name} is for nobody in this run{hint}\n"
                f"Give a role ({', '.join(ROLES)}) or one of its models: {', '.join(models)}."
            )


def _stages(recipe: Recipe, teacher: str, student: str, assistants: list[str]) -> Iterator[Stage]:
    seeds = tuple(range(recipe.seed, recipe.seed + recipe.seeds))
    rows = [("teacher", teacher, seeds[:1]), *(("assistant", a, seeds[:1]) for a in assistants)]
    rows.append(("student", student, seeds))
    if recipe.baseline:
        rows.append(("baseline", student, seeds))
    for index, (role, model, own) in enumerate(rows):
        config = recipe.stage_for(role, model)
        epochs = recipe.teacher.epochs if role == "teacher" else config.epochs
        assert isinstance(epochs, int)
        yield Stage(index=index, role=role, model=model, epochs=epochs, config=config, seeds=own)


def accelerator(device: str = "auto") -> Accelerator:
    """The process's one Accelerator: `auto`, `cpu` or `cuda` and, under `accelerate launch`, its companions.

    Raises:
        UsageError: cuda was asked for and is absent, or the name is unknown.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"unknown device '{device}' (available: auto, cpu, cuda)")
    if device == "cuda" and not torch.cuda.is_available():
        built = "this torch was built without CUDA" if torch.version.cuda is None else "torch sees no NVIDIA GPU"
        raise UsageError(f"--device cuda: {built}. Use --device cpu, or `compress doctor` to see what is missing.")
    return Accelerator(cpu=device == "cpu")


def run_name(planned: Plan) -> str:
    """`teacher-student-data`."""
    recipe = planned.recipe
    return f"{_stage_name(recipe.teacher.model)}-{recipe.student.model}-{planned.dataset.name}"


def distill(planned: Plan, run: RunFolder, progress: Progress, *, device: Accelerator | None = None) -> dict[str, Any]:
    """Runs what is not finished yet of a plan and gives the report.

    `run.json` says afterwards how it ended: done, interrupted or failed.
    """
    device = device or accelerator()
    dataset, recipe = planned.dataset, planned.recipe
    if not run.recipe.is_file():
        write_text(run.recipe, recipe.to_yaml())
    run.update(
        name=run.path.name,
        status="running",
        command=shlex.join(["compress", *sys.argv[1:]]),
        recipe=recipe.fingerprint,
        dataset=_dataset_entry(dataset),
        seeds=[recipe.seed + k for k in range(recipe.seeds)],
        versions=versions(),
        host=host.fingerprint(),
        device=str(device.device),
    )
    try:
        results = train(planned, run, device, progress)
        ship(planned, run, results)
        files = export_run(planned, run, results, progress)
        write_json(run.benchmark, document(files, recipe.benchmark, progress))
        run.update(status="done", finished=runfolder.now())
        return build.write(run)
    except KeyboardInterrupt:
        run.update(status="interrupted")
        raise
    except BaseException as error:
        run.update(status="failed", error=str(error))
        raise


def _dataset_entry(dataset: Dataset) -> dict[str, Any]:
    counts = {name: len(dataset.splits[name]) for name in ("train", "validation", "test")}
    return {"name": dataset.name, "classes": dataset.classes, **counts, "fingerprint": dataset.fingerprint}


def train(
    planned: Plan, run: RunFolder, device: Accelerator, progress: Progress
) -> dict[tuple[str, int], list[Result]]:
    """Every stage's result: (role, seed) → results; finished stages are read back, not repeated."""
    results: dict[tuple[str, int], list[Result]] = {}
    teacher: Result | None = None
    for index in range(len(planned.stages)):
        if teacher is not None:
            planned = _decide_precision(planned, run, teacher, device, progress)
        stage = planned.stages[index]
        for seed in stage.seeds:
            folder = run.stage(stage.index, stage.role, _stage_name(stage.model), seed)
            result = chain.finished(folder)
            if result is None:
                largest = max(planned.dataset.image_size, teacher.card.preprocessing.size if teacher else 0)
                dataset = with_decoded(planned.dataset, largest, progress)
                result = _train_one(replace(planned, dataset=dataset), stage, seed, teacher, folder, device, progress)
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
    recipe, dataset = planned.recipe, planned.dataset
    begin = _begin(planned, stage, seed, device.device)
    if begin.notice:
        progress.say(begin.notice)
    guide = None
    if stage.role in ("assistant", "student"):
        assert teacher is not None
        guide = chain.prepare_teacher(
            teacher.as_teacher(calibrate=recipe.teacher.calibrate), dataset, stage.config, epochs=stage.epochs,
            label=f"{teacher.card.role} {teacher.card.architecture.name}", device=device.device, progress=progress,
        )  # fmt: skip
    return chain.run_stage(
        begin,
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


def _begin(planned: Plan, stage: Stage, seed: int, device: torch.device) -> Start:
    recipe, dataset = planned.recipe, planned.dataset
    if stage.role == "teacher":
        return chain.acquire_teacher(recipe.teacher, dataset, seed=seed, device=device)
    init = "auto" if stage.role == "assistant" else recipe.student.init
    return chain.start(stage.model, init, dataset, role=stage.role, stem=recipe.student.stem, seed=seed)


def _decide_precision(planned: Plan, run: RunFolder, teacher: Result, device: Accelerator, progress: Progress) -> Plan:
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


def _stage_name(model: str) -> str:
    """A path's or hub model's last part: what a folder can be named after."""
    return Path(model).stem if "/" in model else model


def best_seed(results: dict[tuple[str, int], list[Result]]) -> int:
    """The student seed with the best validation accuracy (then NLL); test is not looked at."""
    students = {seed: found[0].card for (role, seed), found in results.items() if role == "student"}

    def rank(seed: int) -> tuple[float, float]:
        seen = students[seed].validation or {}
        return -seen.get("top1", 0.0), seen.get("nll", 0.0)

    return min(students, key=rank)


def ship(planned: Plan, run: RunFolder, results: dict[tuple[str, int], list[Result]]) -> None:
    """`student.safetensors` and `student.json`: the seed that is best on validation."""
    stage = planned.stage("student")
    assert stage is not None
    seed = best_seed(results)
    folder = run.stage(stage.index, stage.role, stage.model, seed)
    shutil.copyfile(folder / checkpoint.WEIGHTS, run.student)
    card: Card = results["student", seed][0].card
    write_json(run.student.with_suffix(".json"), card.model_dump(mode="json"))


def validation_pixels(dataset: Dataset, card: Card, count: int) -> np.ndarray:
    """(≤ count, size, size, 3) uint8: real validation images as the model wants them, spread over the classes."""
    indices = dataset.splits["validation"]
    chosen = indices[stratified(dataset.labels[indices], count, dataset.seed, "parity")]
    return np.stack([to_pixels(dataset.read(int(i)), card.preprocessing) for i in chosen])


def export_run(
    planned: Plan, run: RunFolder, results: dict[tuple[str, int], list[Result]], progress: Progress
) -> dict[str, Path]:
    """Exports the shipped student in all precisions and the teacher in fp32; label → file."""
    recipe, dataset = planned.recipe, planned.dataset
    seed = best_seed(results)
    student = results["student", seed][0]
    stage = planned.stages[0]
    teacher = results["teacher", stage.seeds[0]][0]
    teacher_file = run.stage(0, "teacher", _stage_name(stage.model), stage.seeds[0]) / "model.onnx"
    wanted = [(student, run.artifact(p), p) for p in recipe.export.precisions]
    wanted.append((teacher, teacher_file, "fp32"))
    for result, path, precision in wanted:
        export_one(
            result.model(), result.card, path, precision=precision, config=recipe.export, dataset=dataset,
            run=run, recipe=recipe.fingerprint, progress=progress,
        )  # fmt: skip
    return {str(path.relative_to(run.path)): path for _, path, _ in wanted}


def export_one(
    model: torch.nn.Module,
    card: Card,
    path: Path,
    *,
    precision: str,
    config: ExportConfig,
    dataset: Dataset,
    run: RunFolder | None,
    recipe: str | None,
    progress: Progress,
) -> dict[str, Any]:
    """One file through the gate and over the test split; its entry joins the run's `exports.json`."""
    progress.say(f"exporting {card.role} {card.architecture.name} ({precision})")
    pixels = validation_pixels(dataset, card, config.parity_samples)
    done = exporting.export(
        model, card, path, precision=precision, config=config, pixels=pixels, recipe=recipe, progress=progress
    )
    seen = predict_artifact(session.load(path), dataset, "test")
    label = str(path.relative_to(run.path)) if run and path.is_relative_to(run.path) else str(path)
    entry = {
        "file": label,
        "role": card.role,
        "precision": precision,
        "bytes": done.bytes,
        "opset": done.opset,
        "top1": metrics.top_k(seen.labels, seen.logits, 1),
        "ece": metrics.ece(seen.labels, seen.logits),
        "parity": done.parity.as_dict(),
    }
    if run is not None and path.is_relative_to(run.path):
        others = json.loads(run.exports.read_text()) if run.exports.is_file() else []
        write_json(run.exports, [e for e in others if e["file"] != label] + [entry])
    return entry


def resume(run: RunFolder) -> Recipe:
    """The recipe of a stopped run. Raises UsageError when it is already done."""
    if run.read().get("status") == "done":
        raise UsageError(f"run '{run.path}' is already done; `compress report {run.path}` shows it")
    if not run.recipe.is_file():
        raise CompressorError(f"run '{run.path}' has no recipe.yaml to resume from")
    return load_recipe(run.recipe)


def only_resume(given: dict[str, Any], settings: list[str] | None) -> None:
    """Raises UsageError when something is to be changed in a run that is continued."""
    if given or settings:
        names = ", ".join([*given, *(settings or [])])
        raise UsageError(f"--resume continues a run with its own recipe; drop {names}, or start a new run")


def estimate(planned: Plan, device: Accelerator, progress: Progress) -> dict[str, Any]:
    """What a run would take, from a few measured steps of each stage; leaves nothing behind."""
    stages: list[dict[str, Any]] = []
    teacher = None
    with progress.bar("measuring a few steps", len(planned.stages)) as bar:
        for stage in planned.stages:
            bar.advance(note=stage.model)
            begin = _begin(planned, stage, stage.seeds[0], device.device)
            own = teacher if stage.role in ("assistant", "student") else None
            seconds = 0.0
            if begin.training != "none":
                seconds = chain.rehearse(
                    begin, planned.dataset, stage.config, epochs=stage.epochs, seed=stage.seeds[0],
                    teacher=own, accelerator=device,
                )  # fmt: skip
            terms = stage.config.objective if own else without_teacher(stage.config.objective)
            reads = needs(terms)
            stages.append({
                "role": stage.role,
                "model": begin.architecture.name,
                "weights": begin.origin if begin.training != "none" else f"{begin.origin}, used as it is",
                "stem": begin.architecture.stem,
                "objective": " + ".join(f"{t.weight:g} {n}" for n, t in active(terms).items()),
                "reads": sorted(reads),
                "teacher_live": bool(reads - STORABLE),
                "params": cost.parameters(begin.model),
                "macs": cost.macs(begin.model, begin.preprocessing.size),
                "epochs": stage.epochs if begin.training != "none" else 0,
                "seeds": len(stage.seeds),
                "seconds": seconds * len(stage.seeds),
            })  # fmt: skip
            if stage.role in ("teacher", "assistant"):
                teacher = FrozenTeacher(begin.model, begin.preprocessing)
    # Weights of every stage and seed, the shipped copy, and the two exported graphs.
    megabytes = sum(4 * s["params"] * s["seeds"] for s in stages) / 1e6
    student = next(s["params"] for s in stages if s["role"] == "student")
    megabytes += 4 * (stages[0]["params"] + 2 * student) / 1e6
    counts = {name: len(planned.dataset.splits[name]) for name in ("train", "validation", "test")}
    return {
        "dataset": {"name": planned.dataset.name, "classes": planned.dataset.classes, **counts},
        "stages": stages,
        "seconds": sum(s["seconds"] for s in stages),
        "memory_mb": peak_rss_mb(),
        "disk_mb": megabytes,
    }


def export_source(
    source: str | None, values: dict[str, Any], *, output: Path | None, data: str | None, progress: Progress
) -> list[dict[str, Any]]:
    """`compress export`: a run's shipped student, or a checkpoint with images for the gate.

    Raises:
        UsageError: nothing there to export, or a checkpoint without images.
    """
    config = checked(ExportConfig, **values)
    path = Path(source) if source else runfolder.newest().path
    run = None
    if not (path.suffix == ".safetensors" or (path / checkpoint.CARD).is_file()):
        run = runfolder.open_run(path)
        path = run.path
    model, card = checkpoint.load(path)
    dataset, _ = data_for(path, card.dataset, data, "test", progress)
    if output is None:
        output = run.path if run else path.parent if path.is_file() else path
    if output.suffix == ".onnx" and len(config.precisions) > 1:
        raise UsageError(f"--output {output} is one file and {len(config.precisions)} precisions are asked for")
    entries = []
    for precision in config.precisions:
        target = output if output.suffix == ".onnx" else RunFolder(output).artifact(precision)
        entries.append(
            export_one(
                model, card, target, precision=precision, config=config, dataset=dataset, run=run,
                recipe=load_recipe(run.recipe).fingerprint if run and run.recipe.is_file() else None,
                progress=progress,
            )
        )  # fmt: skip
    if run is not None and run.stages():
        build.write(run)
    return entries
