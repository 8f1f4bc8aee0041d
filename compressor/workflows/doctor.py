"""`doctor`: the machine, the execution providers, and what is missing."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

from compressor.benchmarking import host
from compressor.files import cache_dir
from compressor.packages import missing_extras, versions
from compressor.reporting.screen import Block, Shown

PURPOSES = {"train": "distill and export", "cpu": "run ONNX files (or [gpu] with an NVIDIA GPU)"}
"""What an extra is for."""


@dataclass(frozen=True, kw_only=True)
class DoctorResult(Shown):
    """What was found."""

    document: dict[str, Any]
    """`host`, `versions`, `cache`, `providers`, `missing_extras`, `both_onnxruntimes`."""

    def blocks(self) -> list[Block]:
        """A line per fact, then what is missing and the line that installs it."""
        found = self.document
        lines: list[Block] = []
        for key, value in found["host"].items():
            shown = ", ".join(value) if isinstance(value, list) else value
            lines.append(f"{key:14} {shown if shown not in (None, '') else '–'}")
        lines.append(f"{'providers':14} {', '.join(found['providers'] or ['none: onnxruntime is missing'])}")
        lines.append(f"{'cache':14} {found['cache']}")
        lines.append(f"{'packages':14} " + ", ".join(f"{k} {v}" for k, v in found["versions"].items() if v))
        for extra in found["missing_extras"]:
            lines.append(f"missing        [{extra}] to {PURPOSES[extra]}: pip install 'compressor[{extra}]'")
        if found["both_onnxruntimes"]:
            lines.append("problem        onnxruntime and onnxruntime-gpu share a folder: uninstall both, install one")
        return lines


def doctor() -> DoctorResult:
    """The machine, the execution providers, and what is missing with the line that installs it."""
    known = versions()
    found: dict[str, Any] = {
        "host": host.fingerprint().as_dict(),
        "versions": known,
        "cache": str(cache_dir()),
        "missing_extras": sorted(missing_extras()),
        "both_onnxruntimes": bool(known["onnxruntime"] and known["onnxruntime-gpu"]),
        "providers": None,
    }
    if importlib.util.find_spec("onnxruntime"):
        from compressor.artifact import providers

        found["providers"] = [providers.short(name) for name in providers.installed()]
    return DoctorResult(document=found)
