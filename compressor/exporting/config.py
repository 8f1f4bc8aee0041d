"""What a recipe says about exported files."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compressor.section import Section

Precision = Literal["fp32", "fp16", "int8"]


class ExportConfig(Section):
    """Which files are made of the student."""

    precisions: list[Precision] = Field(default=["fp32"], min_length=1, max_length=16)
    """Files to make: `fp32`, `fp16`, `int8`."""
    opset: int = Field(default=18, ge=18, le=24)
    """Version of ONNX's operators; 18 is the oldest that the exporter writes and runs everywhere."""
    batch: Annotated[int, Field(ge=1, le=65_536)] | Literal["dynamic"] = "dynamic"
    """Batch size of the file; `dynamic` takes any."""
    uint8_input: bool = False
    """Puts normalisation and softmax (at the calibration temperature) into the graph: (N, H, W, 3) uint8 in,
    probabilities out."""
    parity_samples: int = Field(default=128, ge=4, le=1_000_000)
    """Real validation samples that a file must reproduce the PyTorch model on."""
