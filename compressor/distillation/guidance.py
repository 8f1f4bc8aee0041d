"""Who teaches a student: the model before it, all models before it, or the teacher's own earlier weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from compressor.data.dataset import Dataset
from compressor.distillation import chain, stones, targets
from compressor.distillation.acquire import Start
from compressor.distillation.chain import Result
from compressor.distillation.config import Guidance, StageConfig
from compressor.distillation.guides import Mean, Route, turn
from compressor.distillation.job import Teacher
from compressor.distillation.teacher import FrozenTeacher
from compressor.progress import Progress


def guide(
    guidance: Guidance,
    earlier: Sequence[Result],
    student: Start,
    dataset: Dataset,
    config: StageConfig,
    *,
    epochs: int,
    calibrate: bool,
    device: torch.device,
    progress: Progress,
) -> Teacher:
    """What a stage learns from, stored where its objective and the room allow it.

    Args:
        guidance: see `recipe.guidance`.
        earlier: the finished teacher and assistants, in the chain's order.
        student: who learns.
        dataset: what it learns on, unlabelled samples among it.
        config: the stage's.
        epochs: of the stage.
        calibrate: whether each teacher's logits are divided by its temperature.

    Raises:
        UsageError: live teachers that see views of different sizes can't teach together.
    """
    parts = [(result.as_teacher(calibrate=calibrate), _name(result)) for result in _chosen(guidance, earlier)]
    if guidance in ("route", "snapshots"):
        parts = [*_stones(earlier[0], dataset, calibrate=calibrate, device=device), *parts]
        parts = parts[-epochs:] if guidance == "route" else parts  # in fewer epochs the earliest have no turn
        if len(parts) == 1:
            progress.say(f"{parts[0][1]} has no weights from earlier in its training: it teaches as it is")

    def prepared(index: int) -> FrozenTeacher | targets.StoredTeacher:
        teacher, label = parts[index]
        return chain.prepare_teacher(
            teacher, student, dataset, config,
            views=_views(guidance, config, epochs, index, len(parts)), label=label, device=device, progress=progress,
        )  # fmt: skip

    found = [prepared(index) for index in range(len(parts))]
    if len(found) == 1:
        return found[0]
    return Route(found) if guidance == "route" else Mean(found)


def _chosen(guidance: Guidance, earlier: Sequence[Result]) -> Sequence[Result]:
    return {"last": earlier[-1:], "all": earlier, "route": earlier[:1], "snapshots": earlier[:1]}[guidance]


def _name(result: Result) -> str:
    return f"{result.card.role} {result.card.architecture.name}"


def _stones(
    teacher: Result, dataset: Dataset, *, calibrate: bool, device: torch.device
) -> list[tuple[FrozenTeacher, str]]:
    found = stones.load(teacher.folder, teacher.card, dataset, calibrated=calibrate, device=device)
    names = [
        f"{_name(teacher)}, {path.stem.removeprefix('weights-')} % trained" for path in stones.kept(teacher.folder)
    ]
    return list(zip(found, names, strict=True))


def _views(guidance: Guidance, config: StageConfig, epochs: int, part: int, parts: int) -> range:
    """The views that a part is asked for: on a route only those of its own epochs, where each epoch has its own view."""
    if guidance != "route" or config.targets.views != "all":
        return range(targets.views_needed(config.targets, epochs))
    own = [epoch for epoch in range(epochs) if turn(epoch / epochs, parts) == part]
    return range(own[0], own[-1] + 1) if own else range(0)
