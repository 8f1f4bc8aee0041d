"""The decoded store: every image decoded and shrunk once, memory-mapped, so that no JPEG is decoded twice.

`$COMPRESS_CACHE/decoded/<fingerprint>/pixels-<block>.shard` with the blocks' offsets and sizes beside them.
Training views are made from it; evaluation reads the original files, as the device will.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compressor.artifact.images import READER, ROOM
from compressor.data import shards
from compressor.data.dataset import Dataset
from compressor.data.images.setup import ImageSetup
from compressor.errors import CompressorError
from compressor.files import cache_dir, write_json
from compressor.progress import Progress

BLOCK = 512  # images per shard: what is held in memory while one is made
MARGIN = 1.25
"""Stored short side per pixel of the model's input: what random crops enlarge at most by their own choice."""
LONGEST = 8
"""What a stored image may take, in squares of the short side: a strip of 1 × 10⁸ pixels must not be kept whole."""


def root() -> Path:
    """Where all decoded stores lie."""
    return cache_dir() / "decoded"


def with_decoded(dataset: Dataset, size: int, progress: Progress) -> Dataset:
    """The dataset with training views made from the decoded store; unchanged where that brings nothing.

    Args:
        dataset: any.
        size: the largest input of the models that will see views, pixels.
    """
    setup: ImageSetup = dataset.setup
    if setup.in_memory or not dataset.config.decoded:
        return dataset
    seen = dataset.with_unlabeled()
    read = decode_once(
        dataset.read, seen.splits["train"], dataset.content + (dataset.unlabeled_content or ""),
        size=size, limit=round(dataset.config.decoded_limit * 1e9), progress=progress,
    )  # fmt: skip
    if read is dataset.read:
        return replace(dataset, setup=replace(setup, no_room=True))
    return replace(dataset, setup=replace(setup, stored=read, stored_side=round(size * MARGIN)))


def decoded_bytes(dataset: Dataset, size: int) -> int:
    """About what `with_decoded` would keep on disk, from the sizes of 64 of the images; 0 where it keeps nothing."""
    setup: ImageSetup = dataset.setup
    if setup.in_memory or not dataset.config.decoded:
        return 0
    indices = dataset.with_unlabeled().splits["train"]
    side = round(size * MARGIN)
    images: list[Image.Image] = [dataset.read(int(i)) for i in indices[:: max(1, len(indices) // 64)]]
    pixels = [w * h * min(1.0, side / min(w, h)) ** 2 for w, h in (image.size for image in images)]
    return round(3 * sum(pixels) / len(pixels) * len(indices))


def decode_once(
    read: Callable[[int], Image.Image],
    indices: NDArray[np.int64],
    content: str,
    *,
    size: int,
    limit: int,
    progress: Progress,
) -> Callable[[int], Image.Image]:
    """`read` for the samples `indices`, from the store, which is filled or mended first.

    Falls back to `read` itself, with a line that says so, when there is no room.

    Args:
        read: sample → RGB image.
        content: fingerprint of the images.
        size: the models' input; images are stored with a short side of at most 1.25 × that.
        limit: bytes that all decoded stores together may take.
    """
    side = round(size * MARGIN)
    chosen = hashlib.blake2b(indices.tobytes(), digest_size=6).hexdigest()
    folder = root() / f"{content}-{side}-{chosen}-{READER}"
    try:
        with shards.locked(folder, progress.say):
            for block in range(-(-len(indices) // BLOCK)):
                if _sizes(folder, block) is None:
                    part = indices[block * BLOCK : (block + 1) * BLOCK]
                    _fill(folder, block, part, read, side, limit, len(indices), progress)
            shards.touch(folder)
    except (OSError, CompressorError) as error:
        progress.say(f"images are decoded in every epoch: no room for the decoded store ({error})")
        return read
    position = {int(i): row for row, i in enumerate(indices)}
    blocks = [_open(folder, block) for block in range(-(-len(indices) // BLOCK))]

    def stored(index: int) -> Image.Image:
        row = position.get(index)
        if row is None:
            return read(index)
        pixels, offsets, sizes = blocks[row // BLOCK]
        k = row % BLOCK
        height, width = sizes[k]
        flat = pixels[offsets[k] : offsets[k + 1]]
        return Image.fromarray(np.asarray(flat).reshape(height, width, 3))

    return stored


def _fill(
    folder: Path,
    block: int,
    indices: NDArray[np.int64],
    read: Callable[[int], Image.Image],
    side: int,
    limit: int,
    total: int,
    progress: Progress,
) -> None:
    def shrink(index: int) -> NDArray[np.uint8]:
        image = read(index)
        width, height = image.size
        usual, most = side / min(width, height), (LONGEST * side**2 / (width * height)) ** 0.5
        scale, least = (usual, side) if usual <= most else (most, 1)
        if scale < 1:
            width, height = (max(least, round(s * scale)) for s in image.size)
            image = image.resize((width, height), Image.Resampling.BOX if scale < 0.25 else Image.Resampling.BICUBIC)
        return np.asarray(image, dtype=np.uint8)

    images: list[NDArray[np.uint8]] = []
    with progress.bar("decoding images once", len(indices)) as bar:
        for image in ROOM.work(shrink, (int(i) for i in indices)):
            images.append(image)
            bar.advance()
    flat = np.concatenate([image.reshape(-1) for image in images])
    shards.make_room(root(), folder, round(flat.nbytes * (total - block * BLOCK) / len(indices)), limit)
    shards.write(folder / f"pixels-{block:05d}.shard", flat)
    write_json(folder / f"sizes-{block:05d}.json", [list(image.shape[:2]) for image in images])


def _sizes(folder: Path, block: int) -> list[list[int]] | None:
    """Height and width of a block's images; None where the block is missing or damaged."""
    try:
        sizes: list[list[int]] = json.loads((folder / f"sizes-{block:05d}.json").read_text())
    except (OSError, ValueError):
        return None
    length = sum(h * w * 3 for h, w in sizes)
    return sizes if shards.valid(folder / f"pixels-{block:05d}.shard", (length,), np.uint8) else None


def _open(folder: Path, block: int) -> tuple[NDArray[np.generic], NDArray[np.int64], list[list[int]]]:
    sizes = json.loads((folder / f"sizes-{block:05d}.json").read_text())
    offsets = np.concatenate([[0], np.cumsum([h * w * 3 for h, w in sizes], dtype=np.int64)])
    pixels = shards.open_array(folder / f"pixels-{block:05d}.shard", (int(offsets[-1]),), np.uint8)
    return pixels, offsets, sizes
