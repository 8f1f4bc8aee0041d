"""From finished stages to what ships: the best seed's weights, exported files, their entries in the run."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compressor import runfolder
from compressor.artifact.preprocessing import to_pixels
from compressor.benchmarking.document import Benchmark
from compressor.data.dataset import Dataset, stratified
from compressor.distillation.chain import Result
from compressor.errors import CompressorError, UsageError
from compressor.evaluation import metrics
from compressor.evaluation.predictions import predict_artifact, saved_at
from compressor.exporting import export as exporting
from compressor.files import read_document, read_documents, write_json
from compressor.models import checkpoint
from compressor.models.checkpoint import Card
from compressor.progress import Progress
from compressor.quantization.config import ArtifactsConfig
from compressor.quantization.cpus import open_artifact
from compressor.quantization.document import ArtifactEntry
from compressor.recipe import checked
from compressor.recipe import load as load_recipe
from compressor.reporting import build
from compressor.runfolder import RunFolder
from compressor.workflows import int8
from compressor.workflows.evaluate import data_for
from compressor.workflows.plan import Plan

Results = dict[tuple[str, int], list[Result]]
"""(role, seed) → the results of that role's stages, in the chain's order."""


def best_seed(results: Results) -> int:
    """The student seed with the best validation accuracy (then NLL); test is not looked at."""
    students = {seed: found[0].card for (role, seed), found in results.items() if role == "student"}

    def rank(seed: int) -> tuple[float, float]:
        seen = students[seed].validation or {}
        return -seen.get("top1", 0.0), seen.get("nll", 0.0)

    return min(students, key=rank)


def ship(planned: Plan, run: RunFolder, results: Results) -> None:
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


def export_run(planned: Plan, run: RunFolder, results: Results, progress: Progress) -> dict[str, Path]:
    """Exports the shipped student in all precisions and the teacher in fp32; label → file.

    An int8 file that the ladder refuses is a notice: hours of training must not end here.
    """
    recipe, dataset = planned.recipe, planned.dataset
    seed = best_seed(results)
    student = results["student", seed][0]
    stage = planned.stages[0]
    teacher = results["teacher", stage.seeds[0]][0]
    teacher_file = run.stage(0, "teacher", stage.model, stage.seeds[0]) / "model.onnx"
    wanted = [(student, run.artifact(p), p) for p in ordered(recipe.export.precisions)]
    wanted.append((teacher, teacher_file, "fp32"))
    files: dict[str, Path] = {}
    for result, path, precision in wanted:
        try:
            entry = export_one(
                result.model(), result.card, path, precision=precision, config=recipe.export, dataset=dataset,
                run=run, recipe=recipe.fingerprint, progress=progress,
                fp32=files.get(run.artifact("fp32").name) if precision == "int8" else None,
            )  # fmt: skip
        except CompressorError as error:
            if result is student and precision != "int8":
                raise
            what = "no int8 file was made" if result is student else "the teacher was not exported, so it is not timed"
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
) -> ArtifactEntry:
    """One file through the gate (int8: up the ladder) and over the test split; its entry joins `exports.json`.

    An int8 file that no rung of the ladder allows has None for its `file`. `fp32` is the float file that it is made
    from, where that has just been exported.
    """
    progress.say(f"exporting {card.role} {card.architecture.name} ({precision})")
    before = _digest(path)
    pixels = validation_pixels(dataset, card, config.parity_samples)
    label = str(path.relative_to(run.path)) if run and path.is_relative_to(run.path) else str(path)
    entry = ArtifactEntry(file=label, role=card.role, precision=precision, opset=config.opset)
    if precision == "int8":
        made = int8.Making(
            model=model, card=card, path=path, config=config, dataset=dataset, run=run, recipe=recipe, pixels=pixels,
            fp32=fp32,
        )  # fmt: skip
        outcome = int8.make(made, progress)
        if run is not None and path.is_relative_to(run.path):
            write_json(run.int8, outcome.document())
        entry = entry.model_copy(update={"int8": outcome.document()})
        if outcome.chosen is None or outcome.parity is None:
            saved_at(path).unlink(missing_ok=True)
            path.unlink(missing_ok=True)  # one from an earlier export would be taken for this one
            _list(run, path, label, None)
            _forget(run, label, progress)
            return entry.model_copy(update={"file": None})
        seen_parity = outcome.parity
    else:
        seen_parity = exporting.export(
            model, card, path, precision=precision, config=config, pixels=pixels, recipe=recipe, progress=progress
        ).parity
    if before not in (None, _digest(path)):
        _forget(run, label, progress)
    seen = predict_artifact(open_artifact(path, progress), dataset, "test")
    if run is not None:
        seen.save(saved_at(path))
    measured = {
        "bytes": path.stat().st_size,
        "top1": metrics.top_k(seen.labels, seen.logits, 1),
        "ece": metrics.ece(seen.labels, seen.logits),
        "parity": seen_parity,
    }
    entry = entry.model_copy(update=measured)
    _list(run, path, label, entry)
    return entry


def _list(run: RunFolder | None, path: Path, label: str, entry: ArtifactEntry | None) -> None:
    """Puts a file's entry into the run's `exports.json`, in the place of an older one."""
    if run is None or not path.is_relative_to(run.path):
        return
    others = read_documents(run.exports, ArtifactEntry) if run.exports.is_file() else []
    write_json(run.exports, [e for e in others if e.file != label] + ([entry] if entry else []))


def _digest(path: Path) -> str | None:
    return hashlib.blake2b(path.read_bytes()).hexdigest() if path.is_file() else None


def _forget(run: RunFolder | None, label: str, progress: Progress) -> None:
    """Drops what was measured of a file that is there no more; everything, where the others were compared with it."""
    if run is None or not run.benchmark.is_file():
        return
    measured = read_document(run.benchmark, Benchmark)
    if label not in measured.models:
        return
    progress.say(f"{label} is no longer the file that was measured: compress benchmark {run.path}")
    if label == measured.reference:
        run.benchmark.unlink()
        return
    left = {
        "models": {name: facts for name, facts in measured.models.items() if name != label},
        "rows": [row for row in measured.rows if row.file != label],
        "verdicts": [v for v in measured.verdicts if label not in (v.file, v.against)],
    }
    write_json(run.benchmark, measured.model_copy(update=left))


def export_source(
    source: str | None, values: dict[str, Any], *, output: Path | None, data: str | None, progress: Progress
) -> list[ArtifactEntry]:
    """`compress export`: a run's shipped student, or a checkpoint with images for the gate.

    Raises:
        UsageError: nothing there to export, or a checkpoint without images.
    """
    config = checked(ArtifactsConfig, **values)
    path = Path(source) if source else runfolder.newest().path
    run = None
    if not (path.suffix == ".safetensors" or (path / checkpoint.CARD).is_file()):
        run = runfolder.open_run(path)
        path = run.path
    model, card = checkpoint.load(path)
    dataset, _ = data_for(path, card.dataset, data, "test", progress)
    if run is not None and dataset.content != card.dataset.get("content", dataset.content):
        raise UsageError(
            f"the images in '{data or dataset.name}' are not those that run '{run.path}' was trained and measured on.\n"
            f"Export its checkpoint with them: compress export {run.student} --data ... --output ..."
        )
    if output is None:
        output = run.path if run else path.parent if path.is_file() else path
    if output.suffix == ".onnx" and len(config.precisions) > 1:
        raise UsageError(f"--output {output} is one file and {len(config.precisions)} precisions are asked for")
    entries = []
    floats: Path | None = None
    for precision in ordered(config.precisions):
        target = output if output.suffix == ".onnx" else RunFolder(output).artifact(precision)
        entries.append(
            export_one(
                model, card, target, precision=precision, config=config, dataset=dataset, run=run,
                recipe=load_recipe(run.recipe).fingerprint if run and run.recipe.is_file() else None,
                progress=progress,
                fp32=floats,
            )
        )  # fmt: skip
        floats = target if precision == "fp32" else floats
    if run is not None and run.stages():
        build.write(run)
    return entries
