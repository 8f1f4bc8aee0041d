"""Running text as input: windows of tokens, as long as each other and nothing padded, for models of language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from compressor.artifact.preprocessing import GraphInput, Inputs, Preprocessing
from compressor.artifact.text.tokenizer import Tokenizer
from compressor.errors import UsageError

IDS = "input_ids"
"""The one array of encoded windows, and the input of a graph that takes them."""


class WindowPreprocessing(Preprocessing):
    """How a window of a text reaches a model. A thing is its tokens, (length,) whole numbers.

    Encoded: `input_ids` int32, (windows, length).
    """

    modality: ClassVar[str] = "language"

    tokenizer: Tokenizer
    length: int = Field(ge=1, le=65_536)
    """Tokens of a window."""

    @property
    def view_key(self) -> str:
        """By the tokenizer's digest: a vocabulary is long."""
        return f"{self.tokenizer.digest}, windows of {self.length} tokens"

    @property
    def encoding(self) -> str:
        """As `view_key`."""
        return self.view_key

    @property
    def shown(self) -> str:
        """`windows of 128 tokens`."""
        return f"windows of {self.length} tokens"

    def sources(self, name: str) -> list[tuple[str, Any]]:
        """None: what a language model is asked for is the rest of a text."""
        raise UsageError("a language model names no classes; it writes on: compress generate MODEL PROMPT")

    def open(self, source: Any) -> Any:
        """Tokens as they are."""
        return source

    def encode(self, things: Sequence[Any]) -> Inputs:
        """Windows, as long as each other."""
        return {IDS: np.stack([np.asarray(thing, dtype=np.int32) for thing in things])}

    def feed(self, inputs: Inputs, graph: Sequence[GraphInput]) -> tuple[NDArray[Any], ...]:
        """int64."""
        return tuple(inputs[entry.name].astype(np.int64) for entry in graph)

    def example(
        self, batch: int, graph: Sequence[GraphInput], length: int | Sequence[int] | None = None
    ) -> tuple[NDArray[Any], ...]:
        """Tokens by chance; all windows of a batch are as long as the longest that is asked for."""
        wanted = self.length if length is None else int(np.max(length))
        return self.feed(self.noise(batch, min(wanted, self.length)), graph)

    def noise(self, batch: int, length: int | None = None) -> Inputs:
        """Encoded, (batch, length): tokens by chance."""
        shape = (batch, length or self.length)
        return {IDS: np.random.default_rng(0).integers(0, self.tokenizer.size, shape, dtype=np.int32)}

    def contradiction(self, graph: Sequence[GraphInput]) -> str | None:
        """Inputs that a window does not have."""
        names = [entry.name for entry in graph]
        return None if names == [IDS] else f"a window's input ({IDS}), where its graph has {', '.join(names)[:200]}"

    def facts(self) -> dict[str, int]:
        """Tokens of a window."""
        return {"length": self.length}
