"""From files to the texts of each split: what is read, and where a corpus without splits of its own is parted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compressor.data.config import DataConfig
from compressor.data.language.options import Options
from compressor.data.splits import SPLITS
from compressor.data.tally import Tally
from compressor.data.text.columns import LOOKED_AT, Columns, columns_of
from compressor.data.text.files import SPLIT_NAMES, SUFFIXES, WHOLE
from compressor.data.text.options import Options as Named
from compressor.data.text.read import fingerprint
from compressor.data.text.records import records
from compressor.errors import DataError
from compressor.runnote import Unused
from compressor.text import as_bytes

ACCEPTED = "a .txt file, a folder of these, or a table (.csv, .tsv, .jsonl, .json) with a column of texts"
LARGEST = 1_000_000_000
"""Bytes of all files together: texts and tokens are held in memory."""
SHARE = 0.05
"""Of running text that validation and test take each, where the recipe has its defaults."""
NEAR = 1000
"""Characters before a border within which the end of a line, or of a word, is looked for."""

_NAMED = re.compile(rf"({'|'.join(sorted(SPLIT_NAMES, key=len, reverse=True))})(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Texts by split, in the order of the files."""

    name: str
    texts: dict[str, list[str]]
    """`train`, `validation`, `test`: none of them empty."""
    content: str
    """Fingerprint of all texts as they lie in the files, wherever they are parted."""
    notes: list[str] = field(default_factory=list)
    unused: list[Unused] = field(default_factory=list)

    @property
    def borders(self) -> str:
        """Fingerprint of which text is in which split."""
        return fingerprint(f"{name} {fingerprint(self.texts[name])}" for name in SPLITS)

    def bytes(self, split: str) -> int:
        """UTF-8 bytes of a split's texts."""
        return sum(len(as_bytes(text)) for text in self.texts[split])


def read_corpus(config: DataConfig, options: Options) -> Corpus:
    """The corpus at `data.source`, with its own splits or parted by `data.test` and `data.validation`.

    A split that is missing beside a `train` is taken from the end of it.

    Raises:
        DataError: nothing of that kind is there, it is no UTF-8, too large, or too short to be parted.
    """
    root = Path(config.source).expanduser()
    found, tally = _files(root), Tally()
    size = sum(path.stat().st_size for _, path in found.files)
    if size > LARGEST:
        raise DataError(
            f"{root}: {size / 1e9:.1f} GB of text, which is held in memory as tokens, and {LARGEST / 1e9:.0f} GB are the "
            "most: give a part of it"
        )
    texts: dict[str, list[str]] = {}
    for split, path in found.files:
        own = [_plain(path)] if path.suffix.lower() == ".txt" else _column(path, options, tally)
        texts.setdefault(split, []).extend(text for text in own if text)
    for name in found.unused:
        tally.add("named as no split, where others are", name)
    content = fingerprint(text for split in sorted(texts) for text in texts[split])
    whole = texts.pop(WHOLE, None)
    texts = _parted(root, texts if whole is None else {"train": whole}, config)
    return Corpus(name=root.stem, texts=texts, content=content, notes=found.notes, unused=tally.unused())


@dataclass(frozen=True, kw_only=True)
class _Found:
    files: list[tuple[str, Path]]
    unused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _files(root: Path) -> _Found:
    """(split or `WHOLE`, file) each, in the order of their names."""
    if root.is_file() and root.suffix.lower() in (".txt", *SUFFIXES):
        return _Found(files=[(WHOLE, root)])
    if not root.is_dir():
        what = "this is none" if root.exists() else "there is nothing there"
        raise DataError(f"no running text at '{root}' (from --data or data.source): {what}. Give {ACCEPTED}")
    inside = sorted(path for path in root.iterdir() if path.is_file() and not path.name.startswith("."))
    files = [path for path in inside if path.suffix.lower() == ".txt"] or [
        path for path in inside if path.suffix.lower() in SUFFIXES
    ]
    if not files:
        raise DataError(f"no running text in the folder '{root}' (from --data or data.source): give {ACCEPTED}")
    named = [(SPLIT_NAMES[match[1].lower()], path) for path in files if (match := _NAMED.match(path.stem))]
    if any(split == "train" for split, _ in named):
        chosen = {path for _, path in named}
        return _Found(files=named, unused=[path.name for path in files if path not in chosen])
    return _Found(
        files=[(WHOLE, path) for path in files], notes=[f"{len(files)} files of one text, in their names' order"]
    )


def _plain(path: Path) -> str:
    """A file's text, with the ends of its lines as they are; a mark at its beginning is none of it."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text (byte {error.start:,}: {error.reason}): save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error


def _column(path: Path, options: Options, tally: Tally) -> list[str]:
    """A text for each record."""
    read = list(records(path))
    first = [record.values for record in read[:LOOKED_AT] if record.damage is None]
    if not first:
        raise DataError(f"{path} holds no records")
    columns: Columns = columns_of(path, first, Named(text=options.text), labelled=False)
    texts = []
    for record in read:
        text: Any = record.values.get(columns.text)
        if record.damage is not None or not isinstance(text, str) or not text:
            tally.add(record.damage or "without a text", f"{path.name}:{record.place}")
        else:
            texts.append(text)
    return texts


def _parted(root: Path, texts: dict[str, list[str]], config: DataConfig) -> dict[str, list[str]]:
    """All three splits: what is missing is the end of the training texts, test last."""
    fields = DataConfig.model_fields
    rest = texts.get("train", [])
    whole = sum(map(len, rest))
    for name, asked in (("test", config.test), ("validation", config.validation)):
        if name in texts:
            continue
        share = SHARE if asked == fields[name].default else asked
        rest, texts[name] = _cut(rest, sum(map(len, rest)) - round(whole * share))
    texts["train"] = rest
    empty = [name for name in SPLITS if not any(texts[name])]
    if empty:
        raise DataError(
            f"'{root}' has {whole:,} characters, which are too few: {' and '.join(empty)} would be empty. "
            "Give a longer text, or files named train, validation and test"
        )
    return {name: texts[name] for name in SPLITS}


def _cut(texts: Sequence[str], at: int) -> tuple[list[str], list[str]]:
    """The texts before and behind a border near character `at`, which lies at the end of a line or word where it can."""
    before: list[str] = []
    for number, text in enumerate(texts):
        if at < len(text):
            if at <= 0:
                return before, list(texts[number:])
            near = text[max(0, at - NEAR) : at]
            back = next((len(near) - place - 1 for end in ("\n", " ") if (place := near.rfind(end)) >= 0), 0)
            border = at - back if at - back > 0 else at
            return [*before, text[:border]], [text[border:], *texts[number + 1 :]]
        before.append(text)
        at -= len(text)
    return before, []
