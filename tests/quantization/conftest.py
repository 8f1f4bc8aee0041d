"""One small trained student, its float file and the images it was made from, shared by the room's tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset
from compressor.data.load import load_dataset
from compressor.export import onnx as exporting
from compressor.export.config import ExportConfig
from compressor.models import checkpoint
from compressor.models.checkpoint import Card
from compressor.quantization.ladder import Job
from compressor.runtime import Silent
from compressor.shipping import validation_pixels


@dataclass(frozen=True)
class Student:
    """A trained student with its float file."""

    model: nn.Module
    card: Card
    dataset: Dataset
    fp32: Path
    pixels: np.ndarray

    def job(self, **values: object) -> Job:
        reference = exporting.reference_of(self.model, self.card, ExportConfig())
        parts = {"fp32": self.fp32, "dataset": self.dataset, "reference": reference, "pixels": self.pixels}
        return Job(**(parts | values))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def student(run: Path) -> Student:
    """The shared run's student: MobileNetV3-small, two epochs of the digits."""
    model, card = checkpoint.load(run)
    dataset = load_dataset(DataConfig(limit=160))
    return Student(model, card, dataset, run / "student.onnx", validation_pixels(dataset, card, 32))
