"""A table of probabilities from a file: CSV (`file,<class>,…`) or NPZ (`files`, `probabilities`, `classes`)."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressor.errors import UsageError

LARGEST = 4_000_000_000
"""Bytes of a table: a million files and a thousand classes."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """What a table says, its columns in the order of the data's classes."""

    files: list[str]
    """Names relative to the data folder, with slashes."""
    probabilities: NDArray[np.float32]
    """(files, classes); each row sums to 1."""
    notes: tuple[str, ...]


def read(path: Path, classes: list[str]) -> Listed:
    """The table at `path` for these classes.

    Raises:
        UsageError: it can't be read, a class is missing, or a row is no distribution.
    """
    what = f"teacher '{path}'"
    try:
        files, columns, values = _npz(path) if path.suffix.lower() == ".npz" else _csv(path)
    except MemoryError:
        raise
    except Exception as error:  # a damaged zip, array or line: each has its own
        form = (
            "arrays `files`, `probabilities` and `classes`"
            if path.suffix.lower() == ".npz"
            else "file,<class>,<class>,…"
        )
        raise UsageError(
            f"{what} can't be read as a table of probabilities ({form}): {str(error) or 'it is empty'}"
        ) from error
    if not files or values.shape != (len(files), len(columns)):
        raise UsageError(
            f"{what} has {len(files)} files and {len(columns)} classes, and probabilities of shape {values.shape}"
        )
    missing = [c for c in classes if c not in columns]
    if missing:
        raise UsageError(
            f"{what} has no column for {len(missing)} of the data's {len(classes)} classes, such as {missing[0]!r}.\n"
            f"Its columns: {', '.join(columns[:6])}{' …' if len(columns) > 6 else ''}; they are matched by name."
        )
    if len(set(files)) < len(files):
        double = next(f for f in files if files.count(f) > 1)
        raise UsageError(f"{what} names '{double}' more than once")
    chosen = values[:, [columns.index(c) for c in classes]]
    sums = chosen.sum(axis=1)
    odd = np.flatnonzero(~np.isfinite(chosen).all(axis=1) | (chosen < 0).any(axis=1) | ~(sums > 0))
    if len(odd):
        raise UsageError(
            f"{what}, {files[odd[0]]}: {len(odd)} row(s) hold no probabilities (0 or more, and not all of them 0)"
        )
    notes = []
    others = len(columns) - len(classes)
    if others:
        notes.append(f"{path.name}: {others} column(s) are no class of the data and are left out")
    if (np.abs(sums - 1) > 0.01).any():
        notes.append(f"{path.name}: {int((np.abs(sums - 1) > 0.01).sum())} row(s) did not sum to 1 and were scaled to")
    return Listed(files=files, probabilities=(chosen / sums[:, None]).astype(np.float32), notes=tuple(notes))


def _csv(path: Path) -> tuple[list[str], list[str], NDArray[np.float64]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file)
        header = next(lines)
        if header[:1] != ["file"]:
            raise ValueError(f"its first column is {header[:1]}, not 'file'")
        body = [line for line in lines if line]
    for number, line in enumerate(body, 2):
        if len(line) != len(header):
            raise ValueError(f"row {number} has {len(line)} cells, the header {len(header)}")
    values = np.array([[float(cell) for cell in line[1:]] for line in body], dtype=np.float64)
    return _plain([line[0] for line in body]), [c.strip() for c in header[1:]], values


def _npz(path: Path) -> tuple[list[str], list[str], NDArray[np.float64]]:
    with zipfile.ZipFile(path) as packed:
        unpacked = sum(entry.file_size for entry in packed.infolist())
    if unpacked > LARGEST:
        raise ValueError(f"it unpacks to {unpacked / 1e9:.1f} GB")
    with np.load(path, allow_pickle=False) as stored:
        files, columns = ([str(v) for v in stored[key].tolist()] for key in ("files", "classes"))
        return _plain(files), columns, stored["probabilities"].astype(np.float64)


def _plain(names: Sequence[str]) -> list[str]:
    return [name.strip().replace("\\", "/").removeprefix("./") for name in names]
