"""A timm model as an ONNX file without training it: what it would cost in time and size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from compressor.exporting.config import ExportConfig
from compressor.exporting.export import export
from compressor.models import cost
from compressor.models.build import Architecture, build, preprocessing_for
from compressor.models.checkpoint import Card
from compressor.progress import Progress

CLASSES = 1000


def export_sketch(name: str, size: int, path: Path, progress: Progress) -> None:
    """Writes timm's `name` for `size` pixels and 1,000 classes with random weights, through the parity gate.

    Raises:
        CompressorError: no exporter can express the model.
    """
    torch.manual_seed(0)
    architecture = Architecture(name=name, classes=CLASSES, image_size=size)
    model = build(architecture)
    card = Card(
        architecture=architecture,
        classes=[f"class {i}" for i in range(CLASSES)],
        preprocessing=preprocessing_for(name, size=size),
        role="sketch",
        origin="random",
        dataset={},
        params=cost.parameters(model),
        macs=cost.macs(model, size),
    )
    config = ExportConfig(parity_samples=4)
    pixels = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), dtype=np.uint8)
    export(model, card, path, precision="fp32", config=config, pixels=pixels, recipe=None, progress=progress)
