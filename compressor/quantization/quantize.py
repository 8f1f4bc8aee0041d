"""From a prepared float graph and ranges to one with integers between QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx

from compressor.quantization.calibrate import Ranges
from compressor.quantization.cpus import IntegerTypes
from compressor.quantization.graph import WEIGHTED, Graph, attribute, remove_unused
from compressor.quantization.rewrites import FACTOR, HALF_WIDTH

OPERATORS = (*WEIGHTED, "Add", "Mul", "Relu", "Clip", "LeakyRelu", "Sigmoid", "MaxPool", "AveragePool",
             "GlobalAveragePool", "Concat", "Split", "Slice", "Pad", "Reshape", "Squeeze", "Unsqueeze", "Flatten",
             "Transpose")  # fmt: skip
"""What onnxruntime's CPU provider runs on integers."""

ATTENTION = {"LayerNormalization", "Softmax", "Gelu", "Erf", "RMSNormalization"}
"""Where these are, what lies between the weighted nodes stays float: they have no integer kernels."""

TAIL = ("Div", "Softmax")
"""What a file with probabilities has behind its logits."""

FEW_INPUTS = 32
"""A dense k × k convolution with at most this many products per output (a 3 × 3 stem on RGB has 27) stays float: its
rows are shorter than a vector, and onnxruntime takes twice as long for it on integers (AVX2; docs/log.md)."""


def operators(model: onnx.ModelProto) -> tuple[str, ...]:
    """The operators worth quantising in this graph; a softmax behind the last weighted node changes nothing."""
    _, before = _reach(model)
    between = {n.op_type for n in model.graph.node if n.name in before}
    return WEIGHTED if ATTENTION & between else OPERATORS


def candidates(model: onnx.ModelProto, kinds: Iterable[str] | None = None) -> list[str]:
    """Nodes that can be quantised: those between the first and the last weighted node, in the graph's order.

    Normalisation before the first and softmax behind the last stay float; so do multiplications by a constant
    that a scale will take up, MatMul of two computed tensors, and a stem of `FEW_INPUTS`.
    """
    wanted = set(kinds or operators(model))
    index = Graph(model)
    after, before = _reach(model)
    chosen = []
    for node in model.graph.node:
        if node.op_type not in wanted or node.name.endswith(FACTOR):
            continue
        if node.op_type in WEIGHTED:
            if node.input[1] in index.constants and not _stays(index, node):
                chosen.append(node.name)
        elif node.name in after and node.name in before:
            chosen.append(node.name)
    return chosen


def short_rows(weight: tuple[int, ...], groups: int) -> bool:
    """Whether a convolution's weight (out, in / groups, height, width) is one that `FEW_INPUTS` leaves in float."""
    return len(weight) == 4 and groups == 1 and weight[2] > 1 and math.prod(weight[1:]) <= FEW_INPUTS


def _stays(index: Graph, node: onnx.NodeProto) -> bool:
    return node.op_type == "Conv" and short_rows(
        tuple(index.constants[node.input[1]].dims), attribute(node, "group", 1)
    )


def _reach(model: onnx.ModelProto) -> tuple[set[str], set[str]]:
    """Names of the nodes behind some weighted node, and of those before some weighted node."""
    behind: set[str] = set()
    tensors: set[str] = set()
    for node in model.graph.node:
        if tensors & set(node.input):
            behind.add(node.name)
        if node.name in behind or node.op_type in WEIGHTED:
            tensors |= set(node.output)
    ahead: set[str] = set()
    tensors = set()
    for node in reversed(model.graph.node):
        if tensors & set(node.output):
            ahead.add(node.name)
        if node.name in ahead or node.op_type in WEIGHTED:
            tensors |= set(node.input)
    return behind, ahead


def quantize(
    model: onnx.ModelProto, ranges: Ranges, types: IntegerTypes, *, nodes: list[str] | None = None
) -> onnx.ModelProto:
    """`model` with the named nodes (default: all candidates) on integers; the input is left unchanged."""
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    model = copy.deepcopy(model)
    chosen = candidates(model) if nodes is None else nodes
    activation = QuantType.QUInt8 if types.activations == "uint8" else QuantType.QInt8
    limited = tightened(model, ranges)
    known = TensorsData(
        CalibrationMethod.MinMax,
        {k: TensorData(lowest=np.float32(a), highest=np.float32(b)) for k, (a, b) in limited.items()},
    )
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # it advises on how to call another of its functions
    try:
        quantizer = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=types.seven_bit_weights,
            weight_qType=QuantType.QInt8,
            activation_qType=activation,
            tensors_range=known,
            nodes_to_quantize=chosen,
            nodes_to_exclude=[],
            op_types_to_quantize=sorted({n.op_type for n in model.graph.node if n.name in set(chosen)}),
            extra_options={"TensorQuantOverrides": _operands(model, set(chosen), activation)},
        )
        quantizer.quantize_model()
    finally:
        logging.root.setLevel(level)
    done: onnx.ModelProto = quantizer.model.model
    absorb_scales(done)
    float_outputs(done)
    remove_unused(done)
    short_names(done)
    del done.graph.value_info[:]
    return done


