"""A language model's file with int8 weights: matrix products and embeddings, activations in integers as they come."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx

from compressor.errors import ArtifactError, CompressorError
from compressor.quantization.cpus import IntegerTypes
from compressor.quantization.graph import Graph, attribute

LOSS = 0.01
"""What int8 may add to the perplexity of the validation text, as a share."""


def quantise(source: Path, path: Path, types: IntegerTypes) -> None:
    """Writes `path`: onnxruntime's dynamic quantisation, a scale for each output channel, weights of 7 bits where the CPU
    needs that. Nothing is calibrated: the ranges of activations are taken as they come.

    Raises:
        ArtifactError: onnxruntime can't.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # it advises on how to call another of its functions
    try:
        quantize_dynamic(
            _folded(onnx.load(source)), path, weight_type=QuantType.QInt8, per_channel=True,
            reduce_range=types.seven_bit_weights, op_types_to_quantize=["MatMul", "Gather"],
        )  # fmt: skip
    except Exception as error:  # it raises whatever the graph made it stumble over
        raise ArtifactError(f"onnxruntime can't quantise {source}: {type(error).__name__}: {error}") from error
    finally:
        logging.root.setLevel(level)


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """With weights transposed that were so in the graph: integers are made of what a product reads directly.

    The words' embedding is in it twice then, which in int8 is half of what it was.
    """
    graph = Graph(model)
    for node in list(model.graph.node):
        value = graph.constant(node.input[0]) if node.op_type == "Transpose" else None
        if value is not None:
            graph.add_constant(node.output[0], np.transpose(value, attribute(node, "perm")))
            model.graph.node.remove(node)
    read = {name for node in model.graph.node for name in node.input}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in read]:
        model.graph.initializer.remove(tensor)
    return model


def gate(own: float | None, other: float | None) -> float:
    """What int8 adds to the perplexity, as a share, from both NLLs of the validation text.

    Raises:
        CompressorError: more than `LOSS`.
    """
    added = float("inf") if own is None or other is None else float(np.expm1(own - other))
    if not added <= LOSS:
        raise CompressorError(
            f"int8 adds {100 * added:.2f} % to the perplexity of the validation text, and {100 * LOSS:g} % is the most: fp32 stays"
        )
    return added
