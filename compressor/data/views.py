"""Augmented views of samples: each a pure function of (`data.seed`, sample, view number, size).

timm's transforms draw from the global generators of Python, numpy and torch. Each view seeds all three
from its own triple, and whoever asks for views gets the generators back as they were, so neither the
number of workers nor the order of asking nor a resume can change a view.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
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
        color_jitter=augment.color_jitter,
        auto_augment=augment.auto_augment,
        interpolation=interpolation,
    )


def render(dataset: Dataset, index: int, view: int, size: int) -> NDArray[np.uint8]:
    """View number `view` of sample `index` at `size` pixels: (3, size, size) uint8.

    The same triple at two sizes gives the same crop, flip and colours, so that a teacher and a student
    with different resolutions see the same view. Leaves the global generators seeded: see
    `generators_restored`.
    """
    seed = derive_seed(dataset.seed, dataset.ids[index], view)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    apply = transform(dataset.augment, size, dataset.config.interpolation)
    return np.asarray(apply(dataset.read_for_views(index)))
