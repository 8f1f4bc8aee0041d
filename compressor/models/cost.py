"""What a model costs: parameters and multiply–accumulates."""

from __future__ import annotations

import torch
from torch import nn


def parameters(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in model.parameters())


@torch.no_grad()
def macs(model: nn.Module, size: int) -> int:
    """Multiply–accumulates for one image: torch.utils.flop_counter / 2 at batch 1."""
    from torch.utils.flop_counter import FlopCounterMode

    training = model.training
    model.eval()
    example = next(model.parameters())
    images = torch.zeros(1, 3, size, size, device=example.device, dtype=example.dtype)
    with FlopCounterMode(display=False) as counter:
        model(images)
    model.train(training)
    return int(counter.get_total_flops() // 2)
