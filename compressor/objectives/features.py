"""Terms on features: embeddings (batch, channels) and maps (batch, channels, height, width)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compressor.objectives.logits import wide


def hint(regressed: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error between regressed student features and the teacher's, layer-normalised over channels.

    FitNets (Romero et al. 2015, eq. 3) with a scale-free target: features of different teachers differ in
    magnitude by orders, so each position's channels are brought to mean 0 and variance 1 first.

    Args:
        regressed: the student's features through the regressor, with the teacher's channels.
        teacher: (batch, channels) or (batch, channels, height, width).
    """
    if teacher.dim() == 4:
        regressed = resized(regressed, teacher)
        regressed, teacher = regressed.movedim(1, -1), teacher.movedim(1, -1)
    target = F.layer_norm(wide(teacher), teacher.shape[-1:])
    return F.mse_loss(wide(regressed), target)


def regressor(student_channels: int, teacher_channels: int, *, maps: bool) -> nn.Module:
    """The learned projection of a hint: 1 × 1 convolution for maps, linear for embeddings; never shipped."""
    if maps:
        return nn.Conv2d(student_channels, teacher_channels, 1)
    return nn.Linear(student_channels, teacher_channels)


def resized(student: Tensor, teacher: Tensor) -> Tensor:
    """The student's map at the teacher's height and width; nothing is done where they agree."""
    if student.shape[-2:] == teacher.shape[-2:]:
        return student
    return F.interpolate(wide(student), teacher.shape[-2:], mode="bilinear", align_corners=False, antialias=True)


def attention(student: Tensor, teacher: Tensor, *, power: float = 2.0) -> Tensor:
    """Mean squared difference of normalised attention maps. Zagoruyko and Komodakis 2017, eq. 2."""
    return attention_towards(student, attention_map(teacher, power=power), power=power)


def attention_towards(student: Tensor, target: Tensor, *, power: float = 2.0) -> Tensor:
    """`attention` with the teacher's map made before: `target` is (batch, height, width), from `attention_map`."""
    return (attention_map(resized(student, target), power=power) - target).pow(2).mean()


def attention_map(maps: Tensor, *, power: float = 2.0) -> Tensor:
    """(batch, channels, height, width) → (batch, height, width): mean of |a|^power over channels, of length 1."""
    # Scaled to at most 1 beforehand: the normalised result is the same, and no power overflows.
    maps = wide(maps).abs()
    maps = maps / maps.amax((1, 2, 3), keepdim=True).clamp(min=1e-12).detach()
    means = maps.pow(power).mean(1)
    return F.normalize(means.flatten(1)).view_as(means)


def cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of 1 − cos between (batch, channels) features. DistilBERT (Sanh et al. 2019), section 3."""
    return (1 - F.cosine_similarity(wide(student), wide(teacher), dim=1)).mean()


def similarity(student: Tensor, teacher: Tensor) -> Tensor:
    """‖G_student − G_teacher‖² / batch², G the row-normalised Gram matrix. Tung and Mori 2019, eq. 4."""
    difference = _gram(student) - _gram(teacher)
    return difference.pow(2).sum() / len(student) ** 2


def _gram(features: Tensor) -> Tensor:
    rows = wide(features).flatten(1)
    rows = rows / rows.abs().amax().clamp(min=1e-12).detach()
    return F.normalize(rows @ rows.T)


def rkd(student: Tensor, teacher: Tensor, *, distance: float = 25.0, angle: float = 50.0) -> Tensor:
    """distance · smooth-L1 of relative distances + angle · smooth-L1 of cosines. Park et al. 2019, eqs. 5, 8."""
    student, teacher = wide(student), wide(teacher)
    total = student.new_zeros(())
    if distance:
        total = total + distance * F.smooth_l1_loss(_distances(student), _distances(teacher))
    if angle:
        total = total + angle * F.smooth_l1_loss(_angles(student), _angles(teacher))
    return total


def _distances(embeddings: Tensor) -> Tensor:
    """Pairwise Euclidean distances divided by their mean: (batch, batch)."""
    squares = embeddings.pow(2).sum(1)
    squared = (squares[:, None] + squares[None, :] - 2 * embeddings @ embeddings.T).clamp(min=1e-12)
    off_diagonal = ~torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device)
    distances = squared.sqrt() * off_diagonal
    return distances / distances[distances > 0].mean().clamp(min=1e-12)


def _angles(embeddings: Tensor) -> Tensor:
    """Cosines of all triplets' angles: (batch, batch, batch)."""
    differences = F.normalize(embeddings[None, :] - embeddings[:, None], dim=2)
    return differences @ differences.transpose(1, 2)
