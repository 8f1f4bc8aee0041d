"""Groups of samples (night and day, camera A and B): columns of a `metadata.csv` beside the data. No torch."""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from compressor.artifact.metadata import showable
from compressor.errors import DataError

METADATA = "metadata.csv"
KEYS = ("file", "file_name")
"""The column that names the sample; the second is how Hugging Face's image folders spell it."""
UNKNOWN = "unknown"
MOST = 50
"""Distinct values of a column that still names groups; one with more (a time, an id) is no grouping."""

Groups = dict[str, list[str]]
"""Column → the group of each sample."""


def read_groups(root: Path, ids: Sequence[str], splits: Collection[str]) -> tuple[Groups, list[str]]:
    """What `metadata.csv` in `root` says of the samples `ids`, and notes for a person; nothing without such a file.

    Args:
        splits: folders below `root` that a file's name may be relative to, too.

    Raises:
        DataError: a row that can't be read, that names a file twice, or one of several files.
    """
    path = root / METADATA
    if not path.is_file():
        return {}, []
    header, rows = _rows(path)
    key = next((name for name in KEYS if name in header), None)
    if key is None:
        return {}, [f"{METADATA} is not used: it has no column 'file' (it has {', '.join(header) or 'none'})"]
    known, absent = set(ids), 0
    columns = [name for name in header if name != key]
    found: dict[str, tuple[int, dict[str, str]]] = {}
    for line, row in rows:
        owner = _sample(f"{path}, line {line}", row[key], known, splits)
        if owner is None:
            absent += 1
        elif owner in found and found[owner][1] != row:
            raise DataError(f"{path}, line {line}: '{row[key]}' is something else in line {found[owner][0]}")
        else:
            found[owner] = line, row
    notes = [f"{METADATA} names {absent} file(s) that are not among the images"] if absent else []
    if missing := len(known) - len(found):
        notes.append(f"{missing} of {len(known)} images are not in {METADATA}: their group is '{UNKNOWN}'")
    groups = {}
    for name in columns:
        values = [found[i][1][name].strip() or UNKNOWN if i in found else UNKNOWN for i in ids]
        distinct = len(set(values))
        if not 2 <= distinct <= min(MOST, len(ids) // 2):
            notes.append(f"{METADATA}: the column '{name}' names no groups ({distinct} distinct value(s))")
            continue
        groups[name] = values
    return groups, notes


def has_groups(source: str) -> bool:
    """Whether such a file lies beside the data."""
    return (Path(source).expanduser() / METADATA).is_file()


def _rows(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The header, and each row with its line; empty lines are passed over."""
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets begin with a byte order mark
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            if twice := next((name for name in header if header.count(name) > 1), None):
                raise DataError(f"{path}, line 1: the column '{twice}' is there twice")
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise DataError(
                        f"{path}, line {reader.line_num}: {len(cells)} values, and the header has {len(header)} columns"
                    )
                rows.append((reader.line_num, dict(zip(header, cells, strict=True))))
                if odd := next((cell for cell in cells if not showable(cell)), None):
                    raise DataError(f"{path}, line {reader.line_num}: {odd[:60]!r} can't be shown or is too long")
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read as UTF-8 text: {error}") from error
    if odd := next((name for name in header if not showable(name)), None):
        raise DataError(f"{path}, line 1: the column {odd[:60]!r} has a character that can't be shown")
    return header, rows


def _sample(where: str, name: str, known: Collection[str], splits: Collection[str]) -> str | None:
    """The sample that a row means; None where there is none of that name. Raises DataError where there are several."""
    plain = PurePosixPath(name.strip().replace("\\", "/")).as_posix()
    if plain in known:
        return plain
    matches = [f"{split}/{plain}" for split in splits if f"{split}/{plain}" in known]
    if len(matches) > 1:
        raise DataError(f"{where}: '{name}' may be {' or '.join(matches)}; write its path from the data folder")
    return matches[0] if matches else None
