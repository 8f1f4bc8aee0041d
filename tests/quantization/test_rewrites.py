"""Rewrites leave a graph's results as they are, and no float island between integers."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from compressor.errors import ParityError
from compressor.progress import Silent
from compressor.quantization import rewrites
from compressor.quantization.calibrate import Calibration
from compressor.quantization.cpus import TARGETS
from compressor.quantization.graph import Graph
from compressor.quantization.quantize import candidates, operators, quantize
from compressor.quantization.rewrites import prepare

IMAGES = np.random.default_rng(1).standard_normal((24, 3, 8, 8)).astype(np.float32)


def squeezing(*, keepdims: int = 1, head: str = "Gemm", size: int = 8, classes: int = 5) -> onnx.ModelProto:
    """Conv → HardSwish → squeeze-and-excite → BatchNorm → mean → classifier: all that stands in int8's way."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.standard_normal((16, 3, 3, 3)) / 3, "b1": rng.standard_normal(16),
        "w2": rng.standard_normal((4, 16, 1, 1)) / 3, "b2": rng.standard_normal(4),
        "w3": rng.standard_normal((16, 4, 1, 1)) / 2, "b3": rng.standard_normal(16),
        "w4": rng.standard_normal((16, 16, 1, 1)) / 4, "w5": rng.standard_normal((16, classes)),
        "scale": rng.uniform(0.5, 1.5, 16), "shift": rng.standard_normal(16),
        "mean": rng.standard_normal(16), "var": rng.uniform(0.5, 2, 16),
    }  # fmt: skip
    constants = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
    constants.append(numpy_helper.from_array(np.array([2, 3], np.int64), "axes"))
    node = helper.make_node
    nodes = [
        node("Conv", ["image", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        node("HardSwish", ["c1"], ["h1"]),
        node("ReduceMean", ["h1", "axes"], ["m1"], keepdims=1),
        node("Conv", ["m1", "w2", "b2"], ["c2"]),
        node("Relu", ["c2"], ["r2"]),
        node("Conv", ["r2", "w3", "b3"], ["c3"]),
        node("HardSigmoid", ["c3"], ["g3"], alpha=1 / 6, beta=0.5),
        node("Mul", ["h1", "g3"], ["e1"]),
        node("Conv", ["e1", "w4"], ["c4"]),
        node("BatchNormalization", ["c4", "scale", "shift", "mean", "var"], ["n4"]),
        node("Add", ["n4", "e1"], ["a4"]),
        node("ReduceMean", ["a4", "axes"], ["m4"], keepdims=keepdims),
    ]
    if keepdims:
        nodes.append(node("Flatten", ["m4"], ["f4"]))
    nodes.append(node(head, ["f4" if keepdims else "m4", "w5"], ["logits"]))
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["batch", 3, size, size])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", classes])],
        constants,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def run(model: onnx.ModelProto, images: NDArray[Any] = IMAGES) -> NDArray[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    answer: NDArray[Any] = session.run(None, {"image": images})[0]
    return answer


def as_run(model: onnx.ModelProto, path: Path) -> Counter[str]:
    """Operators of the graph as onnxruntime really runs it, on any CPU."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")  # as it is by default on ARM
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def same_as(model: onnx.ModelProto) -> rewrites.Check:
    expected = run(model)

    def check(rewritten: onnx.ModelProto) -> None:
        if not np.allclose(run(rewritten), expected, rtol=1e-4, atol=1e-5):
            raise ParityError("differs")

    return check


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("head", ["Gemm", "MatMul"])
def test_every_rewrite_applies_and_keeps_the_results(keepdims: int, head: str) -> None:
    model = squeezing(keepdims=keepdims, head=head)
    ready, applied = prepare(model, same_as(model), Silent())
    np.testing.assert_allclose(run(ready), run(model), rtol=1e-4, atol=1e-5)
    assert set(applied) == {"ReduceMean → GlobalAveragePool", "HardSigmoid → Clip"} | (
        {"biases added"} if head == "Gemm" else set()
    )
    kinds = Counter(n.op_type for n in ready.graph.node)
    assert not {"ReduceMean", "HardSwish", "HardSigmoid", "BatchNormalization"} & set(kinds)
    assert kinds["GlobalAveragePool"] == 2


def test_each_rewrite_alone_keeps_the_results() -> None:
    """onnxruntime's folding inlines hard-swish before ours sees it; other exporters' graphs come without it."""
    model = squeezing()
    for name, rewrite in rewrites.REWRITES.items():
        changed = copy.deepcopy(model)
        count = rewrite(changed)
        assert count or name == "shared weights copied"
        np.testing.assert_allclose(run(changed), run(model), rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_weight_that_two_nodes_share_is_scaled_for_one_alone() -> None:
    model = squeezing()
    model.graph.node.insert(8, helper.make_node("Conv", ["e1", "w4"], ["plain"]))
    model.graph.node.insert(9, helper.make_node("Conv", ["h1", "w4"], ["twin"]))
    model.graph.node.insert(10, helper.make_node("HardSigmoid", ["twin"], ["gate"], alpha=1 / 6, beta=0.5))
    add = next(n for n in model.graph.node if n.output[0] == "a4")
    add.input[:] = ["plain", "gate"]
    ready, applied = prepare(model, same_as(model), Silent())
    assert applied["shared weights copied"] >= 1
    np.testing.assert_allclose(run(ready), run(model), rtol=1e-4, atol=1e-5)


def test_a_rewrite_that_changes_the_results_is_taken_back_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class Ear(Silent):
        def say(self, message: str) -> None:
            said.append(message)

    def wrong(model: onnx.ModelProto) -> int:
        index = Graph(model)
        value = index.constant("w5")
        assert value is not None
        index.set_constant("w5", value * 1.5)
        return 1

    monkeypatch.setitem(rewrites.REWRITES, "wrong", wrong)
    model = squeezing()
    ready, applied = prepare(model, same_as(model), Ear())
    assert "wrong" not in applied
    assert said == ["int8: the rewrite wrong is left out: differs"]
    np.testing.assert_allclose(run(ready), run(model), rtol=1e-4, atol=1e-5)


def with_softmax(model: onnx.ModelProto) -> None:
    """Probabilities at a temperature instead of logits, as `--uint8-input` exports them."""
    output = model.graph.output[0]
    model.graph.node[-1].output[0] = "inner"
    model.graph.initializer.append(numpy_helper.from_array(np.array(2, dtype=np.float32), "temperature"))
    model.graph.node.append(helper.make_node("Div", ["inner", "temperature"], ["divided"]))
    model.graph.node.append(helper.make_node("Softmax", ["divided"], [output.name]))


@pytest.mark.parametrize("tail", [False, True], ids=["logits", "probabilities"])
@pytest.mark.parametrize("target", ["x86", "arm"])
def test_no_float_island_is_left_between_integers(target: str, tail: bool, tmp_path: Path) -> None:
    model = squeezing()
    if tail:
        with_softmax(model)
    ready, _ = prepare(model, same_as(model), Silent())
    ranges = Calibration(ready, [{"image": IMAGES[:8]}, {"image": IMAGES[8:]}], operators(ready)).ranges("min-max")
    made = quantize(ready, ranges, TARGETS[target])
    given, expected = run(made), run(model)
    assert np.square(given - expected).mean() < 0.01 * np.square(expected).mean()
    kinds = as_run(made, tmp_path / "run.onnx")
    assert kinds["QuantizeLinear"] == 1  # behind the stem
    assert kinds["DequantizeLinear"] == 0  # none before the softmax either: 256 steps would tie close classes
    assert kinds["QLinearConv"] == 3
    assert kinds["Conv"] == 1
    assert not {"Add", "Mul", "Clip", "Relu", "GlobalAveragePool", "HardSigmoid"} & set(kinds)


@pytest.mark.parametrize(
    ("weight", "groups", "kept"),
    [((16, 3, 3, 3), 1, True), ((64, 3, 7, 7), 1, False), ((16, 16, 1, 1), 1, False), ((32, 1, 3, 3), 32, False)],
)
def test_only_a_small_stem_stays_float(weight: tuple[int, ...], groups: int, kept: bool) -> None:
    node = helper.make_node("Conv", ["image", "w"], ["logits"], group=groups, name="Conv_1")
    ends = [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["n", None, None, None])]
    outs = [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["n", None, None, None])]
    constants = [numpy_helper.from_array(np.ones(weight, np.float32), "w")]
    model = helper.make_model(helper.make_graph([node], "one", ends, outs, constants))
    assert candidates(model) == ([] if kept else ["Conv_1"])


def test_nodes_left_out_stay_float_and_the_input_is_left_unchanged() -> None:
    model = squeezing()
    ready, _ = prepare(model, same_as(model), Silent())
    before = ready.SerializeToString()
    ranges = Calibration(ready, [{"image": IMAGES}], operators(ready)).ranges("min-max")
    names = candidates(ready)
    first = next(n for n in names if n.startswith("Conv"))
    made = quantize(ready, ranges, TARGETS["x86"], nodes=[n for n in names if n != first])
    node = next(n for n in made.graph.node if n.name == first)
    weight = Graph(made).constant(node.input[1])
    assert weight is not None
    assert weight.dtype == np.float32
    assert ready.SerializeToString() == before


def test_seven_bit_weights_never_saturate_pairs_of_products() -> None:
    model = squeezing()
    ready, _ = prepare(model, same_as(model), Silent())
    ranges = Calibration(ready, [{"image": IMAGES}], operators(ready)).ranges("min-max")
    for target, most in (("x86", 64), ("x86-vnni", 127)):
        made = quantize(ready, ranges, TARGETS[target])
        largest = max(
            int(np.abs(numpy_helper.to_array(i).astype(int)).max())
            for i in made.graph.initializer
            if i.data_type == onnx.TensorProto.INT8 and len(i.dims) > 1
        )
        assert most - 2 < largest <= most
