"""Convolutions with their own way back give the gradients of the plain ones."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from compressor.models.timm.build import TimmArchitecture
from compressor.models.timm.cpu_fixes import DepthwiseConv2d, fix_gradients
from compressor.models.weights import build


@pytest.mark.parametrize("kernel", [(3, 3), (5, 5), (7, 7), (3, 5)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (2, 4), (4, 3)])
def test_depthwise_gradients_are_those_of_the_plain_convolution(
    kernel: tuple[int, int], stride: int, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    padding = (kernel[0] // 2, kernel[1] // 2)
    plain = nn.Conv2d(6, 6, kernel, stride, padding, groups=6, dtype=torch.float64)
    mended = copy.deepcopy(plain)
    fix_gradients(mended)
    assert isinstance(mended, DepthwiseConv2d)
    images = torch.randn(3, 6, *size, dtype=torch.float64)
    seen = []
    for convolution in (plain, mended):
        own = images.clone().contiguous(memory_format=torch.channels_last).requires_grad_()
        out = convolution(own)
        (out * torch.arange(out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
        assert convolution.bias is not None
        seen.append((out.detach(), own.grad, convolution.weight.grad, convolution.bias.grad))
    for a, b in zip(*seen, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-10)


def test_uneven_padding_and_larger_maps_keep_the_plain_way() -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 4, 5, padding=(0, 2), groups=4, dtype=torch.float64)
    mended = copy.deepcopy(plain)
    fix_gradients(mended)
    for size in ((9, 3), (9, 9)):
        images = torch.randn(2, 4, *size, dtype=torch.float64)
        for convolution in (plain, mended):
            convolution.zero_grad()
            convolution(images).square().sum().backward()
        torch.testing.assert_close(plain.weight.grad, mended.weight.grad, rtol=1e-12, atol=1e-12)
    assert "_Depthwise" not in str(mended(images).grad_fn)


def test_a_strided_pointwise_stem_trains_in_channels_last() -> None:
    """Without the detour, torch 2.13's CPU build dies here with "double free or corruption"."""
    model = build(TimmArchitecture(name="fastvit_t8", classes=3, image_size=64)).train()
    images = torch.randn(4, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    model(images).sum().backward()
    stem = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.in_channels == 3]
    assert stem
    assert all(m.weight.grad is not None and m.weight.grad.isfinite().all() for m in stem)
