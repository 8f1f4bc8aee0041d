"""The chain: how one stage is run or found finished, and how a finished one teaches the next."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import nn

from compressor.data.dataset import Dataset
from compressor.data.kind import kind_of
from compressor.distillation import language, probe, state, stones, targets
from compressor.distillation.acquire import Start
from compressor.distillation.calibration import calibrate
from compressor.distillation.config import StageConfig
from compressor.distillation.fit import estimate_seconds, fit
from compressor.distillation.guides import wired
from compressor.distillation.job import Job, Teacher
from compressor.distillation.sources import GIVEN_FAMILIES, TableTeacher, frozen
from compressor.distillation.teacher import FrozenTeacher
from compressor.errors import CompressorError
from compressor.evaluation import metrics
from compressor.evaluation.predictions import Predictions
from compressor.evaluation.torch_predictor import predict_model
from compressor.models import checkpoint, cost, seen
from compressor.models.checkpoint import Card
from compressor.models.family import Known, family_of
from compressor.objectives.objective import without_teacher
from compressor.progress import Progress


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
    def known(self) -> Known:
        """What a student that is named by it has to know."""
        return Known(architecture=self.card.architecture, preprocessing=self.card.preprocessing, model=self.model)

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
        finetuning=begin.training in ("finetune", "head"),
        fresh_head=begin.fresh_head,
        only_head=begin.training == "head",
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
    settle: Callable[[int], None] | None = None,
) -> Result:
    """Trains what has to be trained, measures it, and leaves a checkpoint in `folder`.

    Without a teacher the objective is the hard labels alone. A training that has a save goes on as it was begun.
    `settle`: see `Job`.

    Raises:
        CompressorError: views or teacher are no longer what it was begun with; and see `fit`.
    """
    model, trained, untouched = begin.model, None, begin.training == "none"
    shown = [begin.seen, dataset.shown("train") if begin.training != "none" else None]
    label = f"{role} {begin.architecture.name}"
    known = state.begun(folder / "state")
    if known is not None or (begin.training != "none" and epochs > 0):
        begin = taken_up(begin, dataset, config, known, label=label, device=accelerator.device, progress=progress)
    if begin.training != "none" and epochs > 0:
        job = job_for(begin, config, label=label, epochs=epochs, seed=seed, teacher=teacher)
        kept = stones.places(folder, epochs) if role in stones.ROLES else {}
        job = replace(job, stones=kept, begun=how_begun(begin, dataset, teacher, known, label), settle=settle)
        trained = fit(model, dataset, job, folder=folder, accelerator=accelerator, progress=progress)
    model.to(device := accelerator.device)
    seen_of = partial(predict_model, model, dataset, preprocessing=begin.preprocessing, device=device)
    validation, test = seen_of("validation"), seen_of("test")
    calibrated = calibrate(validation, None if begin.trusted else _on_training(begin, dataset, device))
    params, macs = cost.known(model, family_of(model).example(begin.preprocessing, 1))
    card = Card(
        architecture=begin.architecture,
        classes=dataset.classes,
        modality=dataset.modality,
        preprocessing=begin.preprocessing,
        role=role,
        origin=begin.origin,
        seed=seed,
        dataset=dataset.card() | seen.write(folder, shown),
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
        language=language.figures(model, dataset, device, progress),
    )
    return _finish(folder, model, card, validation, test, stone_origin=begin.origin if untouched else None)


def _finish(
    folder: Path, model: nn.Module, card: Card, validation: Predictions, test: Predictions, *, stone_origin: str | None
) -> Result:
    """Leaves a stage's files, the card last; then the saves have served. Stepping stones come from where a teacher did."""
    test.save(folder / "predictions.npz")
    validation.save(folder / "validation.npz")
    if stone_origin is not None and card.role in stones.ROLES:
        stones.inherit(stone_origin, folder)
    checkpoint.save(folder, model, card)
    state.clear(folder / "state")
    return Result(card=card, validation=validation, folder=folder)


