"""What goes wrong in a training, how often it is borne, and what is said of it in the end."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from compressor.errors import CompressorError

MOST_SKIPPED = 2
"""Steps of a training that may be left out because their loss was not finite; more is no accident."""
FEWEST = 2
"""Samples per forward below which there is no going on: batch statistics of one are none."""


class NotFiniteError(Exception):
    """Loss or gradient of a step were not finite."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step


class OutOfMemoryError(Exception):
    """A step found no memory."""


def not_finite(label: str, epoch: int, names: Sequence[str]) -> CompressorError:
    """What is said after too many such steps: the fix, and the samples of the last one."""
    listed = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return CompressorError(
        f"{label}: the loss is no longer finite in epoch {epoch + 1}, the {MOST_SKIPPED + 1}rd time.\n"
        "Lower stage.optimizer.lr, or set stage.precision to fp32.\n"
        f"The last samples were: {listed}."
    )


def halved(size: int, label: str, error: Exception) -> int:
    """The next smaller number of samples per forward. Raises CompressorError where there is none."""
    if size <= FEWEST:
        raise CompressorError(
            f"{label}: out of memory with only {size} samples at a time ({error}).\n"
            "Take a smaller image_size or model, or a machine with more memory; the last save is kept."
        ) from error
    return max(FEWEST, size // 2)


@contextmanager
def memory_watched() -> Iterator[None]:
    """Turns every way in which memory can be missing into OutOfMemoryError, and lets go of what was held."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError | torch.OutOfMemoryError) or "t allocate memory" in str(error)):
            raise
        text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        traceback.clear_frames(error.__traceback__)
    else:
        return
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    raise OutOfMemoryError(text)


@contextmanager
def translated(label: str) -> Iterator[None]:
    """Says in a sentence what a loader process met, and that one died."""
    try:
        yield
    except CompressorError as error:
        if not str(error).startswith("Caught "):  # torch wraps what a loader raised in the loader's traceback
            raise
        raise type(error)(str(error).rpartition(f"{type(error).__name__}: ")[2].strip()) from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error) or str(error).startswith("Caught "):
            raise
        raise CompressorError(
            f"{label}: a loader process died ({str(error).splitlines()[0]}); memory may have run out.\n"
            "The training so far is saved: go on with --resume, where there is more memory."
        ) from error
