"""Rewrites after which a float graph can be quantised without float islands; each leaves its results as they are.

onnxruntime has no integer kernel for ReduceMean, HardSwish and HardSigmoid: left alone, each of them takes its
neighbours' tensors back to float and again to int8.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from compressor.errors import ParityError, first_line
from compressor.exporting.clean import plain
from compressor.progress import Progress
from compressor.quantization.graph import WEIGHTED, Graph, attribute, remove_unused, replace_nodes

SPATIAL = ({2, 3}, {-1, -2})
HALF_WIDTH = 3.0  # hard-swish and PyTorch's hard-sigmoid bend at ± 3

Rewrite = Callable[[onnx.ModelProto], int]
"""Changes a model in place; gives how many places it changed."""

Check = Callable[[onnx.ModelProto], None]
"""Raises ParityError when a graph no longer gives the model's results."""


def prepare(model: onnx.ModelProto, check: Check, progress: Progress) -> tuple[onnx.ModelProto, dict[str, int]]:
    """A copy in which everything that can be is ready to be quantised, and how often each rewrite applied.

    Every rewrite is checked on its own; one that changes the results is taken back and named.
    """
    done = _finished(folded(model))
    check(done)
    applied: dict[str, int] = {}
    for name, rewrite in REWRITES.items():
        tried = copy.deepcopy(done)
        count = rewrite(tried)
        if not count:
            continue
        tried = _finished(tried)
        try:
            check(tried)
        except ParityError as error:
            progress.say(f"int8: the rewrite {name} is left out: {first_line(error)}")
            continue
        done, applied[name] = tried, count
    return done, applied


def _finished(model: onnx.ModelProto) -> onnx.ModelProto:
    remove_unused(model)
    name_nodes(model)
    del model.graph.value_info[:]
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model)
    return model


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Constants folded and BatchNormalization merged into convolutions: onnxruntime's own portable rewrites."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.onnx", Path(folder) / "out.onnx"
        onnx.save(model, source)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
        done = onnx.load(target)
    plain(done)
    used = {node.domain for node in done.graph.node}
    for opset in [o for o in done.opset_import if o.domain and o.domain not in used]:
        done.opset_import.remove(opset)
    return done


