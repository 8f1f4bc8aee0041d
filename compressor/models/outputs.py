"""What a forward gives, of any family: logits, embedding, feature maps; and the pairing of two models' maps."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from compressor.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What one forward gives."""

    logits: Tensor
    """(rows, classes)"""
    embedding: Tensor | None = None
    """(rows, channels): the features that enter the classifier."""
    maps: tuple[Tensor, ...] = ()
    """(batch, channels, height, width) each, in the order of the taps asked for."""
    attention: tuple[Tensor, ...] = ()
    """(batch, height, width) each, in the order of the taps: instead of maps where only attention was stored."""


@dataclass(frozen=True, kw_only=True)
class Tap:
    """A place in a model where a feature map is read."""

    index: int
    """For the family's forward."""
    channels: int
    stride: float
    """Input positions per position of the map, measured."""
    side: int = 0
    """Positions of the map along one side, measured."""


@dataclass(frozen=True, kw_only=True)
class TapPair:
    """A student's tap and the teacher's that guides it."""

    student: Tap
    teacher: Tap


def pair(student: list[Tap], teacher: list[Tap], chosen: list[tuple[int, int]] | None = None) -> list[TapPair]:
    """Which teacher tap guides which student tap.

    At each of the student's strides its last tap is paired with the teacher's last tap of the nearest
    stride; the deepest map at a resolution has seen the most. `chosen` (student index, teacher index)
    overrides the choice.

    Raises:
        UsageError: a chosen index does not exist.
    """
    if chosen is not None:
        for which, taps, position in (("student", student, 0), ("teacher", teacher, 1)):
            for entry in chosen:
                if not 0 <= entry[position] < len(taps):
                    raise UsageError(f"tap {entry[position]} does not exist: the {which} has 0 … {len(taps) - 1}")
        return [TapPair(student=student[s], teacher=teacher[t]) for s, t in chosen]
    last = {tap.stride: tap for tap in student}
    pairs = []
    for tap in last.values():
        distance = min(abs(t.stride - tap.stride) for t in teacher)
        own = [t for t in teacher if abs(t.stride - tap.stride) == distance][-1]
        pairs.append(TapPair(student=tap, teacher=own))
    return pairs
