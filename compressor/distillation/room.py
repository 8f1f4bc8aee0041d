"""What stores would take on disk, before anything is asked or stored, and what happens where there is no room."""

from __future__ import annotations

from compressor.data.dataset import Dataset
from compressor.distillation import targets
from compressor.distillation.acquire import Start
from compressor.distillation.config import StageConfig
from compressor.distillation.teacher import FrozenTeacher, wire
from compressor.objectives.objective import STORABLE, dense, needs


def target_bytes(student: Start, teacher: FrozenTeacher, dataset: Dataset, config: StageConfig, *, epochs: int) -> int:
    """Bytes of the store that the stage would learn from; 0 where its teacher is live by its recipe.

    More than `stage.targets.cache_limit` will not be stored: the teacher is then asked in every step.
    """
    wanted = needs(config.objective)
    if not config.targets.store or not wanted or wanted - STORABLE:
        return 0
    wiring = wire(student.model, student.preprocessing, teacher, config.objective)
    store, _ = targets.describe(
        teacher, dataset, config.targets, embedding="embedding" in wanted, precision="fp32",
        dense=dense(config.objective), attention=wiring.teacher_taps, power=wiring.power,
    )  # fmt: skip
    return store.bytes(epochs if config.targets.views == "all" else min(config.targets.views, epochs))


def no_room_for_targets(label: str, needed: int, config: StageConfig, *, epochs: int) -> str | None:
    """What happens to a stage whose targets are too large, and what would fit; None where they fit."""
    limit = config.targets.cache_limit
    if needed <= limit * 1e9:
        return None
    views = epochs if config.targets.views == "all" else min(config.targets.views, epochs)
    fitting = int(limit * 1e9 / (needed / views))
    text = (
        f"{label}: the teacher's answers for {views} view(s) would take {needed / 1e9:.1f} GB and "
        f"stage.targets.cache_limit is {limit:g} GB, so it is asked in every step"
    )
    return text + (f"; {fitting} view(s) would fit (stage.targets.views)" if fitting else "")


def no_room_for_images(needed: int, limit: float) -> str | None:
    """What happens to images that are too large together (bytes, GB); None where they fit."""
    if needed <= limit * 1e9:
        return None
    return (
        f"the decoded images would take {needed / 1e9:.1f} GB and data.decoded_limit is {limit:g} GB, "
        "so they are decoded in every epoch"
    )
