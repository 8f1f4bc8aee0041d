"""What a recipe says about int8 files."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from compressor.exporting.config import ExportConfig
from compressor.section import Section

Target = Literal["auto", "x86-vnni", "x86", "arm"]


class Int8Config(Section):
    """The ladder: what is tried to make an int8 file, and what it has to keep to."""

    max_drop: float = Field(default=0.5, ge=0, le=100)
    """Points of validation top-1 that int8 may lose against fp32."""
    target: Target = "auto"
    """CPU that the integer types are chosen for: `x86-vnni`, `x86` (without VNNI), `arm`; `auto`: this one."""
    calibration_images: int = Field(default=256, ge=1, le=1_000_000)
    """Training samples that the ranges of activations are measured on."""
    correction_images: int = Field(default=32, ge=1, le=1_000_000)
    """Of these, samples that biases are corrected and sensitive nodes are ranked on."""
    most_float: int = Field(default=8, ge=0, le=10_000)
    """Most weighted nodes that are left in float, the most sensitive ones first."""
    allow_slower: bool = False
    """Keeps a file that is slower than fp32 here, for its size."""
    processes: int = Field(default=5, ge=3, le=1000)
    """Fresh processes of each side in which the speed of int8 and fp32 is compared."""
    qat: bool = False
    """Fine-tunes the fake-quantised student under the teacher's soft targets when the drop is too large."""
    qat_epochs: int = Field(default=3, ge=1, le=100_000)
    """Epochs of that fine-tuning."""
    qat_lr: float = Field(default=1e-4, gt=0, le=1000)
    """Peak learning rate of that fine-tuning."""


class ArtifactsConfig(ExportConfig):
    """Which files are made of the student."""

    int8: Int8Config = Int8Config()
    """How an int8 file is made, where one is asked for."""
