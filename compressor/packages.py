"""Optional packages: their versions, which extra brings them, and timm's import beside a torch that does not match.

Imports nothing heavy.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from compressor.errors import MissingExtraError

VERSIONED = ("compressor", "torch", "torchvision", "timm", "accelerate", "onnx", "onnxscript", "onnxruntime",
            "onnxruntime-gpu", "numpy", "pillow")  # fmt: skip

EXTRAS = {
    "train": ("torch", "torchvision", "timm", "accelerate", "safetensors", "onnx", "onnxscript",
              "jinja2", "optuna", "tokenizers"),
    "cpu": ("onnxruntime",),
}  # fmt: skip
"""Extra → the modules it brings, as in pyproject.toml (a test compares); `[gpu]` brings onnxruntime too."""


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that results depend on; None where one is not installed."""
    import importlib.metadata  # 25 ms that `--help` need not pay

    found: dict[str, str | None] = {"python": sys.version.split()[0]}
    for name in VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def missing_extras() -> list[str]:
    """The extras of which something is not installed."""
    return [extra for extra, modules in EXTRAS.items() if any(importlib.util.find_spec(m) is None for m in modules)]


def require(*modules: str) -> None:
    """Raises MissingExtraError with the line that installs what is missing of `modules`."""
    missing = [m for m in modules if importlib.util.find_spec(m) is None]
    if missing:
        extra = ",".join(sorted({_extra_of(m) for m in missing}))
        raise MissingExtraError(
            f"this command needs {', '.join(missing)}, not installed here.\n"
            f"Install with: pip install 'compressor[{extra}]'"
        )


def _extra_of(module: str) -> str:
    return next(extra for extra, modules in EXTRAS.items() if module in modules)


def import_timm() -> ModuleType:
    """timm, imported after torchvision's operator schemas exist.

    A CPU build of torch next to a CUDA build of torchvision can't load torchvision's compiled operators,
    and `import torchvision` then dies on `operator torchvision::nms does not exist`. Declaring the two
    schemas it registers fake kernels for is enough for the transforms; a matched install is left alone.
    """
    if "timm" not in sys.modules:
        require("torch", "torchvision", "timm")
        if "torchvision" not in sys.modules and not _torchvision_ops_load():
            _declare_torchvision_ops()
    return importlib.import_module("timm")


def _torchvision_ops_load() -> bool:
    import torch

    spec = importlib.util.find_spec("torchvision")
    folder = Path(next(iter(spec.submodule_search_locations or []))) if spec else Path()
    libraries = [p for p in folder.glob("_C*") if p.suffix in {".so", ".pyd", ".dylib"}]
    try:
        for library in libraries:
            torch.ops.load_library(str(library))
        return bool(libraries) and torch._C._dispatch_has_kernel("torchvision::nms")
    except OSError:
        return False


_declared: list[object] = []  # torch drops the schemas of a library that is garbage collected


def _declare_torchvision_ops() -> None:
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