def tightened(model: onnx.ModelProto, ranges: Ranges) -> Ranges:
    """Ranges with what the graph itself knows: a gate's clip is its range, and below −3 hard-swish is nought."""
    index = Graph(model)
    found = dict(ranges)
    for node in model.graph.node:
        if node.op_type != "Clip" or not node.name:
            continue
        low, high = (index.constant(name) if name else None for name in (*node.input[1:3], "", "")[:2])
        if low is None or high is None or node.output[0] not in found:
            continue
        factor = index.only_reader(node.output[0])
        if not (factor is not None and factor.name.endswith(FACTOR)):
            continue
        found[node.output[0]] = (float(low), float(high))
        shift = index.producer.get(node.input[0])
        if shift is None or shift.op_type != "Add" or shift.input[0] not in found:
            continue
        source = shift.input[0]
        readers = {reader.op_type for reader in index.readers[source]}
        if readers == {"Add", "Mul"} and len(index.readers[source]) == 2 and source not in index.outputs:
            lowest, highest = found[source]
            found[source] = (max(lowest, -HALF_WIDTH), max(highest, -HALF_WIDTH + 1e-3))
    return found


def _operands(model: onnx.ModelProto, chosen: set[str], activation: Any) -> dict[str, list[dict[str, Any]]]:
    """Constants beside activations (x + 3) get their type: the integer kernels take two of a kind."""
    constants = {i.name for i in model.graph.initializer if i.data_type == onnx.TensorProto.FLOAT}
    found: dict[str, list[dict[str, Any]]] = {}
    for node in model.graph.node:
        if node.name in chosen and node.op_type not in WEIGHTED:
            found |= {name: [{"quant_type": activation}] for name in node.input if name in constants}
    return found


def absorb_scales(model: onnx.ModelProto) -> int:
    """DequantizeLinear → · c → QuantizeLinear → DequantizeLinear: one DequantizeLinear with c times the scale."""
    count = 0
    while True:
        index = Graph(model)
        node = next((n for n in model.graph.node if n.name.endswith(FACTOR) and _absorbable(index, n)), None)
        if node is None:
            return count
        before = index.producer[node.input[0]]
        after = index.readers[index.readers[node.output[0]][0].output[0]][0]
        factor, scale = index.constant(node.input[1]), index.constant(before.input[1])
        assert factor is not None
        assert scale is not None
        name = index.add_constant(f"{after.output[0]}/scale", (scale * factor).astype(np.float32))
        after.input[0], after.input[1], after.input[2] = before.input[0], name, before.input[2]
        model.graph.node.remove(node)
        remove_unused(model)
        count += 1


def _absorbable(index: Graph, node: onnx.NodeProto) -> bool:
    before, quantize_node = index.producer.get(node.input[0]), index.only_reader(node.output[0])
    if before is None or before.op_type != "DequantizeLinear" or quantize_node is None:
        return False
    if quantize_node.op_type != "QuantizeLinear":
        return False
    return all(n.op_type == "DequantizeLinear" for n in index.readers.get(quantize_node.output[0], [])) and (
        len(index.readers.get(quantize_node.output[0], [])) == 1
    )


def float_outputs(model: onnx.ModelProto) -> None:
    """The logits leave as the last node's float sums, also into a softmax: 256 steps would tie close classes."""
    index = Graph(model)
    for output in model.graph.output:
        name, reader = output.name, None
        node = index.producer.get(name)
        while node is not None and node.op_type in TAIL:
            name, reader = node.input[0], node
            node = index.producer.get(name)
        first = index.producer.get(node.input[0]) if node is not None and node.op_type == "DequantizeLinear" else None
        if node is None or first is None or first.op_type != "QuantizeLinear":
            continue
        source = first.input[0]
        maker = index.producer.get(source)
        if maker is None or index.only_reader(source) is not first:
            continue
        if reader is not None:
            reader.input[0] = source
            continue
        model.graph.node.remove(node)
        maker.output[list(maker.output).index(source)] = output.name


def short_names(model: onnx.ModelProto) -> None:
    """Tensors numbered: the exporter's and the quantiser's names take more room than a small student's weights."""
    kept = {v.name for v in (*model.graph.input, *model.graph.output)}
    names: dict[str, str] = {"": ""}

    def short(name: str) -> str:
        if name in kept:
            return name
        return names.setdefault(name, f"t{len(names)}")

    for node in model.graph.node:
        for edge in (node.input, node.output):
            edge[:] = [short(name) for name in edge]
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.name = ""
    for initializer in model.graph.initializer:
        initializer.name = short(initializer.name)
