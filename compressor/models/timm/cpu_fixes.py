"""Convolutions whose gradient torch's CPU kernels compute badly, made right or fast. Nothing else changes.

Both were found with torch 2.13 and oneDNN; on other devices, in evaluation and in exports the plain
convolution runs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def fix_gradients(model: nn.Module) -> None:
    """Gives the convolutions concerned their own way back, in place; weights and their names stay."""
    for module in model.modules():
        if type(module) is not nn.Conv2d or isinstance(module.padding, str):
            continue
        kernel = max(module.kernel_size)
        if module.groups == module.in_channels == module.out_channels and kernel > 1 and max(module.dilation) == 1:
            module.__class__ = DepthwiseConv2d
        elif kernel == 1 and max(module.stride) > 1 and module.in_channels < 8:
            # In channels_last its weight gradient corrupts the heap: FastViT's stem has such a one.
            module.weight.data = module.weight.data.clone(memory_format=torch.contiguous_format)
            module.register_forward_pre_hook(_contiguous)


def _contiguous(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    return inputs[0].contiguous()


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution with a fast weight gradient on maps smaller than its kernel.

    There oneDNN falls back to a reference kernel, 4 to 70 times slower than a sum per kernel position
    (docs/log.md); MobileNets and EfficientNets of up to 128 px end in such maps.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(batch, channels, height, width) → the convolved map."""
        small = input.shape[-1] < self.kernel_size[1] or input.shape[-2] < self.kernel_size[0]
        learning = torch.is_grad_enabled() and self.weight.requires_grad
        plain = input.device.type == "cpu" and input.dtype == self.weight.dtype and not torch.is_autocast_enabled("cpu")
        if small and learning and plain and not torch.compiler.is_compiling():
            out: Tensor = _Depthwise.apply(  # type: ignore[no-untyped-call]
                input, self.weight, self.bias, self.stride, self.padding
            )
            return out
        return super().forward(input)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...], padding: tuple[int, ...]
    ) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(images, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        for_images = for_weight = for_bias = None
        if ctx.needs_input_grad[0]:
            for_images = torch.ops.aten.convolution_backward(
                gradient, images, weight, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), len(weight),
                (True, False, False),
            )[0]  # fmt: skip
        if ctx.needs_input_grad[1]:
            for_weight = weight_gradient(images, gradient, weight.shape[-2:], ctx.stride, ctx.padding)
        if ctx.needs_input_grad[2]:
            for_bias = gradient.sum((0, 2, 3))
        return for_images, for_weight, for_bias, None, None


def weight_gradient(
    images: Tensor, gradient: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]
) -> Tensor:
    """The weight gradient of a depthwise convolution: one product and sum per kernel position.

    Args:
        images: (batch, channels, height, width), what was convolved.
        gradient: (batch, channels, out height, out width), of the loss by the output.
        kernel: height and width of the kernel; likewise `stride` and `padding`.

    Returns:
        (channels, 1, kernel height, kernel width)
    """
    images, gradient = images.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
    spans = [
        [_span(position, images.shape[1 + d], gradient.shape[1 + d], stride[d], padding[d]) for position in range(k)]
        for d, k in enumerate(kernel)
    ]
    found = images.new_zeros(*kernel, images.shape[-1])
    for i, (rows, out_rows) in enumerate(spans[0]):
        for j, (columns, out_columns) in enumerate(spans[1]):
            found[i, j] = (images[:, rows, columns] * gradient[:, out_rows, out_columns]).sum((0, 1, 2))
    return found.permute(2, 0, 1).unsqueeze(1)


def _span(position: int, size: int, out_size: int, stride: int, padding: int) -> tuple[slice, slice]:
    """Which inputs a kernel position meets, and the outputs they go to; empty where it meets only padding."""
    first = max(0, -((position - padding) // stride))
    end = max(first, min(out_size, (size - 1 - position + padding) // stride + 1))
    start = first * stride + position - padding
    return slice(start, start + (end - first) * stride, stride), slice(first, end)
