"""What a recipe says about a teacher and a student."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from compressor.section import LARGEST_IMAGE, Section

OneOrSeveral = Annotated[str, BeforeValidator(lambda v: ",".join(map(str, v)) if isinstance(v, list) else v)]
Mean = Annotated[float, Field(ge=-1000, le=1000)]
Deviation = Annotated[float, Field(gt=0, le=1000)]
Stem = Literal["auto", "keep", "stride1"]


class TeacherConfig(Section):
    """The model that teaches."""

    model: OneOrSeveral = "resnet50"
    """A model's name, such as timm's, `hf-hub:…`, a checkpoint (`.safetensors`, `.pth`), an earlier run's
    folder, an ONNX file (`.onnx`), or a table of probabilities by file name (`.csv`, `.npz`). Several, separated by commas or
    as a list, teach together: the mean of their calibrated probabilities, in the shares that suit validation best."""
    init: str = "auto"
    """`pretrained`, `scratch`, a weights file, or `auto`: pretrained where they can be had."""
    stem: Stem = "keep"
    """Adaptation to small inputs; `keep` leaves the architecture as its weights know it."""
    tune: Literal["auto", "none", "head", "all"] = "auto"
    """What is trained of trained weights: nothing, a head on the untouched body, or everything after a fitted
    head; `auto`: everything, or nothing where the head knows these classes already."""
    image_size: int | None = Field(default=None, ge=1, le=LARGEST_IMAGE)
    """Height and width that the teacher sees, pixels; None takes the student's. Both see the same crop of a view."""
    epochs: int | None = Field(default=None, ge=0, le=100_000)
    """Epochs when the teacher has to be trained or fine-tuned here; None takes the stage's."""
    calibrate: bool = True
    """Fits a temperature on validation and divides the teacher's logits by it before they teach; one that may have been
    trained on the validation samples is never made surer of itself."""
    mean: tuple[Mean, Mean, Mean] | None = None
    """Of an ONNX file that doesn't say it: per-channel mean of values in 0…1; None takes ImageNet's, and says so."""
    std: tuple[Deviation, Deviation, Deviation] | None = None
    """Likewise the standard deviation."""


class StudentConfig(Section):
    """The model that ships."""

    model: str = "mobilenetv3_large_100"
    """A model's name, such as timm's."""
    init: str = "auto"
    """`pretrained`, `scratch`, `teacher` (its layers, where the student is named by them), a weights file, or `auto`: the
    teacher's layers or pretrained where they can be had."""
    stem: Stem = "auto"
    """Adaptation to small images: `stride1` lets the first convolution keep the resolution, so that a
    32-pixel image does not end as a 1 × 1 map; `auto` does so at 48 pixels and below."""
