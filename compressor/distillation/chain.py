"""The chain: how a teacher is got, and how one stage is run or found finished."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import nn

from compressor.artifact.preprocessing import Preprocessing
from compressor.data.dataset import Dataset
from compressor.distillation import state, targets
from compressor.distillation.calibration import calibrate
from compressor.distillation.config import StageConfig
from compressor.distillation.fit import Job, Teacher, estimate_seconds, fit
from compressor.distillation.sources import GIVEN_FAMILIES, TableTeacher, frozen, held_out, refuse_seen, take
from compressor.distillation.teacher import FrozenTeacher, wire
from compressor.errors import CompressorError, UsageError
from compressor.evaluation import metrics
from compressor.evaluation.predictions import Predictions
from compressor.evaluation.torch_predictor import predict_model
from compressor.models import checkpoint, cost
from compressor.models.architecture import Architecture
from compressor.models.checkpoint import Card
from compressor.models.config import TeacherConfig
from compressor.models.family import family_of, first_family, resolve
from compressor.models.locate import GIVEN, HUB, locate
from compressor.models.weights import build, head_names, initialise, load_matching, read_state
from compressor.objectives.objective import STORABLE, dense, needs, without_teacher
from compressor.progress import Progress
from compressor.seeds import derive_seed, seed_everything

KNOWS = 5
"""Times as often right as guessing (or half of the time): a pretrained head that does better knows these classes."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """A model before its stage: weights, and whether they still have to be trained on this data."""

    model: nn.Module
    architecture: Architecture
    preprocessing: Preprocessing
    origin: str
    training: str
    """`none` (used as it is), `finetune` or `scratch`."""
    fresh_head: bool = False
    notice: str | None = None
    trusted: bool = True
    """Whether it is known not to have learnt from what is held out here for validation."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished stage: what is known of it. Its weights stay on disk until they are asked for."""

    card: Card
    validation: Predictions
    folder: Path

    def model(self) -> nn.Module:
        """The trained model, in eval mode, on the CPU."""
        return checkpoint.load(self.folder)[0]

    @property
    def given(self) -> bool:
        """Whether it came as a file that only answers."""
        return self.card.architecture.family in GIVEN_FAMILIES

    def as_teacher(self, *, calibrate: bool) -> FrozenTeacher:
        """The model, frozen, its logits divided by the temperature fitted on validation."""
        temperature = self.card.temperature if calibrate and self.card.temperature else 1.0
        return frozen(
            self.model(), self.card.preprocessing, temperature=temperature, architecture=self.card.architecture
        )


def start(name: str, init: str, dataset: Dataset, *, role: str, stem: str, seed: int) -> Start:
    """A model by its family's or a hub's name with its first weights; the same seed gives the same weights.

    Raises:
        CheckpointError: weights by path that do not fit, or that were trained on another split of this very data.
    """
    described = checkpoint.find(Path(init)) if init not in ("auto", "pretrained", "scratch") else None
    if described is not None:
        refuse_seen(checkpoint.read_card(described[1]), dataset, f"{role} weights '{init}'")
    kin = (
        resolve(name, role=role, modality=dataset.modality)[1]
        if not name.startswith(HUB)
        else first_family(dataset.modality)
    )
    architecture, preprocessing = kin.describe(name, classes=len(dataset.classes), setup=dataset.setup, stem=stem)
    seed_everything(derive_seed(seed, "init"))
    loaded = initialise(architecture, init, role=role)
    known = described is not None and held_out(checkpoint.read_card(described[1]), dataset)
    return Start(
        model=loaded.model,
        architecture=architecture,
        preprocessing=preprocessing,
        origin=loaded.origin,
        training="scratch" if loaded.origin == "scratch" else "finetune",
        fresh_head=loaded.origin != "scratch" and not loaded.head_fits,
        notice=loaded.notice,
        trusted=known or not loaded.head_fits or loaded.origin == "pretrained",
    )


