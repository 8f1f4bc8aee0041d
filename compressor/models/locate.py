"""Where a model comes from, by what a person typed: a name, the hub, a path."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from compressor.errors import UsageError
from compressor.modalities import DEFAULT
from compressor.models.family import claimed, resolve
from compressor.options import parts

HUB = "hf-hub:"
_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?(@[\w./-]+)?", re.ASCII)

GIVEN = (".onnx", ".csv", ".npz")
"""Files of teachers that only answer: a graph, or a table of probabilities."""


def several(spelled: str) -> list[str]:
    """`a,b` as its parts; a path with a comma in it is one."""
    if Path(spelled).expanduser().exists():
        return [spelled]
    return parts(spelled) or [spelled]


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """Where a model comes from: exactly one of a name, a hub name or a path."""

    spelled: str
    name: str | None = None
    hub: str | None = None
    path: Path | None = None


def locate(spelled: str, *, role: str, modality: str = DEFAULT) -> ModelSource:
    """What `spelled` means: `hf-hub:OWNER/NAME[@REVISION]`, an existing path or something spelled like one, or a model's name.

    Raises:
        UsageError: a path that does not exist, or a name that no family knows.
    """
    if spelled.startswith((HUB, "hf_hub:")):
        name = spelled.split(":", 1)[1]
        if not _REPOSITORY.fullmatch(name) or ".." in name:
            raise UsageError(
                f"{role} '{spelled}' is no name on the hub: hf-hub:OWNER/NAME, or hf-hub:OWNER/NAME@REVISION for the "
                "very files of a branch, a tag or a commit"
            )
        return ModelSource(spelled=spelled, hub=HUB + name)
    path = Path(spelled).expanduser()
    looks_like_path = "/" in spelled or spelled.endswith((".safetensors", ".pth", ".pt", ".bin", *GIVEN))
    if looks_like_path or (path.is_dir() and (path / "run.json").is_file()):
        if not path.exists():
            raise UsageError(
                f"{role} '{spelled}' looks like a path, and there is nothing there.\n"
                "Give a timm name (`compress models PATTERN`), a checkpoint, a run's folder, an ONNX file "
                "or a table of probabilities (.csv, .npz)."
            )
        if claimed(path, modality):
            return ModelSource(spelled=spelled, name=resolve(str(path), role=role, modality=modality)[0])
        return ModelSource(spelled=spelled, path=path)
    return ModelSource(spelled=spelled, name=resolve(spelled, role=role, modality=modality)[0])
