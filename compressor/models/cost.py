"""What a model costs: parameters and multiply–accumulates."""

from __future__ import annotations

import torch
from torch import nn

from compressor.models.family import Prepared
from compressor.models.given import Given


def known(model: nn.Module, example: Prepared) -> tuple[int | None, int | None]:
    """Parameters and MACs; None where a given model doesn't say."""
    if isinstance(model, Given):
        return model.parameter_count, model.mac_count
    return parameters(model), macs(model, example)


def parameters(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in model.parameters())


@torch.no_grad()
def macs(model: nn.Module, example: Prepared) -> int:
    """Multiply–accumulates for one sample: torch.utils.flop_counter / 2; `example` is a batch of one."""
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    training = model.training
    model.eval()
    device = next(model.parameters()).device
    # torch's counter knows the fused attention of GPUs alone.
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    fused = {attention: lambda query, key, value, *_, **__: sdpa_flop_count(query, key, value)}
    with FlopCounterMode(display=False, custom_mapping=fused) as counter:
        model(*(tensor.to(device) for tensor in example))
    model.train(training)
    return int(counter.get_total_flops() // 2)
