"""Feature taps without naming a layer."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from compressor.errors import UsageError
from compressor.models.outputs import Tap, pair
from compressor.models.timm.build import TimmArchitecture
from compressor.models.timm.taps import forward, measure
from compressor.models.weights import build


def made(name: str, size: int = 64, stem: Literal["keep", "stride1"] = "keep") -> torch.nn.Module:
    return build(TimmArchitecture(name=name, classes=5, image_size=size, stem=stem)).eval()


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_vit", "test_efficientnet", "mobilenetv3_small_050", "test_convnext"]
)
def test_one_forward_gives_the_models_own_logits_with_embedding_and_maps(name: str) -> None:
    model = made(name)
    images = torch.randn(2, 3, 64, 64)
    taps, width = measure(model, 64)
    outputs = forward(model, images, embedding=True, taps=tuple(t.index for t in taps))
    torch.testing.assert_close(outputs.logits, model(images), rtol=1e-4, atol=1e-5)
    assert outputs.embedding is not None
    assert outputs.embedding.shape == (2, width)
    assert [m.shape[1] for m in outputs.maps] == [t.channels for t in taps]


def test_strides_are_measured_not_believed() -> None:
    kept, _ = measure(made("mobilenetv3_small_050"), 64)
    adapted, _ = measure(made("mobilenetv3_small_050", stem="stride1"), 64)
    assert [t.stride for t in adapted] == [t.stride / 2 for t in kept]


def test_measuring_leaves_the_model_as_it_was() -> None:
    model = made("test_resnet").train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    measure(model, 64)
    assert model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_taps_pair_at_the_same_stride_and_else_at_the_nearest() -> None:
    student = [
        Tap(index=0, channels=8, stride=4),
        Tap(index=1, channels=8, stride=4),
        Tap(index=2, channels=16, stride=8),
    ]
    teacher = [
        Tap(index=0, channels=32, stride=4),
        Tap(index=1, channels=64, stride=7),
        Tap(index=2, channels=64, stride=7),
    ]
    assert [(p.student.index, p.teacher.index) for p in pair(student, teacher)] == [(1, 0), (2, 2)]
    assert [(p.student.index, p.teacher.index) for p in pair(student, teacher, [(0, 1)])] == [(0, 1)]
    with pytest.raises(UsageError, match="tap 7 does not exist: the teacher has 0 … 2"):
        pair(student, teacher, [(0, 7)])
