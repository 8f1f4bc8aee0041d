"""Images that change under a run: noticed when they are read, by size and time of change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compressor.artifact.images import open_image
from compressor.errors import DataError


def reader(paths: Sequence[Path]) -> Callable[[int], Image.Image]:
    """Opens the image at a position of `paths`, as long as its file is as it is now.

    Raises:
        DataError, from what it gives: a file is gone, changed, or can't be read any more.
    """
    stamps = np.array([_stamp(path) for path in paths], dtype=np.int64).reshape(-1, 2)

    def read(index: int) -> Image.Image:
        path = paths[index]
        try:
            if _changed(path, stamps[index]):
                raise DataError(
                    f"image {path} has changed since the run began (its size or time of change).\n"
                    "Put it back as it was and go on with --resume, or start a new run."
                )
            return open_image(path)
        except OSError as error:
            raise DataError(f"image {path} was readable at the start and is not now: {error}") from error

    return read


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _changed(path: Path, stamp: NDArray[np.int64]) -> bool:
    return _stamp(path) != (int(stamp[0]), int(stamp[1]))
