"""What stores would take on disk, before anything is asked or stored, and what happens where there is no room."""

from __future__ import annotations

from compressor.data.dataset import Dataset
from compressor.distillation import targets
from compressor.distillation.acquire import Start
from compressor.distillation.config import StageConfig
from compressor.distillation.teacher import FrozenTeacher


def target_bytes(student: Start, teacher: FrozenTeacher, dataset: Dataset, config: StageConfig, *, epochs: int) -> int:
    """Bytes of the store that the stage would learn from; 0 where its teacher is live by its recipe.

    More than `stage.targets.cache_limit` will not be stored: the teacher is then asked in every step.
    """
    found = targets.store_of(teacher, student.model, student.preprocessing, dataset, config, precision="fp32")
    return found[0].bytes(targets.views_needed(config.targets, epochs)) if found else 0


def no_room_for_targets(label: str, needed: int, config: StageConfig, *, epochs: int) -> str | None:
    """What happens to a stage whose targets are too large, and what would fit; None where they fit."""
    limit = config.targets.cache_limit
    if needed <= limit * 1e9:
        return None
    views = targets.views_needed(config.targets, epochs)
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
