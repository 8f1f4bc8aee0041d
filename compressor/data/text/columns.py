"""Which columns hold the text, the second text, the label and the split: as said, else by their names, else by content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor.data.text.files import SPLIT_NAMES
from compressor.data.text.options import Options
from compressor.errors import DataError, did_you_mean
from compressor.section import shortened

TEXT = (
    "text", "sentence", "utterance", "query", "content", "review", "question", "message", "tweet", "comment", "body",
    "document", "title", "description",
)  # fmt: skip
PAIRS = (
    ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("text_a", "text_b"),
    ("text1", "text2"),
)  # fmt: skip
LABEL = (
    "label", "category", "intent", "class", "sentiment", "target", "topic", "emotion", "rating", "stars", "gold_label",
    "is_duplicate",
)  # fmt: skip
SPLIT = ("split", "set", "partition")
SHOWN = 20
"""Columns that a message lists."""
LOOKED_AT = 1000
"""Records from which columns are guessed."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of columns."""

    text: str
    label: str | None = None
    """None where labels are not asked for."""
    pair: str | None = None
    split: str | None = None
    how: str | None = None
    """How they were found, for a person; None where all were given."""

    @property
    def needed(self) -> list[str]:
        """Those without which there is no sample."""
        return [name for name in (self.text, self.pair, self.label) if name is not None]


def columns_of(path: Path, first: Sequence[dict[str, Any]], options: Options, *, labelled: bool = True) -> Columns:
    """The columns of a file whose first records are given.

    Raises:
        DataError: a column that is given is not there, or nothing can be guessed; the message lists the columns.
    """
    names = list(dict.fromkeys(name for values in first for name in values))
    for key, given in (("text", options.text), ("pair", options.pair), ("label", options.label if labelled else None)):
        if given is not None and given not in names:
            raise DataError(
                f"{path} has no column '{given}' (data.options.{key}){did_you_mean(given, names[:SHOWN])}; "
                f"it has {_listed(names)}"
            )
    spelled = {name.strip().lower().replace(" ", "_").replace("-", "_"): name for name in reversed(names)}
    split = next((spelled[name] for name in SPLIT if name in spelled and _splits(first, spelled[name])), None)
    label = options.label if labelled else None
    ways: set[str] = set()
    if labelled and label is None:
        taken = {options.text, options.pair}
        label = next((spelled[name] for name in LABEL if name in spelled and spelled[name] not in taken), None)
        ways.add("names")
    text, pair = options.text, options.pair
    if text is None:
        text, pair = _by_name(spelled, label, pair)
        ways.add("names")
    rest = [name for name in names if name not in (text, pair, label, split)]
    if text is None:
        text = _longest(first, rest)
        rest = [name for name in rest if name != text]
        ways.add("content")
    if labelled and label is None and text is not None:
        few = [name for name in rest if _few(first, name)]
        label = few[0] if len(few) == 1 else None
        ways.add("content")
    if text is None or (labelled and label is None):
        what = "a text" if text is None else "a label"
        raise DataError(
            f"{path}: which column holds {what}? It has {_listed(names)}.\n"
            "Say so: --set data.options.text=… --set data.options.label=…"
            + ("" if path.suffix.lower().startswith(".json") else " (the first line must be the header)")
        )
    named = ", ".join(name for name in (text, pair, label, split) if name is not None)
    how = f"columns: {named} (by their {' and '.join(sorted(ways, reverse=True))})" if ways else None
    if how:
        how += f"; --set data.options.{'label' if labelled else 'text'}=… takes another"
    return Columns(text=text, pair=pair, label=label, split=split, how=how)


def _by_name(spelled: dict[str, str], label: str | None, pair: str | None) -> tuple[str | None, str | None]:
    if pair is None:
        for one, other in PAIRS:
            if one in spelled and other in spelled:
                return spelled[one], spelled[other]
    return next((spelled[n] for n in TEXT if n in spelled and spelled[n] not in (label, pair)), None), pair


def _splits(first: Sequence[dict[str, Any]], name: str) -> bool:
    found = {str(values.get(name, "")).strip().lower() for values in first}
    return bool(found & SPLIT_NAMES.keys())


def _longest(first: Sequence[dict[str, Any]], names: Sequence[str]) -> str | None:
    """The column with the longest values, most of which are several words."""
    lengths = {}
    for name in names[: 10 * SHOWN]:
        values = [v for record in first if isinstance(v := record.get(name), str) and v.strip()]
        if values and sum(" " in v.strip() for v in values) > len(values) / 2:
            lengths[name] = sum(map(len, values)) / len(values)
    return max(lengths, key=lambda name: lengths[name]) if lengths else None


def _few(first: Sequence[dict[str, Any]], name: str) -> bool:
    """Whether a column has few distinct short values."""
    values = [str(record.get(name, "")) for record in first]
    return 2 <= len(set(values)) <= max(2, len(values) // 2) and max(map(len, values)) <= 60


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f"the columns {', '.join(shortened(name, 60) for name in names[:SHOWN])}{more}" if names else "no columns"
