"""Tables that numbers are looked up in, such as the vectors of words, stored as int8 with a scale for each row."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from compressor.quantization.dynamic import EIGHT_BITS, rounded
from compressor.quantization.graph import Graph, attribute, remove_unused, replace_nodes

SMALL = 1 << 12
"""Numbers of a table that is not worth the two nodes more."""


def store_tables(model: onnx.ModelProto) -> int:
    """Changes `model` in place; gives how many tables are int8 now.

    A row is multiplied by its scale after it was looked up: neither file nor memory ever holds the table in float. The
    vectors that come out are as fast to make as before; half a step is their error, a 254th of the row's largest number.
    """
    index = Graph(model)
    tables = {name for name, tensor in index.constants.items() if _is_table(index, tensor)}
    for name in tables:
        value = index.constant(name)
        assert value is not None
        integers, scales = rounded(value, 1, EIGHT_BITS)
        index.set_constant(name, integers)
        index.add_constant(f"{name}/scale", scales)

    def change(node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        if node.op_type != "Gather" or node.input[0] not in tables:
            return None
        table, numbers, out = node.input[0], node.input[1], node.output[0]
        return [
            helper.make_node("Gather", [table, numbers], [f"{out}/integers"], node.name, axis=0),
            helper.make_node("Gather", [f"{table}/scale", numbers], [f"{out}/scale"], axis=0),
            helper.make_node("Cast", [f"{out}/integers"], [f"{out}/float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{out}/float", f"{out}/scale"], [out]),
        ]

    replace_nodes(model.graph, change)
    remove_unused(model)
    return len(tables)


def _is_table(index: Graph, tensor: onnx.TensorProto) -> bool:
    """Whether rows of it are looked up, and nothing else reads it."""
    if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) != 2 or np.prod(tensor.dims) < SMALL:
        return False
    readers = index.readers.get(tensor.name, [])
    return bool(readers) and all(
        node.op_type == "Gather" and node.input[0] == tensor.name and attribute(node, "axis", 0) == 0
        for node in readers
    )
