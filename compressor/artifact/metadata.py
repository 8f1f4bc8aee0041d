"""What an exported file says of itself: one JSON document under the key `compressor` in its metadata."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, ValidationInfo, field_validator

from compressor.artifact import preprocessing as inputs
from compressor.artifact.preprocessing import Preprocessing
from compressor.errors import ArtifactError, UsageError
from compressor.modalities import DEFAULT
from compressor.text import plain

KEY = "compressor"

TemperatureOf = Literal["model", "file"]
"""Whose validation logits a temperature was fitted to: the PyTorch model's, or the exported file's own."""

LONGEST = 8_000_000 + inputs.LONGEST
"""Characters of metadata: 100,000 class names of 80, and the preprocessing."""


class Metadata(BaseModel):
    """The description that travels inside an ONNX file."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    schema_version: int = 1
    name: str
    """The architecture's name in its family."""
    role: str = "student"
    classes: list[str] = Field(min_length=1)
    """Class names, in the order of the logits."""
    modality: str = DEFAULT
    """What kind of thing goes in; its preprocessing is read accordingly."""
    preprocessing: SerializeAsAny[Preprocessing]
    stem: str = "keep"
    """The stem adaptation the architecture was built with (see `student.stem` in the recipe)."""
    precision: str = "fp32"
    input: Literal["normalised", "uint8"] = "normalised"
    """`normalised`: what the model takes; `uint8`: as encoded, normalised inside the graph."""
    output: Literal["logits", "probabilities"] = "logits"
    """`probabilities`: softmax(logits / temperature), inside the graph."""
    dataset: dict[str, str | int | float | None] | None = None
    """Name, fingerprint and seed of the data it was trained on."""
    recipe: str | None = None
    """Fingerprint of the resolved recipe."""
    temperature: float | None = Field(default=None, gt=0, le=1e4)
    """Calibration temperature fitted on validation; softmax(logits / temperature) is calibrated."""
    temperature_of: TemperatureOf | None = None
    """Whose validation logits it was fitted to; an int8 file's logits are not the model's. None in older files: `model`."""
    top1: float | None = None
    """Test accuracy of the PyTorch model, a fraction."""
    parity: dict[str, Any] | None = None
    """How closely this file reproduces the PyTorch model on real samples."""
    int8: dict[str, Any] | None = None
    """What an int8 file was made for and how: target CPU, integer types, calibration, nodes left in float, accuracy."""
    macs: int | None = None
    """Multiply–accumulate operations for one sample."""
    params: int | None = None
    lengths: list[Annotated[int, Field(ge=1, le=65_536)]] | None = Field(default=None, min_length=1, max_length=1000)
    """Quantiles, evenly spaced, of how long validation samples are, in tokens: what a benchmark without the data measures
    on. None where all are of one size, and in older files."""

    @field_validator("preprocessing", mode="before")
    @classmethod
    def _of_its_modality(cls, value: Any, info: ValidationInfo) -> Any:
        return of_modality(value, info)


def of_modality(value: Any, info: ValidationInfo) -> Any:
    """A document's preprocessing as the class of the `modality` that stands before it in the document."""
    try:
        return inputs.parse(info.data.get("modality", DEFAULT), value)
    except UsageError as error:
        raise ValueError(str(error)) from error


def showable(text: str) -> bool:
    """Whether a text may be a name: it shows as what it is, and a terminal obeys nothing in it."""
    return plain(text) and len(text) <= 1000


def parse(text: str | None, source: str) -> Metadata:
    """The metadata in `text`, checked.

    Raises:
        ArtifactError: the file carries none, or it is damaged.
    """
    if text and len(text) > LONGEST:
        raise ArtifactError(f"{source} has damaged compressor metadata: {len(text) / 1e6:.0f} MB of it")
    if not text:
        raise ArtifactError(
            f"{source} has no compressor metadata: classes and preprocessing are unknown.\n"
            f"Export it with `compress export`, which writes both into the file."
        )
    try:
        found = Metadata.model_validate_json(text)
    except ValidationError as error:
        if task_of(text) == "lm":
            raise ArtifactError(
                f"{source} holds a language model, which names no classes; it writes on: compress generate {source}"
            ) from error
        raise ArtifactError(f"{source} has damaged compressor metadata: {wrong(error)}") from error
    odd = [text for text in (found.name, found.role, *found.classes) if not showable(text)]
    if odd:
        raise ArtifactError(f"{source} has damaged compressor metadata: the name {odd[0][:60]!r} is not printable text")
    return found


def wrong(error: ValidationError) -> str:
    """The first thing that is wrong, and where."""
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'document'}: {first['msg']}"


def task_of(text: str) -> str | None:
    """What a file is for: `lm`; a classifier's metadata do not say, as those of older files."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found.get("task") if isinstance(found, dict) else None
