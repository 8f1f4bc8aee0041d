"""MiniLM's relations against loops written from the paper, and who is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from compressor.artifact.images import ImagePreprocessing
from compressor.distillation.teacher import FrozenTeacher, wire
from compressor.errors import UsageError
from compressor.models.timm.build import TimmArchitecture
from compressor.models.weights import build
from compressor.objectives.config import ObjectiveConfig
from compressor.objectives.relations import Relations, minilm, shared_heads

LENGTHS = (5, 3, 1)
MASK = torch.tensor([[i < length for i in range(5)] for length in LENGTHS])


def relations(seed: int, heads: int, channels: int) -> Relations:
    torch.manual_seed(seed)
    query, key, value = (torch.randn(3, heads, 5, channels) for _ in range(3))
    return Relations(query=query, key=key, value=value, mask=MASK)


def reference(student: Relations, teacher: Relations, heads: int) -> float:
    """Equations 6–8 of Wang et al. 2020 in float64, text by text, head by head, token by token."""

    def row(r: Relations, left: Tensor, right: Tensor, text: int, head: int, token: int) -> np.ndarray:
        channels = r.query.shape[1] * r.query.shape[3] // heads
        cut = slice(head * channels, (head + 1) * channels)
        a, b = (t[text].permute(1, 0, 2).reshape(5, -1).double().numpy()[:, cut] for t in (left, right))
        scores = b[: LENGTHS[text]] @ a[token] / np.sqrt(channels)
        exponents = np.exp(scores - scores.max())
        return np.asarray(exponents / exponents.sum())

    total = 0.0
    for name_left, name_right in (("query", "key"), ("value", "value")):
        divergences = []
        for text, length in enumerate(LENGTHS):
            for head in range(heads):
                for token in range(length):
                    p, q = (
                        row(r, getattr(r, name_left), getattr(r, name_right), text, head, token)
                        for r in (teacher, student)
                    )
                    divergences.append((p * np.log(p / q)).sum())
        total += float(np.mean(divergences))
    return total


@pytest.mark.parametrize(
    ("student", "teacher", "asked", "heads"),
    [((4, 3), (4, 6), None, 4), ((2, 4), (4, 3), None, 4), ((2, 4), (4, 3), 2, 2), ((4, 4), (4, 4), 8, 8)],
)
def test_minilm_is_what_the_papers_say(
    student: tuple[int, int], teacher: tuple[int, int], asked: int | None, heads: int
) -> None:
    own, other = relations(0, *student), relations(1, *teacher)
    assert minilm(own, other, heads=asked).item() == pytest.approx(reference(own, other, heads), abs=1e-5)
    assert minilm(other, other).item() == pytest.approx(0, abs=1e-6)


def test_what_a_padded_token_says_is_not_heard() -> None:
    own, other = relations(0, 2, 4), relations(1, 2, 4)
    before = minilm(own, other)
    for part in (own.query, own.key, own.value):
        part[1, :, 3:] = 100.0
    torch.testing.assert_close(minilm(own, other), before)


def test_unequal_heads_share_the_largest_cut_of_both() -> None:
    assert shared_heads((12, 384), (12, 768)) == 12
    assert shared_heads((6, 384), (12, 768)) == 12
    assert shared_heads((5, 320), (12, 768)) == 8


def test_a_model_of_images_has_no_relations() -> None:
    network = build(TimmArchitecture(name="test_resnet", classes=3, image_size=32))
    teacher = FrozenTeacher(network, ImagePreprocessing(size=32))
    with pytest.raises(UsageError, match="minilm reads how tokens attend"):
        wire(network, ImagePreprocessing(size=32), teacher, ObjectiveConfig.model_validate({"minilm": {}}))
