"""Damaged images: what a camera, a dark room or a slow line does to a model's input. No torch.

Four of ImageNet-C's corruptions (Hendrycks and Dietterich 2019), applied, as there, to the pixels that the model sees.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from compressor.artifact.images import open_image
from compressor.artifact.preprocessing import Inputs
from compressor.evaluation.shift import Damage

Pixels = NDArray[np.uint8]


def _noise(pixels: Pixels, strength: int, seed: int) -> Pixels:
    """Gaussian, standard deviation 0.08, 0.16, 0.32 of the range."""
    rng = np.random.default_rng(seed)
    moved = pixels + rng.normal(0, 255 * 0.04 * 2**strength, pixels.shape)
    return moved.clip(0, 255).astype(np.uint8)


def _blur(pixels: Pixels, strength: int, seed: int) -> Pixels:
    """Gaussian, radius 1, 2, 4 % of the side (at least 0.4 pixels)."""
    radius = max(0.4, 0.005 * len(pixels)) * 2**strength
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def _brightness(pixels: Pixels, strength: int, seed: int) -> Pixels:
    """Brighter by 0.15, 0.3, 0.45 of the range, or darker by as much, one sample in two."""
    change = 255 * 0.15 * strength * (1 if seed % 2 else -1)
    return (pixels + change).clip(0, 255).astype(np.uint8)


def _jpeg(pixels: Pixels, strength: int, seed: int) -> Pixels:
    """Quality 40, 20, 10."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=80 // 2**strength)
    return np.asarray(open_image(file))


def _on_pixels(how: Callable[[Pixels, int, int], Pixels], one: Inputs, strength: int, seed: int) -> Inputs:
    return {"pixels": how(one["pixels"], strength, seed)}


DAMAGES: dict[str, Damage] = {
    name: partial(_on_pixels, how)
    for name, how in (("noise", _noise), ("blur", _blur), ("brightness", _brightness), ("jpeg", _jpeg))
}
