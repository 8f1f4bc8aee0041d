"""A model as an ONNX file without training it: what it would cost in time and size."""

from __future__ import annotations

from pathlib import Path

import torch

from compressor.exporting.config import ExportConfig
from compressor.exporting.export import export
from compressor.models import cost
from compressor.models.checkpoint import Card
from compressor.models.family import Family
from compressor.models.weights import build
from compressor.progress import Progress


def export_untrained(family: Family, name: str, size: int, path: Path, progress: Progress) -> None:
    """Writes a model with random weights, at a size of its modality's own measure, through the parity gate.

    Raises:
        CompressorError: no exporter can express the model.
    """
    torch.manual_seed(0)
    architecture, preprocessing, inputs = family.untrained(name, size)
    model = build(architecture)
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
    config = ExportConfig(parity_samples=4)
    export(model, card, path, precision="fp32", config=config, inputs=inputs, recipe=None, progress=progress)
