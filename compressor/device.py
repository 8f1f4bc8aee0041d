"""What the device commands do: from what a person names to measurements, metrics and labels.

Beside `pipeline.py`, which is the street of `distill`; torch is only loaded for checkpoints.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from compressor import runfolder
from compressor.artifact import session
from compressor.artifact.preprocessing import Preprocessing, open_image, to_pixels
from compressor.artifact.session import Artifact
from compressor.data import shards
from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset
from compressor.data.folder import SUFFIXES
from compressor.data.load import SOURCES, load_dataset
from compressor.errors import ArtifactError, CompressorError, MissingExtraError, UsageError
from compressor.evaluation import metrics
from compressor.evaluation.predictions import Logits, Predictions, check_classes, predict
from compressor.evaluation.shift import under_shift
from compressor.quantization.types import TARGETS, runs_here
from compressor.recipe import load as load_recipe
from compressor.reporting import build, comparison, mistakes
from compressor.runfolder import RunFolder
from compressor.runtime import Progress, cache_dir, require, write_text

Config = TypeVar("Config", bound=BaseModel)

_OPTIONS = {"providers": "provider", "batches": "batch", "precisions": "precision"}
"""Keys that take several values, and the options that give them; the others have one name."""


def checked(kind: type[Config], **values: Any) -> Config:
    """A configuration from options. Raises UsageError naming the option that doesn't fit."""
    try:
        return kind(**values)
    except ValidationError as error:
        lines = []
        for e in error.errors():
            place = [str(part) for part in e["loc"]] or ["?"]
            key = place[1] if place[0] == "int8" and len(place) > 1 else place[0]
            option = _OPTIONS.get(key, key.replace("_", "-"))
            lines.append(f"--{option} {e.get('input')!r}: {e['msg']}")
        raise UsageError("\n".join(dict.fromkeys(lines))) from error


def numbers(text: str, option: str) -> list[int]:
    """`1,8` → [1, 8]. Raises UsageError."""
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise UsageError(f"{option} '{text}': give whole numbers from 1, separated by commas, such as 1,8")
    return found


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model to be evaluated, wherever it comes from."""

    path: Path
    logits: Logits
    preprocessing: Preprocessing
    classes: list[str]
    temperature: float | None
    trained_on: dict[str, Any] | None


def evaluate(
    model: str | None, *, data: str | None, split: str, provider: str, shift: bool = False, progress: Progress
) -> dict[str, Any]:
    """Metrics of an ONNX file, a run's student, or a checkpoint.

    With `shift`, the same under noise, blur, brightness and JPEG damage (`shift`: see `under_shift`); of a run
    its teacher and baseline too.

    Raises:
        UsageError: no such model or split, or the data has to be named.
    """
    if split not in ("auto", "train", "validation", "test", "all"):
        raise UsageError(f"unknown split '{split}' (available: auto, train, validation, test, all)")
    if model is None:
        run = runfolder.newest()
        model = str(run.artifact("fp32") if run.artifact("fp32").is_file() and not shift else run.path)
    path = Path(model)
    if path.suffix != ".onnx" and not path.exists():
        path = runfolder.open_run(path).path
    subject = _subject(path, provider, progress)
    dataset, split = data_for(path, subject.trained_on, data, split, progress)
    check_classes(subject.classes, dataset, str(path))
    seen = predict(subject.logits, dataset, split, subject.preprocessing)
    found: dict[str, Any] = {"model": model, "data": dataset.name, "split": split}
    found |= _figures(seen, dataset.classes, subject.temperature)
    if shift:
        several = {role: _subject(stage, provider, progress) for role, stage in _roles(path).items()} or {
            "model": subject
        }
        models = {role: (own.logits, own.preprocessing) for role, own in several.items()}
        found["shift"] = under_shift(models, dataset, split, progress)
    return found


def opened(path: Path, progress: Progress, provider: str = "cpu") -> Artifact:
    """An exported file; integers for another CPU, which this one would saturate, are simulated in float, exactly.

    Raises:
        ArtifactError, ProviderError: as `session.load`.
    """
    artifact = session.load(path, provider=provider)
    target = (artifact.metadata.int8 or {}).get("target")
    if not isinstance(target, str) or target not in TARGETS or runs_here(TARGETS[target].target):
        return artifact
    progress.say(f"{path} was made for {target}: its integers are simulated here")
    return session.load(path, provider=provider, fused=False)


def _subject(path: Path, provider: str, progress: Progress) -> Subject:
    if path.suffix == ".onnx":
        require("onnxruntime")
        artifact = opened(path, progress, provider)
        about = artifact.metadata
        return Subject(
            path=path, logits=lambda pixels: artifact.logits(pixels, about.preprocessing),
            preprocessing=about.preprocessing, classes=about.classes, temperature=about.temperature,
            trained_on=about.dataset,
        )  # fmt: skip
    require("torch", "timm", "safetensors")
    from compressor.evaluation.torch_predictor import logits_of
    from compressor.models import checkpoint

    model, card = checkpoint.load(path)
    return Subject(
        path=path, logits=logits_of(model, card.preprocessing), preprocessing=card.preprocessing,
        classes=card.classes, temperature=card.temperature, trained_on=card.dataset,
    )  # fmt: skip


def _roles(path: Path) -> dict[str, Path]:
    """Role → stage folder of a run's teacher, baseline and student, of the seed that ships; else nothing."""
    if not (path / "run.json").is_file():
        return {}
    roles = ("teacher", "student", "baseline")
    return {role: folder for role in roles if (folder := mistakes.of_role(RunFolder(path), role)) is not None}


