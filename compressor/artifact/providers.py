"""ONNX Runtime's execution providers: their short names, which are here, and where nodes really run."""

from __future__ import annotations

from typing import Any

from compressor.errors import ProviderError, unknown
from compressor.packages import require

NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "dnnl": "DnnlExecutionProvider",
    "nnapi": "NnapiExecutionProvider",
}

OPTIONS = {"CUDAExecutionProvider": {"cudnn_conv_algo_search": "HEURISTIC"}}
"""What a session gives to a provider. onnxruntime's own choice for CUDA times cuDNN's algorithms in every process and
takes another one each time; the heuristic is the same in all."""

_NOT_A_DEVICE = {"AzureExecutionProvider"}  # the stock CPU wheel lists it; it calls a web service


def installed() -> list[str]:
    """Full names of the providers in the installed onnxruntime, fastest first as it ranks them."""
    require("onnxruntime")
    import onnxruntime

    return [name for name in onnxruntime.get_available_providers() if name not in _NOT_A_DEVICE]


def _listed(full: str) -> bool:
    import onnxruntime

    return full in onnxruntime.get_available_providers()


def resolve(name: str) -> str:
    """The full name of a provider given by short or full name.

    Raises:
        ProviderError: there is no such provider, or this onnxruntime was built without it.
    """
    full = NAMES.get(name.lower(), name)
    here = installed()
    if full in here or (full in _NOT_A_DEVICE and _listed(full)):
        return full
    if full not in NAMES.values():
        raise ProviderError(unknown("provider", name, NAMES))
    hint = (
        "pip install 'compressor[gpu]' on a machine with an NVIDIA GPU"
        if full.startswith(("CUDA", "Tens"))
        else ("an onnxruntime built with it")
    )
    raise ProviderError(
        f"provider '{name}' ({full}) is not in the installed onnxruntime; it has: {', '.join(here)}.\nIt needs {hint}."
    )


def short(full: str) -> str:
    """The short name of a provider, or its full name where it has none."""
    return next((k for k, v in NAMES.items() if v == full), full)


def placement(session: Any) -> dict[str, int]:
    """How many nodes of the optimised graph each provider runs, read from the session itself.

    `get_providers()` names what was registered, not what runs: node-level fallback is silent there.
    """
    counts: dict[str, int] = {}
    for part in session.get_provider_graph_assignment_info():
        counts[part.ep_name] = counts.get(part.ep_name, 0) + len(part.get_nodes())
    return counts


def elsewhere(session: Any, wanted: str) -> dict[str, int]:
    """Operators that the wanted provider left to others, with how many nodes of each."""
    counts: dict[str, int] = {}
    for part in session.get_provider_graph_assignment_info():
        if part.ep_name != wanted:
            for node in part.get_nodes():
                counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def check_placement(counts: dict[str, int], wanted: str, source: str) -> None:
    """Raises ProviderError when the provider that was asked for runs no node at all."""
    if counts and not counts.get(wanted):
        ran = ", ".join(f"{name}: {n}" for name, n in counts.items())
        raise ProviderError(
            f"provider '{short(wanted)}' took no node of {source}; the nodes run on {ran}.\n"
            "onnxruntime fell back silently: check the provider's libraries with `compress doctor`."
        )
