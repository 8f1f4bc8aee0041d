"""Quantisation-aware distillation: a short fine-tuning in which the student already computes with int8's steps.

Only a simulation in float (fake quantisation); afterwards the student is an ordinary one again, whose weights
lie where int8 finds them, and goes through the same ladder.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.utils import parametrize

from compressor.artifact.preprocessing import Preprocessing
from compressor.data.dataset import Dataset
from compressor.data.views import tensors
from compressor.distillation.config import StageConfig
from compressor.distillation.fit import fit
from compressor.distillation.job import Job, Teacher
from compressor.models.family import family_of
from compressor.progress import Progress
from compressor.quantization.calibrate import calibration_indices
from compressor.quantization.config import Int8Config
from compressor.quantization.cpus import IntegerTypes
from compressor.quantization.quantize import short_rows

WEIGHTED = (nn.Conv2d, nn.Linear)
NORMALISATION = (nn.modules.batchnorm._BatchNorm,)


class _Steps(nn.Module):
    """A weight as int8 holds it: symmetric, a scale per output channel; gradients pass through the rounding.

    BatchNorm behind it scales whole channels, so that folding it in later changes no step.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, weight: Tensor) -> Tensor:
        """(out, …) → the same shape."""
        largest = weight.detach().abs().flatten(1).amax(1).clamp(min=1e-12)
        zeros = torch.zeros(len(weight), dtype=torch.int32, device=weight.device)
        return torch.fake_quantize_per_channel_affine(weight, largest / self.limit, zeros, 0, -self.limit, self.limit)


class _Range:
    """A tensor's range: observed at first, then the steps that it is rounded to."""

    def __init__(self) -> None:
        self.low = self.high = 0.0
        self.observing = True

    def __call__(self, value: Tensor) -> Tensor:
        if self.observing:
            self.low = min(self.low, float(value.min()))
            self.high = max(self.high, float(value.max()))
            return value
        scale = max(self.high - self.low, 1e-8) / 255
        zero = min(255, max(0, round(-self.low / scale)))
        return torch.fake_quantize_per_tensor_affine(value, scale, zero, 0, 255)


def tune(
    model: nn.Module,
    preprocessing: Preprocessing,
    dataset: Dataset,
    *,
    stage: StageConfig,
    config: Int8Config,
    types: IntegerTypes,
    teacher: Teacher | None,
    seed: int,
    folder: Path,
    accelerator: Accelerator,
    progress: Progress,
) -> nn.Module:
    """A copy of `model`, fine-tuned for `qat_epochs` with int8's steps in its forward; `model` is left unchanged.

    The objective is the stage's own, under the teacher's targets; BatchNorm's statistics stand still.
    Jacob et al. 2018, section 3; the targets follow Polino et al. 2018 (quantised distillation).
    """
    student = copy.deepcopy(model)
    settings = stage.model_copy(
        update={
            "optimizer": stage.optimizer.model_copy(update={"lr": config.qat_lr}),
            "ema": None,
            "warmup_epochs": 0.5,
        }
    )
    job = Job(
        label="int8-aware fine-tuning", config=settings, epochs=config.qat_epochs, seed=seed,
        preprocessing=preprocessing, teacher=teacher,
    )  # fmt: skip
    samples = _samples(dataset, preprocessing, config.calibration_images)
    with fake_quantised(student, samples, preprocessing, limit=63 if types.seven_bit_weights else 127):
        fit(student, dataset, job, folder=folder, accelerator=accelerator, progress=progress)
    return student.to("cpu").eval()


def _samples(dataset: Dataset, preprocessing: Preprocessing, count: int) -> Iterator[dict[str, Tensor]]:
    chosen = calibration_indices(dataset, count)
    for start in range(0, len(chosen), 16):
        yield tensors(preprocessing.encode([dataset.read(int(i)) for i in chosen[start : start + 16]]))


@contextmanager
def fake_quantised(
    model: nn.Module, batches: Iterable[dict[str, Tensor]], preprocessing: Preprocessing, *, limit: int
) -> Iterator[None]:
    """While active, `model` computes with int8's steps: weights, inputs of weighted layers, outputs of BatchNorm.

    Args:
        batches: encoded samples; the ranges of activations are measured on them first.
        limit: largest integer of a weight, 127 or 63.
    """
    weighted = [m for m in model.modules() if isinstance(m, WEIGHTED) and not _stays(m)]
    norms = [m for m in model.modules() if isinstance(m, NORMALISATION)]
    # Behind a stem in float nothing is rounded before the activation.
    rounded = [m for before, m in pairwise(model.modules()) if m in norms and not _stays(before)]
    ranges = [_Range() for _ in (*weighted, *rounded)]
    handles: list[Any] = []
    for module, steps in zip((*weighted, *rounded), ranges, strict=True):
        if isinstance(module, NORMALISATION):
            handles.append(module.register_forward_hook(partial(_behind, steps)))
        else:
            handles.append(module.register_forward_pre_hook(partial(_before, steps)))
    _observe(model, batches, preprocessing)
    for steps in ranges:
        steps.observing = False
    for module in weighted:
        parametrize.register_parametrization(module, "weight", _Steps(limit))
    for module in norms:
        module.train = _stand_still.__get__(module)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module in weighted:
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
        for module in norms:
            del module.train


def _stays(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and short_rows(tuple(module.weight.shape), module.groups)


@torch.no_grad()
def _observe(model: nn.Module, batches: Iterable[dict[str, Tensor]], preprocessing: Preprocessing) -> None:
    device = next(model.parameters()).device
    model.eval()
    family = family_of(model)
    for batch in batches:
        given = {name: tensor.to(device) for name, tensor in batch.items()}
        family.forward(model, family.prepare(given, preprocessing))


def _before(steps: _Range, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (steps(inputs[0]), *inputs[1:])


def _behind(steps: _Range, _: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return steps(output)


def _stand_still(self: nn.Module, mode: bool = True) -> nn.Module:
    """Instead of `train`: statistics of the trained student are what is exported."""
    self.training = False
    for child in self.children():
        child.train(mode)
    return self
