"""Damaged images: what a camera, a dark room or a slow line does to a model's input. No torch.

Four of ImageNet-C's corruptions (Hendrycks and Dietterich 2019) at graded strength, applied, as there, to the
pixels that the model sees. Noise depends on (kind, strength, sample) alone.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from compressor.artifact.preprocessing import Preprocessing
from compressor.data.dataset import Dataset
from compressor.evaluation.document import ShiftFigures, ShiftRow
from compressor.evaluation.figures import copied_mistakes, figures
from compressor.evaluation.predictions import Batches, Logits, Predictions, predict
from compressor.progress import Progress
from compressor.seeds import derive_seed

Pixels = NDArray[np.uint8]

STRENGTHS = (1, 2, 3)


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
    return np.asarray(Image.open(file).convert("RGB"))


KINDS: dict[str, Callable[[Pixels, int, int], Pixels]] = {
    "noise": _noise,
    "blur": _blur,
    "brightness": _brightness,
    "jpeg": _jpeg,
}
"""(size, size, 3) uint8, strength 1 … 3, seed → the damaged image."""


def damaged(batches: Batches, dataset: Dataset, kind: str, strength: int) -> Iterator[tuple[NDArray[np.int64], Pixels]]:
    """The batches with every image damaged in the same way on every machine."""
    for indices, pixels in batches:
        seeds = [derive_seed(kind, strength, dataset.ids[int(i)]) for i in indices]
        yield indices, np.stack([KINDS[kind](p, strength, s) for p, s in zip(pixels, seeds, strict=True)])


def under_shift(
    models: dict[str, tuple[Logits, Preprocessing]], dataset: Dataset, split: str, progress: Progress
) -> list[ShiftRow]:
    """Every model's figures on the split as it is and under each damage: one row per kind and strength.

    Args:
        models: role → (logits of pixels, how pixels are made); with a `teacher` among them, the others'
            copied mistakes are counted.

    Returns:
        one row for the split as it is (`none`), then one per kind and strength.
    """
    rungs = [("none", 0), *((kind, strength) for kind in KINDS for strength in STRENGTHS)]
    rows = []
    with progress.bar("shift", len(rungs) * len(models)) as bar:
        for kind, strength in rungs:
            seen: dict[str, Predictions] = {}
            for role, (logits, preprocessing) in models.items():
                batches: Batches = dataset.pixels(split, preprocessing, 64)
                batches = damaged(batches, dataset, kind, strength) if strength else batches
                seen[role] = predict(logits, dataset, split, preprocessing, batches=batches)
                bar.advance(note=f"{kind} {strength or ''} · {role}")
            teacher = seen.get("teacher")
            found = {role: _figures(own, teacher if role != "teacher" else None) for role, own in seen.items()}
            rows.append(ShiftRow(kind=kind, strength=strength, models=found))
    return rows


def _figures(own: Predictions, teacher: Predictions | None) -> ShiftFigures:
    copied = copied_mistakes(own, teacher) if teacher else None
    return ShiftFigures(**vars(figures(own)), copied_mistakes=copied)
