"""What the int8 ladder tried and what it came to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import model_serializer

from compressor.benchmarking.compare import Verdict
from compressor.benchmarking.lengths import Length
from compressor.document import Document
from compressor.exporting.document import ExportEntry


class Speed(Document):
    """Time of an int8 file over fp32's, here: one thread, batch 1."""

    ratio: float
    """Below 1 int8 is faster."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""
    verdict: Verdict
    """Whether it can be told, and which way."""
    fp32_ms: float
    """Median call."""
    int8_ms: float
    """Median call."""
    processes: int
    """Fresh processes of each."""
    length: Length | None = None
    """Of the samples: so many tokens, or `data`, as long as validation samples; null where all are of one size."""
    noisy: bool
    """Whether something disturbed the timing."""


class Rung(Document):
    """One way to make an int8 file, tried."""

    name: str
    """How it was made, in words."""
    calibration: str
    """How the ranges were chosen: min-max, percentile, entropy; or dynamic, in each batch."""
    bias_correction: bool = False
    """Whether biases were corrected for what integers shift."""
    float_nodes: tuple[str, ...] = ()
    """Nodes left in float."""
    only_weighted: bool = False
    """Whether all but convolutions and matrix products stayed float."""
    dynamic: bool = False
    """Whether ranges are measured in each batch as the file runs, so that nothing was calibrated."""
    bytes: int
    """Of the file."""
    top1: float
    """On validation, a fraction."""
    drop: float
    """Points of top-1 lost against fp32 on validation."""
    error: float
    """Relative error of the logits on validation: mean square of the difference over mean square."""
    within: bool
    """Whether the drop is within `max_drop`."""
    temperature: float | None = None
    """Calibration temperature of its own logits on validation."""
    speed: Speed | None = None
    """Null where it was not measured."""


class Int8(Document):
    """`int8.json`: what was kept, why, and everything that was tried. What only a kept file has is null without one."""

    kept: str | None
    """The rung that was kept; null where none qualified and fp32 stays."""
    reason: str
    """Why that one, or why none."""
    target: str
    """The CPU that it was made for: x86-vnni, x86, arm."""
    activations: str
    """Their integer type."""
    weights: str = "int8"
    """Their integer type."""
    seven_bit_weights: bool = False
    """Whether they use 7 of 8 bits, which CPUs without VNNI need."""
    max_drop: float
    """Points of validation top-1 that it could lose."""
    calibration_images: int
    """Training samples that the ranges come from; 0 where they are measured in each batch."""
    fp32_validation_top1: float
    """What the drop counts from."""
    calibration: str | None = None
    """How the ranges were chosen."""
    bias_correction: bool | None = None
    """Whether biases were corrected for what integers shift."""
    float_nodes: int | None = None
    """How many nodes stayed float."""
    only_weighted: bool | None = None
    """Whether all but convolutions and matrix products stayed float."""
    dynamic: bool | None = None
    """Whether ranges are measured in each batch as the file runs: an answer depends slightly on its neighbours."""
    validation_top1: float | None = None
    """Of the kept file."""
    temperature: float | None = None
    """Calibration temperature in the kept file; its own, unless its graph could not take that."""
    speed: Speed | None = None
    """Of the kept file; null where it was not timed."""
    qat_epochs: int | None = None
    """Epochs of fine-tuning; null without."""
    rungs: list[Rung] = []
    """In the order that they were tried in."""


class ArtifactEntry(ExportEntry):
    """An entry of `exports.json`; an int8 file's says what the ladder tried, too."""

    int8: Int8 | None = None
    """Absent for the other precisions."""

    @model_serializer(mode="wrap")
    def _only_of_int8(self, default: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        written = default(self)
        return written if self.int8 else {key: value for key, value in written.items() if key != "int8"}
