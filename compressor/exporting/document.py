"""What is written down of an exported file."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator

from compressor.artifact.metadata import TemperatureOf
from compressor.document import Document
from compressor.runnote import LanguageFigures


def _unbounded(value: Any) -> Any:
    return math.inf if value is None else value


class Parity(Document):
    """How closely a file reproduces the model."""

    max_relative_error: Annotated[float, BeforeValidator(_unbounded)]
    """max |a − b| / max |a| over all logits of the checked samples; null in a file where it is infinite."""
    top1_agreement: float
    """Share of samples with the same top class."""
    samples: int
    """Validation rows that were checked."""


class ExportEntry(Document):
    """An entry of `exports.json`: one file that a model was exported to."""

    file: str | None
    """Its path inside the run; null for an int8 file that the ladder refused, which `exports.json` does not list."""
    role: str
    """teacher, assistant, baseline or student."""
    precision: str
    """fp32, fp16 or int8."""
    opset: int
    """Version of ONNX's operators."""
    bytes: int | None = None
    """Of the file."""
    top1: float | None = None
    """On test, by the file itself."""
    nll: float | None = None
    """On test, raw; nats."""
    ece: float | None = None
    """On test, raw, at temperature 1."""
    nll_calibrated: float | None = None
    """On test, of the probabilities that ship: at the file's calibration temperature."""
    ece_calibrated: float | None = None
    """On test, of the probabilities that ship: at the file's calibration temperature."""
    temperature: float | None = None
    """The calibration temperature in its metadata."""
    temperature_of: TemperatureOf | None = None
    """Whose validation logits it was fitted to: `model` (the PyTorch model's) or `file` (its own, as int8's)."""
    language: LanguageFigures | None = None
    """Of a language model, on the whole test text: by the file itself, of a run's fp32 teacher its model's."""
    parity: Parity | None = None
    """How closely it reproduces the PyTorch model."""
    made_from: str | None = None
    """Fingerprint of the weights, settings and data that it was made from: a run that goes on does not make it again."""
    digest: str | None = None
    """Of the file: one that was changed or damaged is made again."""
