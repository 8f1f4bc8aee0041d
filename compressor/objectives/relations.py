"""Relations between the tokens of a text, within one layer's self-attention: what MiniLM's students imitate."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from compressor.objectives.logits import wide


@dataclass(frozen=True, kw_only=True)
class Relations:
    """What one layer's self-attention compares, of a batch of texts."""

    query: Tensor
    """(batch, heads, length, channels of a head), as `key` and `value`."""
    key: Tensor
    value: Tensor
    mask: Tensor
    """(batch, length) bool: tokens that are no padding."""


def minilm(student: Relations, teacher: Relations, *, heads: int | None = None) -> Tensor:
    """KL(teacher ‖ student) of query–key attention, plus the same of value–value relations.

    MiniLM (Wang et al. 2020, eqs. 6–8), the mean over heads and over the tokens that are no padding. `heads` or unequal
    numbers of them: relation heads (MiniLMv2, Wang et al. 2021, section 3.1): all heads' channels in a row, cut anew.
    """
    number = heads or shared_heads(_shape(student), _shape(teacher))
    rows = teacher.mask
    total = student.query.new_zeros((), dtype=torch.float32)
    for left, right in (("query", "key"), ("value", "value")):
        said, wanted = (
            _compared(_cut(getattr(r, left), number), _cut(getattr(r, right), number), rows) for r in (student, teacher)
        )
        # Padded columns are −10,000 on both sides: a probability of 0, which adds nothing.
        divergence = F.kl_div(said, wanted, log_target=True, reduction="none").sum(-1)
        total = total + divergence.transpose(1, 2)[rows].mean()
    return total


def shared_heads(student: tuple[int, int], teacher: tuple[int, int]) -> int:
    """Into how many relation heads two models' (heads, channels) are cut: their own number where it is the same.

    Otherwise the largest number up to the teacher's that divides the channels of both; 1 always does.
    """
    if student[0] == teacher[0]:
        return student[0]
    return max(n for n in range(1, teacher[0] + 1) if student[1] % n == 0 and teacher[1] % n == 0)


def _shape(r: Relations) -> tuple[int, int]:
    return r.query.shape[1], r.query.shape[1] * r.query.shape[3]


def _cut(tensor: Tensor, heads: int) -> Tensor:
    """(batch, its heads, length, its channels) → (batch, heads, length, channels)."""
    if tensor.shape[1] == heads:
        return tensor
    batch, _, length, _ = tensor.shape
    return tensor.transpose(1, 2).reshape(batch, length, heads, -1).transpose(1, 2)


def _compared(left: Tensor, right: Tensor, mask: Tensor) -> Tensor:
    """Log-probabilities, (batch, heads, length, length), over the tokens that are no padding."""
    scores = wide(left) @ wide(right).transpose(-1, -2) / left.shape[-1] ** 0.5
    found: Tensor = scores.masked_fill(~mask[:, None, None, :], -10_000.0).log_softmax(-1)
    return found