def acquire_teacher(config: TeacherConfig, dataset: Dataset, *, seed: int, device: torch.device) -> Start:
    """The teacher as it can be had: a checkpoint, pretrained weights, or nothing but an architecture.

    Its head has to know the dataset's classes: where it doesn't, `training` says that it must learn them.

    Raises:
        UsageError: no such model, or a weights file whose architecture nobody named.
        CheckpointError: damaged, or trained on another split of this very data.
    """
    source = locate(config.model, role="teacher", modality=dataset.modality)
    if source.path is not None:
        if source.path.suffix.lower() in GIVEN:
            return Start(**vars(take(source.path, config, dataset)), origin=str(source.path), training="none")
        return _teacher_from_path(source.path, dataset, seed=seed)
    found = start(source.name or source.hub or "", config.init, dataset, role="teacher", stem=config.stem, seed=seed)
    if found.origin == "scratch" or found.fresh_head:
        return found
    # The head has the right number of outputs: whether they mean these classes, only accuracy can tell.
    seen = predict_model(found.model.to(device), dataset, "validation", found.preprocessing, device=device)
    if metrics.top_k(seen.labels, seen.logits, 1) > min(0.5, KNOWS / len(dataset.classes)):
        # Published weights that know these very classes may be of these very samples.
        return replace(found, training="none", trusted=found.trusted and found.origin != "pretrained")
    return found


def _teacher_from_path(path: Path, dataset: Dataset, *, seed: int) -> Start:
    if checkpoint.find(path) is None:
        if path.is_dir():
            raise UsageError(f"teacher '{path}' is a folder without a checkpoint or a finished run")
        raise UsageError(
            f"teacher '{path}' has no model card beside it, so its architecture is unknown.\n"
            f"Name it: --teacher resnet50 --set teacher.init={path}"
        )
    model, card = checkpoint.load(path)
    if card.modality != dataset.modality:
        raise UsageError(f"teacher '{path}' takes {card.modality}, and the data is {dataset.modality}")
    refuse_seen(card, dataset, f"teacher '{path}'")
    if card.classes == dataset.classes:
        return Start(
            model=model,
            architecture=card.architecture,
            preprocessing=card.preprocessing,
            origin=str(path),
            training="none",
            trusted=held_out(card, dataset),
        )
    architecture = card.architecture.with_classes(len(dataset.classes))
    seed_everything(derive_seed(seed, "init"))
    renewed = build(architecture)
    weights, _ = checkpoint.find(path) or (path, path)
    load_matching(renewed, _without_head(renewed, read_state(weights)), source=str(path))
    return Start(
        model=renewed,
        architecture=architecture,
        preprocessing=card.preprocessing,
        origin=str(path),
        training="finetune",
        fresh_head=True,
    )


