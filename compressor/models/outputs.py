"""What a forward gives, of any family: logits, embedding, feature maps; and the pairing of two models' maps."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from compressor.errors import UsageError
from compressor.objectives.relations import Relations


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What one forward gives."""

    logits: Tensor
    """(rows, classes)"""
    embedding: Tensor | None = None
    """(rows, channels): the features that enter the classifier."""
    maps: tuple[Tensor, ...] = ()
    """(batch, channels, height, width) each, in the order of the taps asked for; of texts (tokens, channels, 1, 1)."""
    attention: tuple[Tensor, ...] = ()
    """(batch, height, width) each, in the order of the taps: instead of maps where only attention was stored."""
    relations: Relations | None = None
    """Of the last layer's self-attention, beside an embedding; None where the model has none."""


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
    depth: float | None = None
    """Where it is between the model's first layer and its last, which is 1; None where maps are told by their stride."""
    heads: int = 0
    """Of the self-attention behind it; 0 where there is none."""


@dataclass(frozen=True, kw_only=True)
class TapPair:
    """A student's tap and the teacher's that guides it."""

    student: Tap
    teacher: Tap


def pair(student: list[Tap], teacher: list[Tap], chosen: list[tuple[int, int]] | None = None) -> list[TapPair]:
    """Which teacher tap guides which student tap.

    Maps of layers that are all alike are paired by depth: each of the student's with the teacher's nearest, the deeper
    of two. Others by stride: at each of the student's its last tap is paired with the teacher's last tap of the nearest
    one; the deepest map at a resolution has seen the most. `chosen` (student index, teacher index) overrides the choice.

    Raises:
        UsageError: a chosen index does not exist.
    """
    if chosen is not None:
        for which, taps, position in (("student", student, 0), ("teacher", teacher, 1)):
            for entry in chosen:
                if not 0 <= entry[position] < len(taps):
                    raise UsageError(f"tap {entry[position]} does not exist: the {which} has 0 … {len(taps) - 1}")
        return [TapPair(student=student[s], teacher=teacher[t]) for s, t in chosen]
    by_depth = all(tap.depth is not None for tap in (*student, *teacher))
    paired = student if by_depth else {tap.stride: tap for tap in student}.values()

    def place(tap: Tap) -> float:
        return tap.depth if by_depth and tap.depth is not None else tap.stride

    pairs = []
    for tap in paired:
        distance = min(abs(place(t) - place(tap)) for t in teacher)
        own = [t for t in teacher if abs(place(t) - place(tap)) <= distance + 1e-9][-1]
        pairs.append(TapPair(student=tap, teacher=own))
    return pairs