SETTLED = ("origin", "training", "fresh_head", "trusted")
"""What of a `Start` was found out by trying: a resume does not try again, when the hub may be there or gone."""


def how_begun(
    begin: Start, dataset: Dataset, teacher: Teacher | None, known: dict[str, Any] | None, label: str
) -> dict[str, Any]:
    """What a training's saves say of how it was begun.

    Raises:
        CompressorError: one that is `known` was begun with other views, or with exact answers instead of rounded ones.
    """
    now = {
        "start": {name: getattr(begin, name) for name in SETTLED},
        "views": json.loads(json.dumps(kind_of(dataset.modality).views_depend_on(dataset))),  # as it will be read back
        "taught": taught(teacher),
    }
    for key, what, store in (("views", "views", "data.decoded_limit"), ("taught", "teacher", "targets.cache_limit")):
        if known is not None and known[key] != now[key]:
            raise CompressorError(
                f"{label}: the {what} it began with ({known[key]}) can't be had any more (now: {now[key]}).\n"
                f"Where a store has no room, make some: {store} in the recipe, compress cache rm, or on the disk."
            )
    return now


def taught(teacher: Teacher | None) -> str | None:
    """How a teacher answers: `stored`, `live`, or None without one."""
    return None if teacher is None else "live" if isinstance(wired(teacher), FrozenTeacher) else "stored"


def unstored(config: StageConfig) -> StageConfig:
    """The same with the teacher live."""
    return config.model_copy(update={"targets": config.targets.model_copy(update={"store": False})})


def begun(folder: Path) -> dict[str, Any] | None:
    """How the training in a stage's `folder` was begun; None where it was not, or is finished."""
    return state.begun(folder / "state")


def _on_training(begin: Start, dataset: Dataset, device: torch.device) -> Predictions:
    """What a model says about as many training samples as there are for validation."""
    some = dataset.only("train", dataset.spread("train", len(dataset.splits["validation"]), "calibration"))
    return predict_model(begin.model, some, "train", begin.preprocessing, device=device)


def taken_up(
    begin: Start,
    dataset: Dataset,
    config: StageConfig,
    known: dict[str, Any] | None,
    *,
    label: str,
    device: torch.device,
    progress: Progress,
) -> Start:
    """Trained weights with a head fitted before they move, where one is wanted.

    `known` says how the training was begun, where it has a save: nothing is tried again then.
    """
    if known is not None:
        return replace(begin, **known["start"])
    if not (begin.fresh_head or begin.training == "head"):
        return begin
    moves = begin.training != "head"
    batches = moves and config.optimizer.statistics == "batch"
    probed = probe.fit_head(
        begin.model, dataset, begin.preprocessing, device=device, batches=batches, label=label, progress=progress
    )
    if probed is None:
        progress.say(
            f"{label}: the weights came without a head for this, and none can be fitted at once: it is trained here"
        )
        return begin
    progress.say(
        f"{label}: a head fitted on the untouched body is right on {probed.top1:.3f} of validation"
        + (" (with normalisation statistics of these data)" if probed.renewed else "")
    )
    return replace(begin, fresh_head=False, training=begin.training if moves else "none")


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
    views: range,
    label: str,
    device: torch.device,
    progress: Progress,
) -> FrozenTeacher | targets.StoredTeacher:
    """The teacher as its stored targets where the objective can live with them, else live.

    `views` are those that it will be asked for.
    """
    if isinstance(teacher, TableTeacher):
        return teacher.of(dataset)
    precision = config.targets.precision
    assert precision != "auto", "measured once per run, before the first student"
    teacher = teacher.in_precision(precision)
    found = targets.store_of(teacher, student.model, student.preprocessing, dataset, config, precision=precision)
    if found is None:
        return teacher
    try:
        return targets.fill(
            *found, teacher, dataset, config.targets,
            first=views.start, views=views.stop, label=label, device=device, progress=progress,
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