def mean_to_pool(model: onnx.ModelProto) -> int:
    """ReduceMean over height and width → GlobalAveragePool, flattened where the axes were dropped."""
    inferred = onnx.shape_inference.infer_shapes(model)
    known = (*inferred.graph.value_info, *inferred.graph.input)
    rank = {v.name: len(v.type.tensor_type.shape.dim) for v in known if v.type.tensor_type.HasField("shape")}
    index = Graph(model)

    def change(node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        if node.op_type != "ReduceMean" or rank.get(node.input[0]) != 4:
            return None
        axes = index.constant(node.input[1]) if len(node.input) > 1 else attribute(node, "axes")
        if axes is None or {int(a) for a in axes} not in SPATIAL:
            return None
        if attribute(node, "keepdims", 1):
            return [helper.make_node("GlobalAveragePool", node.input[:1], node.output, node.name)]
        pooled = f"{node.output[0]}/pooled"
        return [
            helper.make_node("GlobalAveragePool", node.input[:1], [pooled], node.name),
            helper.make_node("Flatten", [pooled], node.output, f"{node.output[0]}/flatten", axis=1),
        ]

    return replace_nodes(model.graph, change)


def split_hard_swish(model: onnx.ModelProto) -> int:
    """HardSwish(x) → x · HardSigmoid(x)."""

    def change(node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        if node.op_type != "HardSwish":
            return None
        gate = f"{node.output[0]}/gate"
        return [
            helper.make_node("HardSigmoid", node.input, [gate], gate, alpha=1 / 6, beta=0.5),
            helper.make_node("Mul", [node.input[0], gate], node.output, node.name or f"{node.output[0]}/mul"),
        ]

    return replace_nodes(model.graph, change)


def split_hard_sigmoid(model: onnx.ModelProto) -> int:
    """HardSigmoid(x) = clip(αx + β, 0, 1), in operators that quantise.

    Right behind a convolution or Gemm that nothing else reads, α and β go into its weights; what is left, the
    clip, costs nothing: its bounds are the range of the quantised tensor. Elsewhere it is
    α · clip(x + β/α, 0, 1/α), and the factor α later becomes a part of a scale (`quantize.absorb_scales`).
    """
    count = 0
    index = Graph(model)
    changed: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        if node.op_type != "HardSigmoid":
            continue
        alpha, beta = attribute(node, "alpha", 0.2), attribute(node, "beta", 0.5)
        out = node.output[0]
        into = index.producer.get(node.input[0])
        reader = index.only_reader(node.input[0])
        if into is not None and reader is not None and _absorb(index, into, alpha, beta):
            changed[out] = [_clip(index, node.input[0], out, 1.0)]
        else:
            offset = index.add_constant(f"{out}/offset", np.array(beta / alpha, np.float32))
            factor = index.add_constant(f"{out}/factor", np.array(alpha, np.float32))
            changed[out] = [
                helper.make_node("Add", [node.input[0], offset], [f"{out}/shifted"], f"{out}/add"),
                _clip(index, f"{out}/shifted", f"{out}/clipped", 1 / alpha),
                helper.make_node("Mul", [f"{out}/clipped", factor], [out], f"{out}/{FACTOR}"),
            ]
        count += 1
    replace_nodes(model.graph, lambda node: changed.get(node.output[0]))
    return count


FACTOR = "factor"
"""How the names of multiplications by a constant end that a scale will take up."""


def _clip(index: Graph, source: str, target: str, high: float) -> onnx.NodeProto:
    bounds = [
        index.add_constant(f"{target}/low", np.array(0, np.float32)),
        index.add_constant(f"{target}/high", np.array(high, np.float32)),
    ]
    return helper.make_node("Clip", [source, *bounds], [target], f"{target}/clip")


def _absorb(index: Graph, node: onnx.NodeProto, alpha: float, beta: float) -> bool:
    """Scales a convolution's or Gemm's output by alpha and moves it by beta, in its own weights; False if it can't."""
    if node.op_type not in ("Conv", "Gemm") or len(node.input) < 3:
        return False
    if attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "beta", 1.0) != 1.0:
        return False
    weight, bias = (index.constants.get(name) for name in node.input[1:3])
    if weight is None or bias is None or any(len(index.readers[name]) > 1 for name in node.input[1:3]):
        return False
    for name, offset in ((weight.name, 0.0), (bias.name, beta)):
        value = index.constant(name)
        assert value is not None
        index.set_constant(name, (value * alpha + offset).astype(value.dtype))
    return True


def add_biases(model: onnx.ModelProto) -> int:
    """Gives every convolution and Gemm with constant weights a bias: where the correction of means goes."""
    index = Graph(model)
    count = 0
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm") or (len(node.input) > 2 and node.input[2]):
            continue
        weight = index.constants.get(node.input[1])
        if weight is None:
            continue
        rows = weight.dims[1] if node.op_type == "Gemm" and not attribute(node, "transB", 0) else weight.dims[0]
        del node.input[2:]
        node.input.append(index.add_constant(f"{node.output[0]}/bias", np.zeros(rows, np.float32)))
        count += 1
    return count


def own_constants(model: onnx.ModelProto) -> int:
    """Every weighted node gets weights and biases of its own: exporters share equal ones."""
    index = Graph(model)
    count = 0
    for node in model.graph.node:
        if node.op_type not in WEIGHTED:
            continue
        for i, name in enumerate(node.input[1:3], start=1):
            value = index.constant(name) if name in index.constants else None
            if value is not None and len(index.readers[name]) > 1:
                node.input[i] = index.add_constant(f"{node.output[0]}/{name}", value)
                count += 1
    return count


def name_nodes(model: onnx.ModelProto) -> None:
    """Short, unique node names: the ladder speaks of nodes by name, and the quantiser makes tensors' names longer."""
    counts: dict[str, int] = {}
    for node in model.graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
        kept = f"_{FACTOR}" if node.name.endswith(FACTOR) else ""
        node.name = f"{node.op_type}_{counts[node.op_type]}{kept}"


REWRITES: dict[str, Rewrite] = {
    "ReduceMean → GlobalAveragePool": mean_to_pool,
    "biases added": add_biases,
    "shared weights copied": own_constants,
    "HardSwish → x · HardSigmoid": split_hard_swish,
    "HardSigmoid → Clip": split_hard_sigmoid,
}
"""In this order."""