def _figures(seen: Predictions, classes: list[str], temperature: float | None) -> dict[str, Any]:
    labels, logits = seen.labels, seen.logits
    return {
        "samples": len(labels),
        **metrics.summary(labels, logits),
        "ece_calibrated": metrics.ece(labels, logits, temperature=temperature) if temperature else None,
        "balanced_accuracy": metrics.balanced_accuracy(labels, logits),
        "per_class": dict(zip(classes, metrics.per_class(labels, logits, len(classes)), strict=True)),
    }


def data_for(
    model: Path, trained_on: dict[str, Any] | None, data: str | None, split: str, progress: Progress
) -> tuple[Dataset, str]:
    """The images to evaluate on, split as they were for training where they are the same images."""
    trained_on = trained_on or {}
    config = _recipe_data(model)
    if config is None:
        keys = ("seed", "validation", "test")
        try:
            config = DataConfig(**{k: trained_on[k] for k in keys if k in trained_on})
        except ValidationError as error:
            raise ArtifactError(
                f"{model} has damaged compressor metadata: dataset: {error.errors()[0]['msg']}"
            ) from error
        source = trained_on.get("name") if trained_on.get("name") in SOURCES else None
        if source is None and data is None:
            raise UsageError(
                f"{model} was trained on '{trained_on.get('name', 'unknown data')}', which is not here.\n"
                "Name the images: --data FOLDER"
            )
        config = config.model_copy(update={"source": source or config.source})
    if data is not None:
        config = config.model_copy(update={"source": data})
    dataset = load_dataset(config, progress)
    if config.limit is not None and dataset.content != trained_on.get("content"):  # of other images all count
        dataset = load_dataset(config.model_copy(update={"limit": None}), progress)
    if split == "auto":
        same = dataset.content == trained_on.get("content")
        split = "test" if same else "all"
        if not same:
            progress.say(
                "these are not exactly the images it was trained on: all are used, some of which it may have seen"
            )
    return dataset, split


def _recipe_data(model: Path) -> DataConfig | None:
    """What the run that `model` lies in says about its data."""
    for folder in (model, *model.parents):
        if (folder / "run.json").is_file() and (folder / "recipe.yaml").is_file():
            # Evaluation reads labels: images without any, which may be gone by now, are none of its business.
            return load_recipe(folder / "recipe.yaml").data.model_copy(update={"unlabeled": None})
    return None


