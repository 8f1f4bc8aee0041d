"""A small float file for the digits, of random weights, and what a ladder needs beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from compressor.artifact import session
from compressor.artifact.images import ImagePreprocessing, to_pixels
from compressor.artifact.metadata import Metadata
from compressor.artifact.preprocessing import Inputs
from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset
from compressor.data.load import load_dataset
from compressor.exporting.export import write_metadata
from compressor.quantization.ladder import Job
from tests.quantization.test_rewrites import squeezing


@dataclass(frozen=True)
class Student:
    """A float file and the images that it is judged on."""

    dataset: Dataset
    fp32: Path
    inputs: Inputs

    def job(self, **values: object) -> Job:
        artifact = session.load(self.fp32)
        parts = {"fp32": self.fp32, "dataset": self.dataset, "reference": artifact.logits, "inputs": self.inputs}
        return Job(**(parts | values))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def student(tmp_path_factory: pytest.TempPathFactory) -> Student:
    """Convolutions with squeeze-and-excite and hard-swish, 10 classes, 16 px: tested in seconds."""
    path = tmp_path_factory.mktemp("float") / "student.onnx"
    preprocessing = ImagePreprocessing(size=16)
    dataset = load_dataset(DataConfig(limit=160, image_size=16))
    onnx.save(squeezing(size=16, classes=10), path)
    write_metadata(path, Metadata(name="tiny", classes=dataset.classes, preprocessing=preprocessing))
    pixels = np.stack([to_pixels(dataset.read(int(i)), preprocessing) for i in dataset.splits["validation"][:32]])
    return Student(dataset, path, {"pixels": pixels})
