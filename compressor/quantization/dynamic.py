"""Integer products with weights stored as int8 and ranges of activations measured in each batch, as the file runs.

The operators are ONNX's own; onnxruntime fuses each chain into one kernel when it loads the file.
"""

from __future__ import annotations

import copy

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from compressor.quantization.cpus import IntegerTypes
from compressor.quantization.graph import Graph, attribute, remove_unused, replace_nodes
from compressor.quantization.quantize import short_names

EIGHT_BITS, SEVEN_BITS = 127, 64
"""Largest weight, as an integer; see `cpus.TARGETS` for who needs the smaller one."""


def integer_sums(model: onnx.ModelProto, types: IntegerTypes, nodes: list[str]) -> onnx.ModelProto:
    """A copy of `model` in which the named MatMul and Gemm multiply integers; the input is left unchanged.

    x · W + b becomes float(q(x) · q(W)) · (scale of x · scale of W) + b. q(x) is uint8 over the range of the whole
    tensor, padding and other samples of the batch included (ONNX's DynamicQuantizeLinear); q(W) is int8, symmetric,
    with a scale per output channel.
    """
    made = copy.deepcopy(model)
    # Shapes inferred for the float graph are not all the same without its nodes.
    del made.graph.value_info[:]
    index, limit = Graph(made), SEVEN_BITS if types.seven_bit_weights else EIGHT_BITS
    quantised: set[str] = set()

    def change(node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        weight = _weight(index, node) if node.name in nodes else None
        return None if weight is None else _chain(index, node, weight, limit, quantised)

    replace_nodes(made.graph, change)
    remove_unused(made)
    short_names(made)
    return made


def _weight(index: Graph, node: onnx.NodeProto) -> NDArray[np.float32] | None:
    """(inputs, outputs) float32; None where the node is not one product with a constant matrix."""
    value = index.constant(node.input[1]) if len(node.input) > 1 else None
    if value is None or value.ndim != 2 or value.dtype != np.float32:
        return None
    if node.op_type == "MatMul":
        return value
    plain = attribute(node, "alpha", 1.0) == attribute(node, "beta", 1.0) == 1.0 and not attribute(node, "transA", 0)
    if node.op_type != "Gemm" or not plain:
        return None
    return value.T if attribute(node, "transB", 0) else value


def _chain(
    index: Graph, node: onnx.NodeProto, weight: NDArray[np.float32], limit: int, quantised: set[str]
) -> list[onnx.NodeProto]:
    source, out = node.input[0], node.output[0]
    integers, scales = rounded(weight, 0, limit)
    names = [index.add_constant(f"{out}/{what}", value) for what, value in (
        ("weight", integers), ("weight_scale", scales.reshape(-1)), ("weight_zero", np.zeros(len(scales.T), np.int8)),
    )]  # fmt: skip
    own = [f"{source}/integers", f"{source}/scale", f"{source}/zero"]
    made = []
    if source not in quantised:  # query, key and value read one tensor
        made.append(helper.make_node("DynamicQuantizeLinear", [source], own))
        quantised.add(source)
    bias = node.input[2] if len(node.input) > 2 and node.input[2] else None
    scaled = f"{out}/scaled" if bias else out
    made += [
        helper.make_node("MatMulInteger", [own[0], names[0], own[2], names[2]], [f"{out}/sums"], node.name),
        helper.make_node("Cast", [f"{out}/sums"], [f"{out}/float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [own[1], names[1]], [f"{out}/scale"]),
        helper.make_node("Mul", [f"{out}/float", f"{out}/scale"], [scaled]),
    ]
    return [*made, helper.make_node("Add", [scaled, bias], [out])] if bias else made


def rounded(values: NDArray[np.float32], axis: int, limit: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(rows, columns) as int8 within ± `limit`, and its scales, one for each line along `axis`, which is kept as 1."""
    scales = np.abs(values).max(axis=axis, keepdims=True).astype(np.float32) / np.float32(limit)
    scales[scales == 0] = 1
    return np.clip(np.round(values / scales), -limit, limit).astype(np.int8), scales
