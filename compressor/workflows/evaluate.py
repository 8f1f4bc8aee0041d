"""`evaluate`: metrics of a file, a run's student or a checkpoint. torch is only loaded for checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from compressor import runfolder
from compressor.artifact.metadata import TemperatureOf
from compressor.artifact.preprocessing import Preprocessing
from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset
from compressor.data.load import comes_along, load_dataset, modality_of
from compressor.display import surroundings
from compressor.errors import ArtifactError, UsageError
from compressor.evaluation.document import Evaluation, LanguageEvaluation, Shift
from compressor.evaluation.figures import figures
from compressor.evaluation.predictions import Predictor, check_data, predict
from compressor.evaluation.shift import under_shift
from compressor.evaluation.slices import Answers, slices
from compressor.modalities import modality
from compressor.packages import require
from compressor.progress import Progress
from compressor.quantization.cpus import open_artifact
from compressor.recipe import load as load_recipe
from compressor.reporting import screen
from compressor.reporting.screen import Block, Shown
from compressor.runfolder import RunFolder
from compressor.seeds import leaves_no_trace
from compressor.workflows import evaluate_lm


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model to be evaluated, wherever it comes from."""

    path: Path
    predictor: Predictor
    preprocessing: Preprocessing
    classes: list[str]
    temperature: float | None
    temperature_of: TemperatureOf | None
    trained_on: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class EvaluateResult(Shown):
    """A model's figures on a split."""

    document: Evaluation | LanguageEvaluation

    def blocks(self) -> list[Block]:
        """Figures, the worst classes, and those under damage; perplexity of a language model."""
        if isinstance(self.document, LanguageEvaluation):
            return screen.perplexity(self.document)
        return screen.evaluation(self.document)


@leaves_no_trace
def evaluate(
    model: str | Path | None = None,
    *,
    data: str | Path | None = None,
    split: str = "auto",
    provider: str = "cpu",
    shift: bool = False,
    progress: Progress | None = None,
) -> EvaluateResult:
    """Accuracy, calibration and per-class errors of an ONNX file, a run's student, or a checkpoint.

    Of a language model its perplexity and bits per byte on running text.

    Args: the options of `compress evaluate`.
        model: None: the newest run's student.
        split: test, validation, train, all; auto: test on its own data, all on others.
        shift: the same under its modality's damages; of a run its teacher and baseline too.

    Raises:
        UsageError: no such model or split, or the data has to be named.
    """
    progress = progress or surroundings()
    if split not in ("auto", "train", "validation", "test", "all"):
        raise UsageError(f"unknown split '{split}' (available: auto, train, validation, test, all)")
    if model is None:
        run = runfolder.newest()
        model = str(run.artifact("fp32") if run.artifact("fp32").is_file() and not shift else run.path)
    path = Path(model)
    data = None if data is None else str(data)
    if path.suffix != ".onnx" and ((path / "run.json").is_file() or not path.exists()):
        path = runfolder.open_run(path).path
    elif evaluate_lm.published(path):
        path = runfolder.exported(path)
    if writer := evaluate_lm.writer(path, provider):
        if shift:
            raise UsageError("--shift damages things that have a class; a language model's text has none")
        told = evaluate_lm.evaluate_writer(writer, str(model), recipe_data(path), data, split, progress)
        return EvaluateResult(document=told)
    subject = _subject(path, provider, progress)
    named = modality(subject.preprocessing.modality).task is None
    if named and data is not None and data.lower().endswith(".txt") and Path(data).expanduser().is_file():
        raise UsageError(f"{path} names classes, and '{data}' is running text without any: name data that have labels")
    dataset, split = data_for(path, subject.trained_on, data, split, progress)
    check_data(subject.preprocessing.modality, subject.classes, dataset, str(path))
    seen = predict(subject.predictor, dataset, split, subject.preprocessing)
    own = figures(seen, subject.temperature)
    classes = {} if dataset.tokens else dict(zip(dataset.classes, own.per_class, strict=True))
    found = Evaluation(
        model=str(model), data=dataset.name, split=split, temperature_of=subject.temperature_of,
        **own.model_dump(exclude={"per_class"}), per_class=classes,
        slices=slices(dataset.row_groups(seen.ids), [
            Answers(role="model", seed=None, predictions=seen, temperature=subject.temperature)
        ]),
    )  # fmt: skip
    if shift:
        several = _models(path, provider, progress) or {"model": subject}
        damaged = _under_shift(several, dataset, split, progress)
        found = found.model_copy(update={"shift": damaged.rows, "shift_mean": damaged.mean})
    return EvaluateResult(document=found)


