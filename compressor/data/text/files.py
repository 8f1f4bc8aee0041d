"""Which files hold the texts of which split. Reads names, and no file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from compressor.artifact.images import SUFFIXES as PICTURES
from compressor.data.groups import METADATA
from compressor.errors import DataError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
ACCEPTED = "a .csv, .tsv, .jsonl or .json file, or a folder with train and test of these, or with class folders of .txt"
SPLIT_NAMES = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
    "development": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
WHOLE = "all"
"""Stands for the split of a file that holds all texts."""
LARGEST = 2_000_000_000
"""Bytes of all files together: their texts are held in memory."""
LOOKED_AT = 2000
"""Files of a folder that are asked whether they are pictures."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Split (or `WHOLE`) → the file with its texts, or the folder with a folder of .txt files for each class."""

    files: list[tuple[str, Path]]
    classes: bool = False
    """Whether they are folders of class folders."""


def layout(root: Path) -> Layout | None:
    """What of `root` holds texts; None where nothing does, or images lie in it."""
    if root.is_file():
        return Layout(files=[(WHOLE, root)]) if root.suffix.lower() in SUFFIXES else None
    if not root.is_dir():
        return None
    try:
        with os.scandir(root) as scanned:
            entries = sorted((e for e in scanned if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError:
        return None
    folders = [root / e.name for e in entries if e.is_dir()]
    tables = [root / e.name for e in entries if _table(e.name) and e.is_file()]
    named = [(SPLIT_NAMES[p.stem.lower()], p) for p in tables if p.stem.lower() in SPLIT_NAMES]
    if not named and len(tables) == 1 and not folders:
        named = [(WHOLE, tables[0])]
    if named:
        return None if _pictures(root) else Layout(files=named)
    parts = [(SPLIT_NAMES[p.name.lower()], p) for p in folders if p.name.lower() in SPLIT_NAMES]
    if any(split == "train" for split, _ in parts) and _texts(root) and not _pictures(root):
        return Layout(files=parts, classes=True)
    return None


def one_each(found: Layout, root: Path) -> dict[str, Path]:
    """Split → its file. Raises DataError where two name one split, or they are too large together."""
    files: dict[str, Path] = {}
    for split, path in found.files:
        if split in files:
            raise DataError(
                f"{files[split].name} and {path.name} in {root} both name the {split} split: move one elsewhere"
            )
        files[split] = path
    if WHOLE not in files and "train" not in files:
        raise DataError(f"{' and '.join(p.name for p in files.values())} without a train file in {root}: add it")
    fits([p for p in files.values() if p.is_file()])
    return files


def fits(paths: list[Path]) -> None:
    """Raises DataError where files are larger than what is held in memory."""
    size = sum(path.stat().st_size for path in paths)
    if size > LARGEST:
        raise DataError(
            f"{', '.join(p.name for p in paths[:3])}: {size / 1e9:.1f} GB of texts, which are held in memory, and "
            f"{LARGEST / 1e9:.0f} GB are the most: give a part of them"
        )


def _table(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES and name != METADATA


def _some(root: Path) -> list[str]:
    """Names of some files at any depth."""
    found: list[str] = []
    for _, folders, files in os.walk(root):
        folders.sort()
        found += files[: LOOKED_AT - len(found)]
        if len(found) >= LOOKED_AT:
            break
    return found


def _pictures(root: Path) -> bool:
    return any(os.path.splitext(name)[1].lower() in PICTURES for name in _some(root))


def _texts(root: Path) -> bool:
    return any(name.lower().endswith(".txt") for name in _some(root))
