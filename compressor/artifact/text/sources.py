"""What `compress predict MODEL NAME` means for texts: a file with a text a row, or the text itself."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from compressor.errors import UsageError, first_line

Text = str | tuple[str, str]
"""A text, or a pair."""

SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl")
"""Files of texts."""

SINGLE = ("text", "sentence", "content", "review", "utterance", "query", "question", "comment", "message", "title")
"""Columns that are taken for the text, the first that is there."""

PAIRS = (
    ("text", "text_pair"), ("text_a", "text_b"), ("text1", "text2"), ("sentence1", "sentence2"),
    ("sentence_a", "sentence_b"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "answer"),
    ("question", "sentence"), ("query", "passage"), ("query", "document"),
)  # fmt: skip
"""Columns that are taken for the two texts."""

SHOWN = 60
"""Characters of a text that stand for it."""


def named(name: str, *, pair: bool = False) -> Iterator[tuple[str, Text]]:
    """(shown, text) for what a person names.

    A `.txt` has a text a line (a pair: a tab between), a `.csv`, `.tsv` or `.jsonl` columns by name; a file of another
    suffix is read as `.txt`. What is no file is the text.

    Raises:
        UsageError: nothing at all was given, no file where the name looks like one's, or no texts in it.
    """
    if not name:
        raise UsageError("an empty text: name a file of texts, or write a text in quotes")
    path = _file(name)
    if path is None:
        yield shown(name), _read(name, pair, shown(name))
        return
    try:
        rows = _rows(path, pair)
    except (OSError, csv.Error) as error:
        raise UsageError(f"{path} can't be read: {first_line(error)}") from error
    if not rows:
        raise UsageError(f"{path} holds no texts")
    yield from ((f"{path}:{number}", text) for number, text in rows)


def shown(text: str) -> str:
    """A text as a part of a line."""
    flat = " ".join(text[: 4 * SHOWN].split())
    return flat if len(flat) <= SHOWN and len(text) <= 4 * SHOWN else flat[: SHOWN - 1].rstrip() + "…"


def _file(name: str) -> Path | None:
    """The file of that name. Raises UsageError for a folder, and where only a file can be meant."""
    try:
        path = Path(name).expanduser()
        if path.is_file():
            return path
        folder = path.is_dir()
    except (OSError, ValueError, RuntimeError):  # too long, or with characters that no name has
        return None
    if folder and ("/" in name or not name.isalpha()):
        raise UsageError(f"'{name}' is a folder: name a file of texts ({', '.join(SUFFIXES)})")
    if path.suffix.lower() in SUFFIXES and not any(c.isspace() for c in name):
        raise UsageError(f"no file '{name}'")
    return None


def _rows(path: Path, pair: bool) -> list[tuple[int, Text]]:
    """(number of the line, text). Lines end in \\n alone: U+2028 and the like are a text's own."""
    content = path.read_bytes().decode("utf-8-sig", errors="replace")
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        lines = (line + "\n" for line in content.replace("\0", "\ufffd").split("\n"))
        table = csv.DictReader(lines, delimiter="\t" if suffix == ".tsv" else ",")
        return _columns([(table.line_num, row) for row in table], pair, path)
    lined = [(number, line.removesuffix("\r")) for number, line in enumerate(content.split("\n"), 1)]
    lined = [(number, line) for number, line in lined if line.strip()]
    if suffix != ".jsonl":
        return [(number, _read(line, pair, f"{path}:{number}")) for number, line in lined]
    return _columns([(number, _object(line, f"{path}:{number}")) for number, line in lined], pair, path)


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is no JSON: {first_line(error)}") from error
    if isinstance(value, str):
        return {"text": value}
    if not isinstance(value, dict):
        raise UsageError(f"{where} is neither a JSON object nor a text")
    return value


def _read(text: str, pair: bool, where: str) -> Text:
    if not pair:
        return text
    first, tab, second = text.partition("\t")
    if not tab:
        raise UsageError(f"the model takes pairs of texts: put a tab between the two ({where})")
    return first, second


def _columns(rows: Sequence[tuple[int, dict[str, Any]]], pair: bool, path: Path) -> list[tuple[int, Text]]:
    if not rows:
        return []
    names = list(rows[0][1])
    by_lower = {str(name).strip().lower(): name for name in names}
    if pair:
        found: Any = next((two for two in PAIRS if set(two) <= by_lower.keys()), None)
    else:
        found = next(((name,) for name in SINGLE if name in by_lower), None)
        if found is None and len(by_lower) == 1:
            found = tuple(by_lower)
    if found is None:
        known = ", ".join("+".join(two) for two in PAIRS) if pair else ", ".join(SINGLE)
        raise UsageError(f"{path} has the columns {', '.join(map(str, names))[:300]}; none is known as texts ({known})")
    texts: list[tuple[int, Text]] = []
    for number, row in rows:
        values = [value for name in found if isinstance(value := row.get(by_lower[name]), str)]
        if len(values) < len(found):
            raise UsageError(f"{path}:{number} has no text in {' and '.join(found)}")
        texts.append((number, (values[0], values[1]) if pair else values[0]))
    return texts
