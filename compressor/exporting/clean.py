"""What an exporter wrote into a file about its own work, taken out again."""

from __future__ import annotations

import onnx


def plain(model: onnx.ModelProto) -> None:
    """Drops what a tool wrote about its own work (stack traces with paths of this machine among it); names stay."""
    model.doc_string = ""
    model.graph.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
