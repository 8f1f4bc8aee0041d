"""Windows of a text with some tokens hidden, as inputs: what a masked language model is asked about. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from compressor.artifact.preprocessing import GraphInput, Inputs, Preprocessing
from compressor.artifact.text.tokenizer import Tokenizer
from compressor.errors import UsageError

NAMES = ("input_ids", "places")
"""The arrays of encoded windows."""

SHARE = 0.15
"""Of a window's tokens that are asked about (Devlin et al. 2019)."""


def asked(length: int) -> int:
    """How many tokens of a window are asked about: a fixed number, so that every window has as many rows."""
    return max(1, round(SHARE * length))


@dataclass(frozen=True, kw_only=True)
class Window:
    """A window as a model sees it."""

    ids: NDArray[np.int32]
    """(length,), some of them hidden."""
    places: NDArray[np.int32]
    """(asked,), ascending: where the model is asked what stood there."""


class MaskedPreprocessing(Preprocessing):
    """Encoded: `input_ids` (samples, length) and `places` (samples, `asked(length)`), int32 each; nothing is padded."""

    modality: ClassVar[str] = "masked"

    tokenizer: Tokenizer
    length: int = Field(ge=8, le=4096)
    """Tokens of a window, [CLS] and [SEP] among them."""

    @model_validator(mode="after")
    def _hides(self) -> MaskedPreprocessing:
        missing = [name for name in ("first", "last", "mask") if getattr(self.tokenizer, name) is None]
        if missing:
            raise ValueError(
                f"the tokenizer has no token for {', '.join(missing)}: masked words need [CLS], [SEP], [MASK]"
            )
        return self

    @property
    def view_key(self) -> str:
        """By the tokenizer's digest: a vocabulary is long."""
        return f"{self.tokenizer.digest}, windows of {self.length}"

    @property
    def encoding(self) -> str:
        """As `view_key`."""
        return self.view_key

    @property
    def shown(self) -> str:
        """`128 tokens`."""
        return f"{self.length} tokens"

    def sources(self, name: str) -> NoReturn:
        """Nothing: there is no command that asks it about a text."""
        raise UsageError(
            "a masked language model classifies nothing yet: fine-tune it with --data of labelled texts, "
            "compress distill --teacher RUN --student RUN --data texts.csv"
        )

    def open(self, source: Any) -> Window:
        """A window has been read with its corpus."""
        return source  # type: ignore[no-any-return]

    def encode(self, things: Sequence[Any]) -> Inputs:
        """`Window`s."""
        return {
            "input_ids": np.stack([thing.ids for thing in things]).astype(np.int32),
            "places": np.stack([thing.places for thing in things]).astype(np.int32),
        }

    def feed(self, inputs: Inputs, graph: Sequence[GraphInput]) -> tuple[NDArray[Any], ...]:
        """int64, by name."""
        return tuple(inputs[entry.name].astype(np.int64) for entry in graph)

    def example(
        self, batch: int, graph: Sequence[GraphInput], length: int | Sequence[int] | None = None
    ) -> tuple[NDArray[Any], ...]:
        """Windows of tokens by chance; all of a batch are as long as the longest that is asked for."""
        wanted = self.length if length is None else int(np.max(length))
        return self.feed(self.noise(batch, min(wanted, self.length)), graph)

    def noise(self, batch: int, length: int | None = None) -> Inputs:
        """Encoded: tokens by chance in the frame, the first ones after [CLS] asked about."""
        width = length or self.length
        ids = np.random.default_rng(0).integers(0, self.tokenizer.size, (batch, width), dtype=np.int32)
        ids[:, [0, -1]] = np.array([self.tokenizer.first_id, self.tokenizer.last_id])
        places = np.tile(np.minimum(np.arange(1, 1 + asked(width), dtype=np.int32), width - 1), (batch, 1))
        return dict(zip(NAMES, (ids, places), strict=True))

    def contradiction(self, graph: Sequence[GraphInput]) -> str | None:
        """Inputs that windows do not have."""
        names = [entry.name for entry in graph]
        if set(names) - set(NAMES) or "input_ids" not in names:
            return f"a window's inputs ({', '.join(NAMES)}), where its graph has {', '.join(names)[:200]}"
        return None

    def facts(self) -> dict[str, int]:
        """A window, tokens."""
        return {"max_length": self.length}