def shift_of(run: RunFolder, dataset: Dataset, progress: Progress, device: str = "cpu") -> Shift:
    """A run's teacher, student and baseline, of the seed that ships, on damaged test samples. torch.

    Raises:
        UsageError: the run has no student yet, or these are not the samples and splits it was made with.
    """
    several = _models(run.path, "cpu", progress, device)
    if "student" not in several:
        raise UsageError(f"run '{run.path}' has no finished student yet; `compress distill --resume` goes on with it")
    own = several["student"].trained_on or {}
    if not dataset.known_as(own.get("content")) or own.get("split") != dataset.split_fingerprint:
        raise UsageError(
            f"the data in '{dataset.name}' have changed since run '{run.path}' was made: --shift needs its own test "
            "samples.\nOn other data: compress evaluate RUN --data FOLDER --shift"
        )
    return _under_shift(several, dataset, "test", progress)


def _under_shift(several: dict[str, Subject], dataset: Dataset, split: str, progress: Progress) -> Shift:
    models = {role: (own.predictor, own.preprocessing, own.temperature) for role, own in several.items()}
    return under_shift(models, dataset, split, progress)


def _models(path: Path, provider: str, progress: Progress, device: str = "cpu") -> dict[str, Subject]:
    """Role → a run's model; nothing where `path` is no run."""
    return {role: _subject(stage, provider, progress, device) for role, stage in _roles(path).items()}


def _subject(path: Path, provider: str, progress: Progress, device: str = "cpu") -> Subject:
    if path.suffix == ".onnx":
        require("onnxruntime")
        artifact = open_artifact(path, progress, provider)
        about = artifact.metadata
        return Subject(
            path=path, predictor=artifact.logits,
            preprocessing=about.preprocessing, classes=about.classes, temperature=about.temperature,
            temperature_of=about.temperature_of, trained_on=about.dataset,
        )  # fmt: skip
    require("torch", "timm", "safetensors")
    from compressor.evaluation.torch_predictor import predictor_of
    from compressor.models import checkpoint

    model, card = checkpoint.load(path)
    return Subject(
        path=path, predictor=predictor_of(model.to(device), card.preprocessing, device), preprocessing=card.preprocessing,
        classes=card.classes, temperature=card.temperature,
        temperature_of="model" if card.temperature else None, trained_on=card.dataset,
    )  # fmt: skip


def _roles(path: Path) -> dict[str, Path]:
    """Role → stage folder of a run's teacher, baseline and student, of the seed that ships; else nothing.

    A teacher without parameters is a table, which can't be shown a damaged thing.
    """
    if not (path / "run.json").is_file():
        return {}
    roles = ("teacher", "student", "baseline")
    run = RunFolder(path)
    found = {role: folder for role in roles if (folder := run.of_role(role)) is not None}
    return {role: folder for role, folder in found.items() if run.stage_note(folder).params is not None}


def data_for(
    model: Path,
    trained_on: dict[str, Any] | None,
    data: str | Path | None,
    split: str,
    progress: Progress,
    *,
    told: dict[str, Any] | None = None,
) -> tuple[Dataset, str]:
    """The data to evaluate on, split as they were for training where they are the same data.

    `told` is what the model itself says of how data are read: `task` and `options`.
    """
    trained_on = trained_on or {}
    config = recipe_data(model)
    if config is None:
        keys = ("seed", "validation", "test")
        try:
            config = DataConfig(**{k: trained_on[k] for k in keys if k in trained_on})
        except ValidationError as error:
            raise ArtifactError(
                f"{model} has damaged compressor metadata: dataset: {error.errors()[0]['msg']}"
            ) from error
        source = trained_on.get("name") if comes_along(str(trained_on.get("name"))) else None
        if source is None and data is None:
            raise UsageError(
                f"{model} was trained on '{trained_on.get('name', 'unknown data')}', which is not here.\n"
                "Name the data: --data FOLDER"
            )
        config = config.model_copy(update={"source": source or config.source})
    config = config.model_copy(update=told or {})
    if data is not None:
        source = str(data)
        # Of another modality, whose settings these are not:
        other = modality_of(source, config.task) != modality_of(config.source, config.task)
        config = config.model_copy(update={"source": source} | ({"options": {}} if other else {}))
    dataset = load_dataset(config, progress)
    if config.limit is not None and not dataset.known_as(trained_on.get("content")):  # of other data all count
        dataset = load_dataset(config.model_copy(update={"limit": None}), progress)
    if split == "auto":
        same = dataset.known_as(trained_on.get("content"))
        split = "test" if same else "all"
        if not same:
            progress.say(
                "these are not exactly the data it was trained on: all are used, some of which it may have seen"
            )
    return dataset, split


def recipe_data(model: Path) -> DataConfig | None:
    """What the run that `model` lies in says about its data."""
    for folder in (model, *model.parents):
        if (folder / "run.json").is_file() and (folder / "recipe.yaml").is_file():
            # Evaluation reads labels: samples without any, which may be gone by now, are none of its business.
            return load_recipe(folder / "recipe.yaml").data.model_copy(update={"unlabeled": None})
    return None
