"""Texts as inputs: tokens, framed, cut to a length and padded; one code for training, evaluation and the device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from compressor.artifact.preprocessing import GraphInput, Inputs, Preprocessing
from compressor.artifact.text import sources
from compressor.artifact.text.sources import Text
from compressor.artifact.text.tokenizer import Tokenizer

NAMES = ("input_ids", "attention_mask", "token_type_ids")
"""The arrays of encoded texts, and the inputs of a graph that may take them."""

EVEN = 100_000
"""Tokens up to which the texts of a pair are compared in length: it tells which keeps the odd token."""

EXTREME = 3
"""Texts of one length that a file is tried with: one alone and two together."""


class TextPreprocessing(Preprocessing):
    """What happens to a text, or a pair of texts, before a model sees it.

    Encoded: `input_ids` int32, `attention_mask` and `token_type_ids` uint8, (batch, max_length) each; padding is last.
    """

    modality: ClassVar[str] = "text"

    tokenizer: Tokenizer
    max_length: int = Field(ge=4, le=4096)
    """Tokens, those of the frame among them; what is longer is cut."""
    pair: bool = False
    """Whether a thing is a pair of texts."""
    types: bool = True
    """Whether the model is told which text of a pair a token is of."""
    frame: Literal["bert", "plain"] = "bert"
    """`bert`: [CLS] text [SEP], [CLS] a [SEP] b [SEP]; `plain`: the tokens alone."""

    @model_validator(mode="after")
    def _framed(self) -> TextPreprocessing:
        if self.frame == "bert" and (self.tokenizer.first_id is None or self.tokenizer.last_id is None):
            raise ValueError("the tokenizer has no tokens to frame a text with ([CLS] and [SEP])")
        return self

    @property
    def view_key(self) -> str:
        """By the tokenizer's digest: a vocabulary is long."""
        return f"{self.tokenizer.digest}, {self.max_length} tokens{', pairs' if self.pair else ''}"

    @property
    def encoding(self) -> str:
        """As `view_key`, with the frame. `types` leaves the encoded arrays as they are."""
        return f"{self.view_key}, {self.frame}"

    @property
    def shown(self) -> str:
        """`128 tokens`."""
        return f"{self.max_length} tokens"

    def sources(self, name: str) -> list[tuple[str, Any]]:
        """The texts of a file (`sources.named`); what is no file is itself the text, a pair with a tab between."""
        return list(sources.named(name, pair=self.pair))

    def open(self, source: Any) -> Text:
        """A text has been read with its file."""
        return source  # type: ignore[no-any-return]

    def encode(self, things: Sequence[Any]) -> Inputs:
        """Texts, or pairs of them, each."""
        shape = (len(things), self.max_length)
        ids = np.full(shape, self.tokenizer.pad_id, dtype=np.int32)
        mask, types = np.zeros(shape, dtype=np.uint8), np.zeros(shape, dtype=np.uint8)
        for row, thing in enumerate(things):
            numbers, before = self._tokens(thing)
            ids[row, : len(numbers)] = numbers
            mask[row, : len(numbers)] = 1
            types[row, before : len(numbers)] = 1
        return dict(zip(NAMES, (ids, mask, types), strict=True))

    def _tokens(self, thing: Text) -> tuple[list[int], int]:
        """The ids, framed and cut, and how many of them are before the second text."""
        framed = self.frame == "bert"
        first, last = ([self.tokenizer.first_id], [self.tokenizer.last_id]) if framed else ([], [])
        if isinstance(thing, str):
            room = self.max_length - 2 * framed
            numbers = [*first, *self.tokenizer.ids(thing, room), *last]
            return numbers, len(numbers)  # type: ignore[return-value]
        a, b = self._shortened(thing, self.max_length - 3 * framed)
        before = len(first) + len(a) + len(last)
        return [*first, *a, *last, *b, *last], before  # type: ignore[list-item]

    def _shortened(self, pair: tuple[str, str], room: int) -> tuple[list[int], list[int]]:
        """The longer gives way first, as in the library: two long ones share, the longer has the odd token."""
        limit = room
        a, b = (self.tokenizer.ids(text, limit) for text in pair)
        if room % 2 and len(a) == len(b) == limit:
            limit = max(EVEN, room)
            a, b = (self.tokenizer.ids(text, limit) for text in pair)
        if len(a) + len(b) > room:
            short = min(len(a), len(b))
            short, long = (short, room - short) if short <= room // 2 else (room // 2, room - room // 2)
            of_a, of_b = (long, short) if len(a) > len(b) else (short, long)
            a, b = a[:of_a], b[:of_b]
        return a, b

    @staticmethod
    def trimmed(inputs: Inputs) -> Inputs:
        """The columns that some sample uses; at least one."""
        used = np.flatnonzero(inputs["attention_mask"].any(axis=0))
        width = int(used[-1]) + 1 if len(used) else 1
        return {name: array[:, :width] for name, array in inputs.items()}

    def feed(self, inputs: Inputs, graph: Sequence[GraphInput]) -> tuple[NDArray[Any], ...]:
        """int64, by name; as wide as the batch's longest sample where the graph leaves it open, else as the graph."""
        cut = self.trimmed({name: inputs[name] for name in NAMES})
        return tuple(self._fitted(cut[entry.name], entry) for entry in graph)

    def _fitted(self, array: NDArray[Any], entry: GraphInput) -> NDArray[Any]:
        width = entry.shape[1]
        if not isinstance(width, int) or width == array.shape[1]:
            return array.astype(np.int64)
        fill = self.tokenizer.pad_id if entry.name == "input_ids" else 0
        fitted = np.full((len(array), width), fill, dtype=np.int64)
        fitted[:, : array.shape[1]] = array[:, :width]
        return fitted

    def example(
        self, batch: int, graph: Sequence[GraphInput], length: int | Sequence[int] | None = None
    ) -> tuple[NDArray[Any], ...]:
        """Tokens of the vocabulary by chance; no length is beyond the longest."""
        fixed = next((entry.shape[1] for entry in graph if isinstance(entry.shape[1], int)), None)
        if fixed:
            return self.feed(self.noise(batch, fixed), graph)
        if length is None or isinstance(length, int):
            return self.feed(self.noise(batch, min(length or self.max_length, self.max_length)), graph)
        used = np.minimum(length, self.max_length)[:, None]
        inputs = self.noise(batch, int(used.max()))
        within = np.arange(used.max()) < used
        inputs["attention_mask"] = within.astype(np.uint8)
        inputs["input_ids"] = np.where(within, inputs["input_ids"], np.int32(self.tokenizer.pad_id))
        return self.feed(inputs, graph)

    def noise(self, batch: int, length: int | None = None) -> Inputs:
        """Encoded, (batch, length): tokens by chance in the frame, none of them padding."""
        shape = (batch, length or self.max_length)
        ids = np.random.default_rng(0).integers(0, self.tokenizer.size, shape, dtype=np.int32)
        if self.frame == "bert":
            ids[:, [0, -1]] = np.array([self.tokenizer.first_id, self.tokenizer.last_id])
        ones, zeros = np.ones(shape, dtype=np.uint8), np.zeros(shape, dtype=np.uint8)
        return dict(zip(NAMES, (ids, ones, zeros), strict=True))

    def contradiction(self, graph: Sequence[GraphInput]) -> str | None:
        """Inputs that texts do not have; a fixed length that is not the longest text's."""
        names = [entry.name for entry in graph]
        if "input_ids" not in names or set(names) - set(NAMES) or any(len(entry.shape) != 2 for entry in graph):
            return f"a text's inputs ({', '.join(NAMES)}), where its graph has {', '.join(names)[:200]}"
        fixed = next((e.shape[1] for e in graph if isinstance(e.shape[1], int) and e.shape[1] != self.max_length), None)
        return None if fixed is None else f"{self.max_length} tokens, where its graph has {fixed}"

    def facts(self) -> dict[str, int]:
        """The longest text, tokens."""
        return {"max_length": self.max_length}

    def lengths(self, things: Iterable[Any]) -> list[int]:
        """Tokens, framed and cut."""
        return [len(self._tokens(thing)[0]) for thing in things]

    def used(self, inputs: Inputs) -> NDArray[np.int64]:
        """Tokens, as `lengths` counts them."""
        found: NDArray[np.int64] = inputs["attention_mask"].sum(axis=1, dtype=np.int64)
        return found

    def extremes(self, inputs: Inputs) -> dict[str, Inputs]:
        """`EXTREME` texts of one token in the frame, and as many of all tokens one after the other, as long as can be."""
        edge = int(self.frame == "bert")
        rows = zip(inputs["input_ids"], self.used(inputs), strict=True)
        parts = [row[edge : number - edge] for row, number in rows if number > 2 * edge]
        if not parts:
            return {}
        shifts = [k % len(parts) for k in range(EXTREME)]
        said = [np.concatenate([*parts[k:], *parts[:k]]) for k in shifts]
        room = self.max_length - 2 * edge
        long = [np.resize(tokens, room) for tokens in said]
        return {
            "of one token": self._of([tokens[:1] for tokens in said]),
            f"of {self.max_length} tokens": self._of(long),
        }

    def _of(self, parts: Sequence[NDArray[np.int32]]) -> Inputs:
        """Tokens, equally many, framed: encoded."""
        shape, edge = (len(parts), self.max_length), int(self.frame == "bert")
        used = len(parts[0]) + 2 * edge
        ids = np.full(shape, self.tokenizer.pad_id, dtype=np.int32)
        ids[:, edge : used - edge] = parts
        if edge:
            ids[:, [0, used - 1]] = np.array([self.tokenizer.first_id, self.tokenizer.last_id])
        mask = np.zeros(shape, dtype=np.uint8)
        mask[:, :used] = 1
        return dict(zip(NAMES, (ids, mask, np.zeros(shape, dtype=np.uint8)), strict=True))
