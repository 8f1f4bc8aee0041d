"""A model as an ONNX file without training it: what it would cost in time and size."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from compressor.artifact.preprocessing import Inputs, Preprocessing
from compressor.exporting.config import ExportConfig
from compressor.exporting.export import DYNAMO_FIRST, export
from compressor.models import cost
from compressor.models.architecture import Architecture
from compressor.models.checkpoint import Card
from compressor.models.family import Family
from compressor.models.weights import build
from compressor.progress import Progress


def export_untrained(family: Family, name: str, size: int, path: Path, progress: Progress) -> None:
    """Writes a model with random weights, at a size of its modality's own measure, through the parity gate.

    Raises:
        CompressorError: no exporter can express the model.
    """
    architecture, preprocessing, inputs = family.untrained(name, size)
    sketch(family, architecture, preprocessing, inputs, path, progress)


def sketch(
    family: Family,
    architecture: Architecture,
    preprocessing: Preprocessing,
    inputs: Inputs,
    path: Path,
    progress: Progress,
    *,
    exporters: tuple[bool, bool] = DYNAMO_FIRST,
) -> Card:
    """The same of an architecture as a task would have it; what its card says, parameters and MACs among it.

    Args:
        inputs: a few random things as `preprocessing` encodes them, for the gate.
        exporters: see `export`.

    Raises:
        UsageError: it can't be built.
        CompressorError: no exporter can express it.
    """
    torch.manual_seed(0)
    model = build(architecture)
    _wake(model)
    card = Card(
        architecture=architecture,
        classes=[f"class {i}" for i in range(architecture.classes)],
        modality=preprocessing.modality,
        preprocessing=preprocessing,
        role="sketch",
        origin="random",
        dataset={},
        params=cost.parameters(model),
        macs=cost.macs(model, family.example(preprocessing, 1)),
    )
    export(
        model, card, path, precision="fp32", config=ExportConfig(parity_samples=4), inputs=inputs, recipe=None,
        progress=progress, exporters=exporters,
    )  # fmt: skip
    return card


@torch.no_grad()
def _wake(model: nn.Module) -> None:
    """Scales that training would begin from zero (the last normalisation of a residual branch) are one.

    Merged into convolutions they would make equal weights, of which a file keeps one: a regnetx_002 took 5.7 MB instead of
    9.3, and what is read from memory once is fast.
    """
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 and not name.endswith("bias") and not parameter.any():
            parameter.fill_(1.0)
