"""Small tools for ONNX graphs: who makes a tensor, who reads it, what a constant holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

WEIGHTED = ("Conv", "Gemm", "MatMul")
"""Operators that carry the weights; input 1 is the weight, input 2 (not of MatMul) the bias."""


class Graph:
    """An index over a model's graph. Its answers hold until the graph is changed: make a new one then."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.graph = model.graph
        self.producer = {name: node for node in self.graph.node for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.constants = {i.name: i for i in self.graph.initializer}
        self.outputs = {o.name for o in self.graph.output}

    def only_reader(self, name: str) -> onnx.NodeProto | None:
        """The one node that reads a tensor; None where there are several, or it leaves the graph."""
        found = self.readers.get(name, [])
        return found[0] if len(found) == 1 and name not in self.outputs else None

    def constant(self, name: str) -> NDArray[Any] | None:
        """The value of an initializer or a Constant node; None for anything computed."""
        if name in self.constants:
            return numpy_helper.to_array(self.constants[name])
        node = self.producer.get(name)
        if node is not None and node.op_type == "Constant":
            value = attribute(node, "value")
            return None if value is None else numpy_helper.to_array(value)
        return None

    def set_constant(self, name: str, value: NDArray[Any]) -> None:
        """Replaces an initializer's value."""
        self.constants[name].CopyFrom(numpy_helper.from_array(np.array(value, order="C"), name))

    def add_constant(self, name: str, value: NDArray[Any]) -> str:
        """A new initializer; gives its name."""
        self.graph.initializer.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """A node's attribute."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def replace_nodes(graph: onnx.GraphProto, change: Callable[[onnx.NodeProto], Iterable[onnx.NodeProto] | None]) -> int:
    """Puts what `change` gives in a node's place (None keeps it); gives how many were changed."""
    made: list[onnx.NodeProto] = []
    count = 0
    for node in graph.node:
        instead = change(node)
        count += instead is not None
        made += [node] if instead is None else list(instead)
    if count:
        del graph.node[:]
        graph.node.extend(made)
    return count


def remove_unused(model: onnx.ModelProto) -> None:
    """Drops nodes and initializers that nothing reads any more."""
    while True:
        read = {name for node in model.graph.node for name in node.input} | {o.name for o in model.graph.output}
        dead = [n for n in model.graph.node if not read & set(n.output)]
        for node in dead:
            model.graph.node.remove(node)
        if not dead:
            break
    unread = [i for i in model.graph.initializer if i.name not in read]
    for initializer in unread:
        model.graph.initializer.remove(initializer)
