"""`doctor`: the machine, the execution providers, and what is missing; of a data folder, what it holds."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor.benchmarking import host
from compressor.data.checkup import checkup
from compressor.data.config import DataConfig
from compressor.data.document import DataReport
from compressor.display import surroundings
from compressor.files import cache_dir
from compressor.packages import missing_extras, versions
from compressor.progress import Progress
from compressor.reporting import checkup as shown_data
from compressor.reporting.screen import Block, Shown

PURPOSES = {"train": "distill and export", "cpu": "run ONNX files (or [gpu] with an NVIDIA GPU)"}
"""What an extra is for."""


@dataclass(frozen=True, kw_only=True)
class DoctorResult(Shown):
    """What was found."""

    document: dict[str, Any]
    """`host`, `versions`, `cache`, `providers`, `missing_extras`, `both_onnxruntimes`; `data` of a folder."""
    data: DataReport | None = None
    """What the folder holds."""

    def blocks(self) -> list[Block]:
        """Of a folder what it holds; else a line per fact, then what is missing and the line that installs it."""
        if self.data is not None:
            return shown_data.blocks(self.data)
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


def doctor(*, data: str | Path | None = None, progress: Progress | None = None) -> DoctorResult:
    """The machine, the execution providers, and what is missing with the line that installs it.

    Args:
        data: a data folder (or `digits`), looked at as a whole before anything is trained: classes, sizes, what is
            damaged or not used and why, repeats, look-alikes in two splits, and what the splits will be.
        progress: where to report to; None fits the surroundings.

    Raises:
        DataError: no such folder, or none with classes.
    """
    report = None if data is None else checkup(DataConfig(source=str(data)), progress or surroundings())
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
    if report is not None:
        found["data"] = report.model_dump(mode="json")
    return DoctorResult(document=found, data=report)
