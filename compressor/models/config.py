"""What a recipe says about a teacher and a student."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Stem = Literal["auto", "keep", "stride1"]


class TeacherConfig(BaseModel):
    """The model that teaches."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "resnet50"
    """A model's name, such as timm's, `hf-hub:…`, a checkpoint (`.safetensors`, `.pth`) or an earlier run's folder."""
    init: str = "auto"
    """`pretrained`, `scratch`, a weights file, or `auto`: pretrained where they can be had."""
    stem: Stem = "keep"
    """Adaptation to small inputs; `keep` leaves the architecture as its weights know it."""
    tune: Literal["auto", "none", "head", "all"] = "auto"
    """What is trained of trained weights: nothing, a head on the untouched body, or everything after a fitted
    head; `auto`: everything, or nothing where the head knows these classes already."""
    image_size: int | None = Field(default=None, ge=1)
    """Height and width that the teacher sees, pixels; None takes the student's. Both see the same crop of a view."""
    epochs: int | None = Field(default=None, ge=0)
    """Epochs when the teacher has to be trained or fine-tuned here; None takes the stage's."""
    calibrate: bool = True
    """Fits a temperature on validation and divides the teacher's logits by it before they teach."""


class StudentConfig(BaseModel):
    """The model that ships."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "mobilenetv3_large_100"
    """A model's name, such as timm's."""
    init: str = "auto"
    """`pretrained`, `scratch`, a weights file, or `auto`: pretrained where they can be had."""
    stem: Stem = "auto"
    """Adaptation to small images: `stride1` lets the first convolution keep the resolution, so that a
    32-pixel image does not end as a 1 × 1 map; `auto` does so at 48 pixels and below."""
