"""Bias correction, and how much each weighted node's integers cost; both measured against the float graph."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from compressor.artifact.preprocessing import count
from compressor.quantization.calibrate import Feed, Ranges
from compressor.quantization.cpus import IntegerTypes
from compressor.quantization.graph import WEIGHTED, Graph
from compressor.quantization.quantize import quantize

SWEEPS = 128
"""Most groups of nodes that are corrected one after the other. A group sees the groups before it corrected; two
nodes in a row in one group would both correct the first one's shift."""

Batches = Sequence[Feed]


def correct_biases(model: onnx.ModelProto, quantised: onnx.ModelProto, batches: Batches) -> int:
    """Moves biases in `quantised` so that each node's mean output per channel is the float graph's.

    Nagel et al. 2019 (data-free quantisation, section 4.2), with means measured instead of derived, and in the
    graph's order: a node is measured behind those already corrected. onnxruntime has no such step.

    Args:
        model: the float graph that was quantised; node names are the same in both.
        quantised: changed in place.
        batches: calibration samples as the graph's inputs take them.

    Returns:
        How many nodes were corrected.
    """
    whole = Graph(quantised)
    nodes = [n.name for n in quantised.graph.node if n.op_type in ("Conv", "Gemm") and _bias(whole, n)]
    if not nodes:
        return 0
    wanted = channel_means(model, nodes, batches)
    size = max(1, -(-len(nodes) // SWEEPS))
    for start in range(0, len(nodes), size):
        group = nodes[start : start + size]
        seen = channel_means(quantised, group, batches)
        index = Graph(quantised)
        named = {n.name: n for n in quantised.graph.node if n.name in group}
        for name in group:
            found = _bias(index, named[name])
            assert found is not None
            value, scale = index.constant(found[0]), index.constant(found[1])
            assert value is not None
            assert scale is not None
            moved = value + np.round((wanted[name] - seen[name]) / scale)
            limits = np.iinfo(np.int32)
            index.set_constant(found[0], np.clip(moved, limits.min, limits.max).astype(np.int32))
    return len(nodes)


def _bias(index: Graph, node: onnx.NodeProto) -> tuple[str, str] | None:
    """Names of a node's integer bias and of its scale; None where the node or its bias is float."""
    source = index.producer.get(node.input[2]) if len(node.input) > 2 else None
    if source is None or source.op_type != "DequantizeLinear" or source.input[0] not in index.constants:
        return None
    return source.input[0], source.input[1]


def channel_means(model: onnx.ModelProto, nodes: list[str], batches: Batches) -> dict[str, NDArray[np.float64]]:
    """Node → mean of its output per channel (axis 1), over all samples and positions."""
    model = copy.deepcopy(model)
    outputs = {n.name: n.output[0] for n in model.graph.node if n.name in set(nodes)}
    known = {o.name for o in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs.values() if name not in known)
    session = plain_session(model)
    sums: dict[str, Any] = dict.fromkeys(outputs, 0.0)
    total = sum(count(batch) for batch in batches)
    for batch in batches:
        given = session.run(list(outputs.values()), batch)
        for name, value in zip(outputs, given, strict=True):
            axes = (0, *range(2, value.ndim))
            sums[name] = sums[name] + value.mean(axis=axes, dtype=np.float64) * count(batch)
    return {name: value / total for name, value in sums.items()}


def plain_session(model: onnx.ModelProto) -> Any:
    """A session that runs the graph as it stands: integers are simulated in float, nothing is fused."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def rank(
    model: onnx.ModelProto, ranges: Ranges, types: IntegerTypes, nodes: list[str], batches: Batches
) -> list[tuple[str, float]]:
    """Weighted nodes by what their integers alone do to the outputs: relative error of the logits, largest first."""
    weighted = {n.name for n in model.graph.node if n.op_type in WEIGHTED}
    expected = _outputs(model, batches)
    scale = float(np.square(expected).mean()) or 1.0
    found = []
    for name in (n for n in nodes if n in weighted):
        alone = quantize(model, ranges, types, nodes=[name])
        found.append((name, float(np.square(_outputs(alone, batches) - expected).mean()) / scale))
    return sorted(found, key=lambda pair: -pair[1])


def _outputs(model: onnx.ModelProto, batches: Batches) -> NDArray[Any]:
    session = plain_session(model)
    return np.concatenate([session.run(None, batch)[0] for batch in batches])
