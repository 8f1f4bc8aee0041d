"""A file with random weights on integers, to be timed: what int8 would cost, before there is anything to calibrate."""

from __future__ import annotations

from pathlib import Path

import onnx

from compressor.artifact import session
from compressor.exporting.export import write_metadata
from compressor.progress import Progress
from compressor.quantization.cpus import TARGETS, detect
from compressor.quantization.quantize import quantize
from compressor.quantization.rewrites import prepare

RANGE = (-3.0, 3.0)
"""Of every activation: integers take the time that they take, whatever they stand for."""


def quantize_untrained(fp32: Path, path: Path, progress: Progress) -> None:
    """Writes `path`: the graph of `fp32` rewritten and quantised for this CPU as the ladder's first rung would be.

    Its answers mean nothing. The ladder may leave nodes in float that are on integers here: what ships is timed again.

    Raises:
        ArtifactError: onnxruntime does not run it.
    """
    model, _ = prepare(onnx.load(fp32), lambda graph: None, progress)
    names = {name for node in model.graph.node for name in (*node.input, *node.output) if name}
    names -= {constant.name for constant in model.graph.initializer}
    made = quantize(model, dict.fromkeys(names, RANGE), TARGETS[detect()])
    onnx.save(made, path)
    metadata = session.load(fp32).metadata
    write_metadata(path, metadata.model_copy(update={"precision": "int8", "parity": None}))
    session.load(path)
