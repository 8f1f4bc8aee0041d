"""What a recipe says about a teacher and a student."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from compressor.options import megabytes, milliseconds
from compressor.section import LARGEST_IMAGE, Section

OneOrSeveral = Annotated[str, BeforeValidator(lambda v: ",".join(map(str, v)) if isinstance(v, list) else v)]
Mean = Annotated[float, Field(ge=-1000, le=1000)]
Deviation = Annotated[float, Field(gt=0, le=1000)]
Stem = Literal["auto", "keep", "stride1"]
Milliseconds = Annotated[float, Field(gt=0, le=1_000_000), BeforeValidator(milliseconds)]
Megabytes = Annotated[float, Field(gt=0, le=1_000_000), BeforeValidator(megabytes)]


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


class DeviceBudget(Section):
    """What the student's file may take on this machine. What is None is not limited."""

    max_latency_ms: Milliseconds | None = None
    """Most that the median call may take at batch 1, the upper end of its 95 % interval counted; `5ms`, `0.5s`, or
    milliseconds."""
    max_size_mb: Megabytes | None = None
    """Most that the file may be; `4MB`, `900KB`, or MB of 10⁶ bytes."""
    max_memory_mb: Megabytes | None = None
    """Most resident memory at its peak of a process that runs the file, its interpreter and onnxruntime with it; as
    `max_size_mb`."""
    precisions: list[Literal["fp32", "int8"]] = Field(default=["fp32", "int8"], min_length=1, max_length=2)
    """What the student may ship as: one file has to keep to all limits."""
    threads: int = Field(default=1, ge=1, le=1024)
    """Threads of onnxruntime that the latency counts at."""

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return any(limit is not None for limit in (self.max_latency_ms, self.max_size_mb, self.max_memory_mb))


class StudentConfig(Section):
    """The model that ships."""

    model: str = "mobilenetv3_large_100"
    """A model's name, such as timm's; `auto`: the best that `budget` allows, of `candidates` that are measured here."""
    init: str = "auto"
    """`pretrained`, `scratch`, `teacher` (its layers, where the student is named by them), a weights file, or `auto`: the
    teacher's layers or pretrained where they can be had."""
    stem: Stem = "auto"
    """Adaptation to small images: `stride1` lets the first convolution keep the resolution, so that a
    32-pixel image does not end as a 1 × 1 map; `auto` does so at 48 pixels and below."""
    budget: DeviceBudget = DeviceBudget()
    """What its file may take on this machine; measured when it is exported."""
    candidates: Annotated[list[str], Field(max_length=100)] | None = None
    """Models that `model: auto` chooses among, by name; None: two dozen small ones that are well known."""
    finalists: Annotated[list[str], Field(max_length=100)] = []
    """Models of which short trainings choose the student; `model: auto` writes them here, and what it chose into `model`."""
    search: float = Field(default=0.25, gt=0, le=1)
    """What these trainings may take, as a share of training every finalist to the end."""
