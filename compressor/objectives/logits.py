"""Terms on logits. All compute in float32 or wider, so that half-precision logits of any size stay finite.

Logits are (batch, classes), labels (batch,) int64; every function gives a scalar.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from compressor.modalities import UNLABELLED


def wide(values: Tensor) -> Tensor:
    """float32 for half precisions, others unchanged."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def ce(
    student_logits: Tensor,
    labels: Tensor,
    *,
    label_smoothing: float = 0.0,
    partners: Tensor | None = None,
    amounts: Tensor | None = None,
) -> Tensor:
    """Cross-entropy, averaged over the labelled samples; zero when there are none.

    Args:
        partners: (batch,) labels of what was mixed in (mixup, CutMix), or None.
        amounts: (batch,) shares of the own labels, or None.
    """

    def each(target: Tensor) -> Tensor:
        return F.cross_entropy(
            wide(student_logits), target, label_smoothing=label_smoothing, ignore_index=UNLABELLED, reduction="none"
        )

    if partners is None or amounts is None:
        total = each(labels).sum()
    else:
        total = (amounts * each(labels) + (1 - amounts) * each(partners)).sum()
    return total / (labels != UNLABELLED).sum().clamp(min=1)


def standardized(logits: Tensor, eps: float = 1e-7) -> Tensor:
    """Each row with mean 0 and (unbiased) standard deviation 1. Sun et al. 2024, eq. 9."""
    return (logits - logits.mean(1, keepdim=True)) / (logits.std(1, keepdim=True) + eps)


def kd(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 4.0, standardize: bool = False
) -> Tensor:
    """T² · KL(softmax(teacher / T) ‖ softmax(student / T)), summed over classes, averaged over the batch.

    Hinton et al. 2015, section 2; `standardize`: Sun et al. 2024 (logit standardisation).
    """
    student, teacher = wide(student_logits), wide(teacher_logits)
    if standardize:
        student, teacher = standardized(student), standardized(teacher)
    return temperature**2 * F.kl_div(
        F.log_softmax(student / temperature, 1),
        F.log_softmax(teacher / temperature, 1),
        log_target=True,
        reduction="batchmean",
    )


def dkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float = 4.0,
    alpha: float = 1.0,
    beta: float = 8.0,
) -> Tensor:
    """alpha · KL on (target, rest) + beta · KL among the rest, times T². Zhao et al. 2022, eq. 7.

    Unlabelled samples take the teacher's top class as target.
    """
    target = torch.where(labels == UNLABELLED, teacher_logits.argmax(1), labels).unsqueeze(1)
    student_pair, student_rest = _decouple(wide(student_logits) / temperature, target)
    teacher_pair, teacher_rest = _decouple(wide(teacher_logits) / temperature, target)
    on_target = F.kl_div(student_pair, teacher_pair, log_target=True, reduction="batchmean")
    on_rest = F.kl_div(student_rest, teacher_rest, log_target=True, reduction="batchmean")
    return temperature**2 * (alpha * on_target + beta * on_rest)


def _decouple(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of (target, rest), and among the rest alone: (batch, 2), (batch, classes − 1)."""
    log_probabilities = F.log_softmax(logits, 1)
    others = torch.ones_like(logits, dtype=torch.bool).scatter(1, target, False)
    rest = log_probabilities[others].view(len(logits), -1)
    rest_total = rest.logsumexp(1, keepdim=True)
    return torch.cat([log_probabilities.gather(1, target), rest_total], 1), rest - rest_total


def dist(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float = 4.0,
    beta: float = 1.0,
    gamma: float = 1.0,
) -> Tensor:
    """(beta · (1 − ρ between classes) + gamma · (1 − ρ within classes)) · T². Huang et al. 2022, eqs. 8–10."""
    student = F.softmax(wide(student_logits) / temperature, 1)
    teacher = F.softmax(wide(teacher_logits) / temperature, 1)
    between = 1 - _pearson(student, teacher).mean()
    within = 1 - _pearson(student.T, teacher.T).mean()
    return temperature**2 * (beta * between + gamma * within)


def _pearson(a: Tensor, b: Tensor, eps: float = 1e-8) -> Tensor:
    """Correlation of each row of `a` with the same row of `b`; constant rows give 0 and no NaN gradient."""
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return (a * b).sum(1) / (_norm(a) * _norm(b) + eps)


def _norm(rows: Tensor) -> Tensor:
    # The square root's slope at 0 is infinite; torch's norm defines its gradient there as 0.
    norm: Tensor = torch.linalg.vector_norm(rows, dim=1)
    return norm
