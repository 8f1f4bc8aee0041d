"""The temperature inside a file of probabilities, changed to that of the file's own logits."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from compressor.quantization.graph import Graph

NAME = "calibration_temperature"


def retemper(model: onnx.ModelProto, temperature: float) -> bool:
    """Makes the softmax behind the logits divide by `temperature`, in place; False where no softmax ends the graph."""
    index = Graph(model)
    last = index.producer.get(model.graph.output[0].name)
    if last is None or last.op_type != "Softmax":
        return False
    divided = index.producer.get(last.input[0])
    divisor = index.constant(divided.input[1]) if divided is not None and divided.op_type == "Div" else None
    name = index.add_constant(NAME, np.array(temperature, dtype=np.float32))  # the old one may have other readers
    if divided is not None and divisor is not None and divisor.size == 1:
        divided.input[1] = name
        return True
    # An exporter drops a division by one.
    node = helper.make_node("Div", [last.input[0], name], [f"{NAME}_divided"], name=NAME)
    last.input[0] = node.output[0]
    model.graph.node.insert(list(model.graph.node).index(last), node)
    return True
