"""Files of texts as records: CSV, TSV, JSON lines, JSON by split, and plain lines. One at a time, none trusted."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from compressor.errors import DataError
from compressor.section import shortened

FIELD = 1 << 24
"""Characters of one field of a CSV file."""
LARGEST_JSON = 500_000_000
"""Bytes of a .json file, which can only be read as a whole."""
FIRST = 65_536
"""Characters of a header that are looked at for its delimiter."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """A sample as it stands in a file."""

    place: str
    """Where in the file: the line it begins in, or its number in a list."""
    values: dict[str, Any] = field(default_factory=dict)
    damage: str | None = None
    """Why it can't be read; it has no values then."""
    split: str | None = None
    """As the file calls it, where it is ordered by splits."""


def records(path: Path) -> Iterator[Record]:
    """The records of a file, by its suffix.

    Raises:
        DataError: no UTF-8, a quote that is never closed, JSON that is none, a column that is there twice.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".json":
            yield from _json(path)
        elif suffix in (".jsonl", ".ndjson"):
            yield from _json_lines(path)
        elif suffix == ".txt":
            yield from (Record(place=str(n), values={"text": t}) for n, t in lines(path))
        else:
            yield from _table(path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text ({error.reason}): save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error


def whole(path: Path) -> str:
    """A file's text. Raises DataError where it can't be read, and UnicodeDecodeError where it is no UTF-8."""
    try:
        with _opened(path) as file:
            return file.read()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not empty."""
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if text := line.strip():
                yield number, text


def _opened(path: Path) -> TextIO:
    """With the ends of lines as they are, which a quoted text may hold; spreadsheets begin with a byte order mark."""
    return path.open(encoding="utf-8-sig", newline="")


def _table(path: Path) -> Iterator[Record]:
    with _opened(path) as file:
        delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(file.readline(FIRST))
    quoted = delimiter != "\t" or _well_quoted(path)
    with _opened(path) as file, _long_fields():
        reader = csv.reader(
            file, delimiter=delimiter, strict=True, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        )
        try:
            yield from _rows(reader, path)
        except csv.Error as error:
            raise DataError(
                f"{path}, line {reader.line_num}: {error}; is a quote not closed, or not doubled?"
            ) from error


def _rows(reader: Any, path: Path) -> Iterator[Record]:
    header = [name.strip() for name in next(reader, [])]
    if len(set(header)) < len(header):
        seen: set[str] = set()
        twice = next(name for name in header if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise DataError(f"{path}, line 1: the column {shortened(twice)} is there twice")
    before = reader.line_num
    for cells in reader:
        begun, before = before + 1, reader.line_num
        if not cells:
            continue
        if len(cells) == len(header):
            yield Record(place=str(begun), values=dict(zip(header, cells, strict=True)))
        else:
            yield Record(place=str(begun), damage="with more or fewer values than the header has columns")


@contextmanager
def _long_fields() -> Iterator[None]:
    """The csv module's bound, which is the process's, for the time of reading."""
    before = csv.field_size_limit(FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _well_quoted(path: Path) -> bool:
    """Whether quotes in a file with tabs are csv's: in many such files they are the text's own."""
    with _opened(path) as file, _long_fields():
        try:
            for _ in itertools.islice(csv.reader(file, delimiter="\t", strict=True), None):
                pass
        except csv.Error:
            return False
    return True


def _delimiter(header: str) -> str:
    """What parts the header most often; a comma where nothing does."""
    unquoted = "".join(header.split('"')[::2])
    return max(",;\t", key=unquoted.count)


def _json_lines(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield _record(str(number), json.loads(line))
            except (ValueError, RecursionError):
                yield Record(place=str(number), damage="no JSON")


def _json(path: Path) -> Iterator[Record]:
    if path.stat().st_size > LARGEST_JSON:
        raise DataError(
            f"{path} has {path.stat().st_size / 1e9:.1f} GB, and a .json file is read as a whole: "
            "write it as .jsonl, a record per line"
        )
    try:
        value = json.loads(whole(path))
    except UnicodeDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON: {error}") from error
    if isinstance(value, list):
        yield from (_record(str(number), entry) for number, entry in enumerate(value, 1))
    elif isinstance(value, dict) and all(isinstance(entries, list) for entries in value.values()):
        for split, entries in value.items():
            yield from (_record(f"{split}:{number}", entry, split) for number, entry in enumerate(entries, 1))
    else:
        raise DataError(
            f"{path} holds no texts by split: give a list of records, or "
            '{"train": [["text", "label"], …], "test": […]}'
        )


def _record(place: str, value: Any, split: str | None = None) -> Record:
    """A record of named values, or `[text, label]`, or `[text, other text, label]`."""
    if isinstance(value, dict):
        return Record(place=place, values=value, split=split)
    if isinstance(value, list) and len(value) in (2, 3):
        names = ("text", "label") if len(value) == 2 else ("text_a", "text_b", "label")
        return Record(place=place, values=dict(zip(names, value, strict=True)), split=split)
    return Record(place=place, damage="neither named values nor text and label", split=split)
