"""Augmented views of samples: each a pure function of (`data.seed`, sample, view number, size).

timm's transforms draw from the global generators of Python, torch and (auto-augment) numpy. Each view seeds them
from its own triple, and whoever asks for views gets the generators back as they were, so neither the
number of workers nor the order of asking nor a resume can change a view.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from compressor.data.config import AugmentConfig
from compressor.data.dataset import Dataset
from compressor.data.images.setup import ImageSetup
from compressor.packages import import_timm
from compressor.seeds import derive_seed

VERSION = 4
"""Counted up when the same triple would give other pixels: stored targets of other views must not be used."""

Step = Callable[[Image.Image], Image.Image]


@lru_cache(maxsize=16)
def transform(augment: AugmentConfig, size: int, interpolation: str) -> tuple[Step, ...]:
    """What is done to an RGB image in turn: timm's random crop and policies; flips and colours without wrappers.

    torchvision's take longer to be called than to flip or colour an image of 64 pixels.
    """
    import_timm()
    from timm.data.transforms_factory import create_transform

    timms = create_transform(
        (3, size, size),
        is_training=True,
        use_prefetcher=True,
        scale=augment.scale,
        ratio=augment.ratio,
        hflip=0.0,
        vflip=0.0,
        color_jitter=None,  # type: ignore[arg-type]
        auto_augment=augment.auto_augment,
        interpolation=interpolation,
    )
    crop, *policies, _ = timms.transforms  # the last one makes an array of it
    hflip = 0.0 if alternates(augment) else augment.hflip
    flips = [(hflip, Image.Transpose.FLIP_LEFT_RIGHT), (augment.vflip, Image.Transpose.FLIP_TOP_BOTTOM)]
    steps: list[Step] = [crop, *(partial(flip, share=share, how=how) for share, how in flips if share)]
    if augment.color_jitter and not policies:
        policies = [partial(jitter, strength=augment.color_jitter)]
    return (*steps, *policies)


def alternates(augment: AugmentConfig) -> bool:
    """Whether the number of a view decides on its flip: of two views in turn a sample is seen from both sides."""
    return augment.alternate and augment.hflip == 0.5


def flip(image: Image.Image, *, share: float, how: Image.Transpose) -> Image.Image:
    """The image, mirrored in this share of cases."""
    return image.transpose(how) if random.random() < share else image


LUMA = (0.299, 0.587, 0.114)
"""ITU-R 601-2, as Pillow turns colours into grey."""


def jitter(image: Image.Image, *, strength: float) -> Image.Image:
    """Brightness, contrast and saturation by factors in 1 ± strength, in random order.

    Like torchvision's ColorJitter, but in one pass: each step is affine in the colours, so that one matrix does.
    Values are clipped once, at the end, and the mean grey is that of unclipped colours.
    """
    kinds = random.sample(("brightness", "contrast", "saturation"), 3)
    factors = {kind: random.uniform(max(0.0, 1 - strength), 1 + strength) for kind in kinds}
    mean = image.reduce(image.size).getpixel((0, 0))
    assert isinstance(mean, tuple)
    grey = sum(weight * value for weight, value in zip(LUMA, mean, strict=True))
    return image.convert("RGB", colour_matrix(factors, grey))


def colour_matrix(factors: dict[str, float], grey: float) -> tuple[float, ...]:
    """The 3 × 4 matrix, row by row, of changes in their order; `grey` is the image's mean grey, 0 … 255.

    Brightness blends with black, contrast with the mean grey, saturation with each pixel's own grey: whatever
    their order, a pixel becomes own · pixel + shared · (its grey) + offset.
    """
    own, shared, offset = 1.0, 0.0, 0.0
    for kind, factor in factors.items():
        rest = 1 - factor
        if kind == "saturation":
            own, shared = factor * own, factor * shared + rest * (own + shared)
            continue
        towards = (own + shared) * grey + offset if kind == "contrast" else 0.0
        own, shared, offset = factor * own, factor * shared, factor * offset + rest * towards
    r, g, b = (shared * weight for weight in LUMA)
    return (own + r, g, b, offset, r, own + g, b, offset, r, g, own + b, offset)


@dataclass(frozen=True, kw_only=True)
class Mix:
    """What is mixed into a view."""

    partner: int
    """The sample that is mixed in, by the same view number."""
    amount: float
    """The share of the view's own sample, 0 … 1; its label keeps this share."""
    box: tuple[float, float, float, float] | None
    """Top, left, bottom, right of the pasted part, relative to the view; None blends the whole (mixup)."""


def mix_of(dataset: Dataset, index: int, view: int) -> Mix | None:
    """Partner and amount for a view, from (data.seed, sample, view) alone; None where mixing is off."""
    augment = dataset.setup.augment
    kinds = [name for name in ("mixup", "cutmix") if getattr(augment, name) > 0]
    if not kinds:
        return None
    rng = np.random.default_rng(derive_seed(dataset.seed, dataset.ids[index], view, "mix"))
    kind = kinds[int(rng.integers(len(kinds)))]
    partner = int(rng.choice(dataset.splits["train"]))
    amount = float(rng.beta(getattr(augment, kind), getattr(augment, kind)))
    if kind == "mixup":
        return Mix(partner=partner, amount=amount, box=None)
    half = (1 - amount) ** 0.5 / 2
    y, x = rng.random(2)
    top, left, bottom, right = max(y - half, 0), max(x - half, 0), min(y + half, 1), min(x + half, 1)
    return Mix(partner=partner, amount=1 - (bottom - top) * (right - left), box=(top, left, bottom, right))


def render(dataset: Dataset, index: int, view: int, size: int) -> NDArray[np.uint8]:
    """View number `view` of sample `index` at `size` pixels, (size, size, 3) uint8, mixed where the recipe says so."""
    own = _alone(dataset, index, view, size)
    mix = mix_of(dataset, index, view)
    if mix is None:
        return own
    other = _alone(dataset, mix.partner, view, size)
    if mix.box is None:
        return (mix.amount * own + (1 - mix.amount) * other).round().astype(np.uint8)
    top, left, bottom, right = (round(edge * size) for edge in mix.box)
    pasted = own.copy()
    pasted[top:bottom, left:right] = other[top:bottom, left:right]
    return pasted


def _alone(dataset: Dataset, index: int, view: int, size: int) -> NDArray[np.uint8]:
    """The view before anything is mixed into it: (size, size, 3) uint8.

    The same triple at two sizes gives the same crop, flip and colours, so that a teacher and a student
    with different resolutions see the same view. Leaves the global generators seeded: see
    `data.views.generators_restored`.
    """
    setup: ImageSetup = dataset.setup
    seed = derive_seed(dataset.seed, dataset.ids[index], view)
    random.seed(seed)
    if setup.augment.auto_augment:  # the only one to draw from it, and 10 µs to seed
        np.random.seed(seed % 2**32)
    # Not torch.manual_seed: it also queues the seed for devices, with a traceback of 0.3 ms each time.
    torch.default_generator.manual_seed(seed)
    image = (setup.stored or dataset.read)(index)
    for step in transform(setup.augment, size, setup.interpolation):
        image = step(image)
    if alternates(setup.augment) and (derive_seed(dataset.seed, dataset.ids[index], "flip") + view) % 2:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(image)
