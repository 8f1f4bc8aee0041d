"""What a recipe says about exported files."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Precision = Literal["fp32", "fp16", "int8"]


class ExportConfig(BaseModel):
    """Which files are made of the student."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    precisions: list[Precision] = ["fp32"]
    """Files to make: `fp32`, `fp16`, `int8`."""
    opset: int = Field(default=18, ge=18, le=24)
    """Version of ONNX's operators; 18 is the oldest that the exporter writes and runs everywhere."""
    batch: int | Literal["dynamic"] = "dynamic"
    """Batch size of the file; `dynamic` takes any."""
    uint8_input: bool = False
    """Puts normalisation and softmax (at the calibration temperature) into the graph: (N, H, W, 3) uint8 in,
    probabilities out."""
    parity_samples: int = Field(default=128, ge=4)
    """Real validation samples that a file must reproduce the PyTorch model on."""
