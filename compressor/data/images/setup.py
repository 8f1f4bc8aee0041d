"""What is settled for a set of images before any model sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import Image

from compressor.data.config import AugmentConfig, DataConfig


@dataclass(frozen=True, kw_only=True)
class ImageSetup:
    """`Dataset.setup` of images."""

    size: int
    """Height and width that models are trained at, pixels."""
    crop_pct: float = 1.0
    """Share of the resized short side that the centre crop keeps in evaluation."""
    interpolation: str = "bilinear"
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    in_memory: bool = False
    """Whether reading costs nothing: such images are not stored decoded."""
    stored: Callable[[int], Image.Image] | None = None
    """Sample → RGB image that views are made from, possibly smaller; None: what the dataset reads."""
    stored_side: int | None = None
    """Short side of stored images, pixels; None where views are made from the originals."""
    no_room: bool = False
    """Whether a decoded store was wanted and there was no room for it."""


def settle(config: DataConfig, *, size: int, augment: AugmentConfig, in_memory: bool = False) -> ImageSetup:
    """What the recipe says, else what suits the source: its `size` in pixels and its augmentation."""
    return ImageSetup(
        size=size if config.image_size == "auto" else config.image_size,
        crop_pct=config.crop_pct,
        interpolation=config.interpolation,
        augment=augment if config.augment == "auto" else config.augment,
        in_memory=in_memory,
    )
