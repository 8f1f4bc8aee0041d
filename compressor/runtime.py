"""What every floor may lean on: derived seeds, versions, files written whole, progress, optional packages.

Imports nothing heavy. torch and timm come through `import_timm`, which also mends a torchvision whose
compiled operators do not match the installed torch.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import logging
import os
import random
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TypeVar

from compressor.errors import MissingExtraError

T = TypeVar("T")

log = logging.getLogger("compressor")

PACKAGES = ("compressor", "torch", "torchvision", "timm", "accelerate", "onnx", "onnxscript", "onnxruntime",
            "onnxruntime-gpu", "numpy", "pillow")  # fmt: skip

UNLABELLED = -1
"""The label of a sample that only the teacher speaks to."""

_EXTRA_OF = {"onnxruntime": "cpu"}


def derive_seed(*parts: object) -> int:
    """A 63-bit seed that depends on all `parts` and on nothing else, on any machine."""
    text = "\x1f".join(str(p) for p in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def seed_everything(seed: int) -> None:
    """Seeds Python, numpy and, where it is loaded, torch."""
    random.seed(seed)
    import numpy as np

    np.random.seed(seed % 2**32)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that results depend on; None where one is not installed."""
    import importlib.metadata  # 25 ms that `--help` need not pay

    found: dict[str, str | None] = {"python": sys.version.split()[0]}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def require(*modules: str) -> None:
    """Raises MissingExtraError with the line that installs what is missing of `modules`."""
    missing = [m for m in modules if importlib.util.find_spec(m) is None]
    if missing:
        extra = ",".join(sorted({_EXTRA_OF.get(m, "train") for m in missing}))
        raise MissingExtraError(
            f"this command needs {', '.join(missing)}, not installed here.\n"
            f"Install with: pip install 'compressor[{extra}]'"
        )


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


def cache_dir() -> Path:
    """`$COMPRESS_CACHE`, or `~/.cache/compressor`: what runs share."""
    return Path(os.environ.get("COMPRESS_CACHE") or Path.home() / ".cache" / "compressor")


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all: a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, whole or not at all. NaN and infinity become null."""
    write_text(path, json.dumps(finite(value), indent=2) + "\n")


def finite(value: Any) -> Any:
    """`value` with every number that JSON can't hold (NaN, infinity) replaced by None."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


class Bar(Protocol):
    """How far one piece of long work is."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """`steps` more are done; `note` says what happens now."""

    def skip(self, steps: int) -> None:
        """`steps` were done before, by a run that is now continued."""


class Progress(Protocol):
    """Where long work reports to. The command line gives one that draws; libraries and tests a silent one."""

    def say(self, message: str) -> None:
        """A line that a person should read."""

    def bar(self, label: str, total: int) -> AbstractContextManager[Bar]:
        """Shows `total` steps of work, with the time that is left."""


class Silent:
    """A `Progress` that shows nothing."""

    def say(self, message: str) -> None:
        log.debug(message)

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Bar]:
        yield _NoBar()


class _NoBar:
    def advance(self, steps: int = 1, note: str = "") -> None:
        pass

    def skip(self, steps: int) -> None:
        pass


def track(progress: Progress, items: Iterable[T], *, label: str, total: int) -> Iterator[T]:
    """Passes `items` through and shows how far they are."""
    with progress.bar(label, total) as bar:
        for item in items:
            yield item
            bar.advance()