def label(model: str, names: list[str], *, top: int, provider: str, progress: Progress) -> list[dict[str, Any]]:
    """Per image its `top` classes with calibrated probabilities, or why it could not be read.

    Raises:
        UsageError: no images.
        ArtifactError: the file is no self-describing ONNX file.
    """
    require("onnxruntime")
    path = Path(model)
    if path.suffix != ".onnx":
        path = runfolder.open_run(model).artifact("fp32")
        if not path.is_file():
            raise UsageError(f"run '{model}' has no exported file yet; make one: compress export {model}")
    artifact = opened(path, progress, provider)
    metadata = artifact.metadata
    answers: list[dict[str, Any]] = []
    for image in _images(names):
        try:
            pixels = to_pixels(open_image(image), metadata.preprocessing)
        except OSError as error:
            answers.append({"image": str(image), "error": str(error)})
            continue
        logits = artifact.logits(pixels[None], metadata.preprocessing)[0]
        if len(logits) != len(metadata.classes):
            raise CompressorError(f"{path} gives {len(logits)} logits for {len(metadata.classes)} classes")
        probabilities = session.softmax(logits, metadata.temperature or 1.0)
        best = np.argsort(-probabilities, kind="stable")[:top]
        found = [{"class": metadata.classes[i], "probability": float(probabilities[i])} for i in best]
        answers.append({"image": str(image), "classes": found})
    return answers


def _images(names: list[str]) -> list[Path]:
    found: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise UsageError(f"folder '{name}' holds no images ({', '.join(sorted(SUFFIXES))})")
            found += inside
        else:
            found.append(path)
    if not found:
        raise UsageError("no images given")
    return found


def rebuild(run: RunFolder, progress: Progress) -> dict[str, Any]:
    """A run's report, built anew; pictures for it are stored when they are missing and the images are at hand."""
    dataset = None
    config = _recipe_data(run.path)
    wanted = mistakes.teacher(run) and mistakes.shipped(run) and not (run.path / "examples.json").is_file()
    if config is not None and wanted:
        try:
            dataset = load_dataset(config, progress)
        except UsageError as error:
            progress.say(f"the report has no example images: {error}")
    return build.write(run, dataset)


def compare_runs(named: list[str], output: Path, progress: Progress) -> dict[str, Any]:
    """Several runs side by side; writes `comparison.md` and `comparison.html` into the folder `output`."""
    runs = [runfolder.open_run(name) for name in named]
    document = comparison.compare([(run, rebuild(run, progress)) for run in runs])
    write_text(output / "comparison.md", comparison.to_markdown(document))
    try:
        write_text(output / "comparison.html", comparison.to_html(document))
    except MissingExtraError as error:
        progress.say(f"comparison.html was not written: {error}")
    return document


def stores() -> list[dict[str, Any]]:
    """Every store in the cache: `name`, `kind`, `what`, `bytes`, `last_used`; the latest first."""
    found = []
    for kind in ("targets", "decoded"):
        for folder in (cache_dir() / kind).glob("*/"):
            about = folder / "about.json"
            note = json.loads(about.read_text()) if about.is_file() else {}
            what = f"{note['label']}, {note['views']} views of {note['rows']} samples" if note else "decoded images"
            used = datetime.fromtimestamp(shards.last_use(folder), UTC).isoformat(timespec="seconds")
            size = shards.used(folder)
            found.append({"name": folder.name, "kind": kind, "what": what, "bytes": size, "last_used": used})
    return sorted(found, key=lambda row: row["last_used"], reverse=True)


def remove_stores(names: list[str], *, everything: bool) -> list[dict[str, Any]]:
    """Removes stores by name or by the start of a name; gives what is gone.

    Raises:
        UsageError: nothing was named, a name fits no store, or a store is being filled.
    """
    here = stores()
    if not names and not everything:
        raise UsageError("name what to remove (`compress cache ls` lists it), or give --all")
    for name in names:
        if not any(row["name"].startswith(name) for row in here):
            raise UsageError(f"no store '{name}' in {cache_dir()}; `compress cache ls` lists what there is")
    chosen = [row for row in here if everything or any(row["name"].startswith(n) for n in names)]
    for row in chosen:
        if not shards.remove_unless_busy(cache_dir() / row["kind"] / row["name"]):
            raise UsageError(f"store '{row['name']}' is being filled by another process; wait for it or stop it")
    return chosen