def _without_head(model: nn.Module, state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Another set of classes needs a fresh head even where their number happens to agree."""
    head = head_names(model)
    return {k: v for k, v in state_dict.items() if k not in head}


def job_for(begin: Start, config: StageConfig, *, label: str, epochs: int, seed: int, teacher: Teacher | None) -> Job:
    """What training `begin` is; without a teacher the objective is the hard labels alone."""
    if teacher is None:
        config = config.model_copy(update={"objective": without_teacher(config.objective)})
    return Job(
        label=label,
        config=config,
        epochs=epochs,
        seed=seed,
        preprocessing=begin.preprocessing,
        teacher=teacher,
        finetuning=begin.training == "finetune",
        fresh_head=begin.fresh_head,
    )


def run_stage(
    begin: Start,
    dataset: Dataset,
    config: StageConfig,
    *,
    role: str,
    epochs: int,
    seed: int,
    teacher: Teacher | None,
    folder: Path,
    accelerator: Accelerator,
    progress: Progress,
) -> Result:
    """Trains what has to be trained, measures it, and leaves a checkpoint in `folder`.

    Without a teacher the objective is the hard labels alone.
    """
    model, trained = begin.model, None
    if begin.training != "none" and epochs > 0:
        label = f"{role} {begin.architecture.name}"
        job = job_for(begin, config, label=label, epochs=epochs, seed=seed, teacher=teacher)
        trained = fit(model, dataset, job, folder=folder, accelerator=accelerator, progress=progress)
    device = accelerator.device
    model.to(device)
    validation = predict_model(model, dataset, "validation", begin.preprocessing, device=device)
    test = predict_model(model, dataset, "test", begin.preprocessing, device=device)
    training = None
    if not begin.trusted:
        some = dataset.only("train", dataset.spread("train", len(dataset.splits["validation"]), "calibration"))
        training = predict_model(model, some, "train", begin.preprocessing, device=device)
    calibrated = calibrate(validation, training)
    params, macs = cost.known(model, family_of(model).example(begin.preprocessing, 1))
    card = Card(
        architecture=begin.architecture,
        classes=dataset.classes,
        modality=dataset.modality,
        preprocessing=begin.preprocessing,
        role=role,
        origin=begin.origin,
        seed=seed,
        dataset=dataset.card(),
        params=params,
        macs=macs,
        temperature=calibrated.temperature,
        trusted=begin.trusted,
        suspect=calibrated.suspect,
        calibration=calibrated.note,
        train_seconds=trained.seconds if trained else None,
        images_per_second=trained.samples_per_second if trained else None,
        validation=metrics.summary(validation.labels, validation.logits) if len(validation.labels) else None,
        top1=metrics.top_k(test.labels, test.logits, 1) if len(test.labels) else None,
    )
    test.save(folder / "predictions.npz")
    validation.save(folder / "validation.npz")
    checkpoint.save(folder, model, card)
    state.clear(folder / "state")
    return Result(card=card, validation=validation, folder=folder)


def fastest_precision(result: Result, dataset: Dataset, config: StageConfig, device: torch.device) -> str:
    """`bf16` or `fp32`: see `targets.fastest_precision`; a given teacher has one precision, its own."""
    if result.given:
        return "fp32"
    return targets.fastest_precision(result.as_teacher(calibrate=False), dataset, config.targets, device)


def prepare_teacher(
    teacher: FrozenTeacher,
    student: Start,
    dataset: Dataset,
    config: StageConfig,
    *,
    epochs: int,
    label: str,
    device: torch.device,
    progress: Progress,
) -> Teacher:
    """The teacher as its stored targets where the objective can live with them, else live."""
    if isinstance(teacher, TableTeacher):
        return teacher.of(dataset)
    objective = config.objective
    wanted = needs(objective)
    precision = config.targets.precision
    assert precision != "auto", "measured once per run, before the first student"
    teacher = teacher.in_precision(precision)
    if not config.targets.store or not wanted or wanted - STORABLE:
        return teacher
    wiring = wire(student.model, student.preprocessing, teacher, objective)
    store, about = targets.describe(
        teacher, dataset, config.targets, embedding="embedding" in wanted, precision=precision, dense=dense(objective),
        attention=wiring.teacher_taps, power=wiring.power,
    )  # fmt: skip
    views = epochs if config.targets.views == "all" else min(config.targets.views, epochs)
    try:
        return targets.fill(
            store, about, teacher, dataset, config.targets,
            views=views, label=label, device=device, progress=progress,
        )  # fmt: skip
    except CompressorError as error:
        progress.say(f"the teacher stays live: {error}")
        return teacher


def confident(teacher: FrozenTeacher, dataset: Dataset, threshold: float, device: torch.device) -> NDArray[np.int64]:
    """The unlabelled samples on which the teacher's calibrated top probability reaches `threshold` (0 … 1).

    Of several rows the least sure one decides.
    """
    indices = dataset.splits["unlabeled"]
    if isinstance(teacher, TableTeacher):
        indices = indices[teacher.model.rows([dataset.ids[i] for i in indices]) >= 0]
    if threshold == 0:
        return indices
    seen = predict_model(teacher.to(device).model, dataset, "unlabeled", teacher.preprocessing, device=device)
    sure = metrics.confidence(seen.logits, teacher.temperature).reshape(len(indices), -1).min(axis=1)
    chosen: NDArray[np.int64] = indices[sure >= threshold]
    return chosen


def stage_seconds(
    begin: Start,
    dataset: Dataset,
    config: StageConfig,
    *,
    epochs: int,
    seed: int,
    teacher: Teacher | None,
    accelerator: Accelerator,
) -> float:
    """Seconds that the stage would take, from a few real steps; the model's weights are moved by them."""
    job = job_for(begin, config, label="estimate", epochs=epochs, seed=seed, teacher=teacher)
    return estimate_seconds(begin.model, dataset, job, accelerator)


def finished(folder: Path) -> Result | None:
    """The stage that `run_stage` left in `folder`, or None where it did not come to its end."""
    if not (folder / checkpoint.CARD).is_file():
        return None
    card = checkpoint.read_card(folder / checkpoint.CARD)
    return Result(card=card, validation=Predictions.load(folder / "validation.npz"), folder=folder)


def calibration(result: Result) -> dict[str, Any]:
    """A model's accuracy and calibration on validation, before and after its temperature."""
    labels, logits = result.validation.labels, result.validation.logits
    if not len(labels):
        return {}
    temperature = result.card.temperature or 1.0
    return {
        "top1": metrics.top_k(labels, logits, 1),
        "ece": metrics.ece(labels, logits),
        "ece_calibrated": metrics.ece(labels, logits, temperature=temperature),
        "temperature": temperature,
        "chance": float(np.bincount(labels).max() / len(labels)),
    }
