"""Augmented views of samples: each a pure function of (`data.seed`, sample, view number, size).

timm's transforms draw from the global generators of Python, numpy and torch. Each view seeds all three
from its own triple, and whoever asks for views gets the generators back as they were, so neither the
number of workers nor the order of asking nor a resume can change a view.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from compressor.data.config import AugmentConfig
from compressor.data.dataset import Dataset
from compressor.runtime import derive_seed, import_timm


@contextmanager
def generators_restored() -> Iterator[None]:
    """Leaves the global generators as they were."""
    states = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.random.set_rng_state(states[2])


@lru_cache(maxsize=16)
def transform(augment: AugmentConfig, size: int, interpolation: str) -> Any:
    """timm's training transform: RGB image → (3, size, size) uint8."""
    import_timm()
    from timm.data.transforms_factory import create_transform

    return create_transform(
        (3, size, size),
        is_training=True,
        use_prefetcher=True,  # ends in uint8, so that each model can normalise with its own statistics
        scale=augment.scale,
        ratio=augment.ratio,
        hflip=augment.hflip,
        vflip=augment.vflip,
        color_jitter=augment.color_jitter or None,  # type: ignore[arg-type]
        auto_augment=augment.auto_augment,
        interpolation=interpolation,
    )


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
    augment = dataset.augment
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
    """View number `view` of sample `index` at `size` pixels, mixed where the recipe says so."""
    own = _alone(dataset, index, view, size)
    mix = mix_of(dataset, index, view)
    if mix is None:
        return own
    other = _alone(dataset, mix.partner, view, size)
    if mix.box is None:
        return (mix.amount * own + (1 - mix.amount) * other).round().astype(np.uint8)
    top, left, bottom, right = (round(edge * size) for edge in mix.box)
    pasted = own.copy()
    pasted[:, top:bottom, left:right] = other[:, top:bottom, left:right]
    return pasted


def _alone(dataset: Dataset, index: int, view: int, size: int) -> NDArray[np.uint8]:
    """The view before anything is mixed into it: (3, size, size) uint8.

    The same triple at two sizes gives the same crop, flip and colours, so that a teacher and a student
    with different resolutions see the same view. Leaves the global generators seeded: see
    `generators_restored`.
    """
    seed = derive_seed(dataset.seed, dataset.ids[index], view)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    # Not torch.manual_seed: it also queues the seed for devices, with a traceback of 0.3 ms each time.
    torch.default_generator.manual_seed(seed)
    apply = transform(dataset.augment, size, dataset.config.interpolation)
    return np.asarray(apply(dataset.read_for_views(index)))
