"""Optimiser, schedule and averaged weights, from timm and torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from compressor.distillation.config import OptimizerConfig, StageConfig
from compressor.models.family import family_of
from compressor.packages import import_timm


def build_optimizer(
    student: nn.Module,
    objective: nn.Module,
    config: OptimizerConfig,
    *,
    finetuning: bool,
    fresh: set[str] | None = None,
) -> torch.optim.Optimizer:
    """AdamW or Nesterov SGD over the student and the objective's regressors.

    Biases and normalisation parameters do not decay.

    Args:
        student: whose weights move.
        objective: with regressors of its own, which always start fresh.
        config: the peak rate among others.
        finetuning: scales the learning rate of trained weights down by `finetune_scale`.
        fresh: names of parameters that start fresh on top of trained ones; they keep the full rate.
    """
    full = family_of(student).rate() if config.lr == "auto" else config.lr
    slow = full * (config.finetune_scale if finetuning else 1.0)
    kinds: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in student.named_parameters():
        decay = 0.0 if parameter.ndim <= 1 or name.endswith(".bias") else config.weight_decay
        kinds.setdefault((full if name in (fresh or ()) else slow, decay), []).append(parameter)
    learned = list(objective.parameters())
    if learned:
        kinds.setdefault((full, config.weight_decay), []).extend(learned)
    groups = [{"params": found, "lr": lr, "weight_decay": decay} for (lr, decay), found in kinds.items()]
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=slow, fused=True)
    return torch.optim.SGD(groups, lr=slow, momentum=config.momentum, nesterov=config.momentum > 0, fused=True)


def build_schedule(optimizer: torch.optim.Optimizer, config: StageConfig, *, epochs: int, steps: int) -> Any:
    """timm's cosine with warm-up, per step. `steps` per epoch."""
    import_timm()
    from timm.scheduler import CosineLRScheduler

    total = max(1, epochs * steps)
    peak = optimizer.param_groups[0]["lr"]
    # A run shorter than its warm-up would never reach its learning rate.
    warmup = min(round(config.warmup_epochs * steps), total // 2)
    return CosineLRScheduler(
        optimizer,
        t_initial=total,
        lr_min=peak * config.min_lr_ratio,
        warmup_t=warmup,
        warmup_lr_init=peak / 100,
        warmup_prefix=False,
        t_in_epochs=False,
    )


def build_ema(model: nn.Module, decay: float | None) -> nn.Module | None:
    """timm's averaged weights with warm-up, or None."""
    if decay is None:
        return None
    import_timm()
    from timm.utils import ModelEmaV3

    ema: nn.Module = ModelEmaV3(model, decay=decay, use_warmup=True)
    return ema
