"""What is settled for a corpus before any model sees it: its tokens, and where the windows begin."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from compressor.artifact.text.tokenizer import Tokenizer
from compressor.data.language.options import Options
from compressor.data.splits import SPLITS
from compressor.seeds import derive_seed


@dataclass(frozen=True, kw_only=True)
class LanguageSetup:
    """`Dataset.setup` of running text. Sample i is a window of one split's stream; the splits follow each other."""

    tokenizer: Tokenizer
    length: int
    """Tokens of a window."""
    options: Options = field(default_factory=Options)
    """As they were given."""
    streams: dict[str, NDArray[np.int32]] = field(default_factory=dict, repr=False, compare=False)
    sizes: dict[str, int] = field(default_factory=dict)

    def stream(self, split: str) -> NDArray[np.int32]:
        """(tokens,): all of a split's, whatever of it became samples."""
        return self.streams[split]

    def bytes(self, split: str) -> int:
        """UTF-8 bytes of a split's texts."""
        return self.sizes[split]

    def windows(self, split: str) -> int:
        """How many whole windows a split holds; the last one needs a token behind it."""
        return max(0, len(self.streams[split]) - 1) // self.length

    def samples(self, split: str) -> NDArray[np.int64]:
        """The numbers of a split's windows."""
        first = sum(self.windows(name) for name in SPLITS[: SPLITS.index(split)])
        return np.arange(first, first + self.windows(split))

    def window(self, sample: int, shift: int = 0) -> NDArray[np.int32]:
        """(length + 1,): a sample's tokens and the one behind them, `shift` tokens later, but within the split."""
        for name in SPLITS:
            count = self.windows(name)
            if sample < count:
                tokens = self.streams[name]
                start = min(sample * self.length + shift, len(tokens) - self.length - 1)
                return tokens[start : start + self.length + 1]
            sample -= count
        raise IndexError(sample)


def shift_of(seed: int, view: int, length: int) -> int:
    """How many tokens later the windows of a view begin, 0 … length − 1; view 0 begins where evaluation does."""
    return derive_seed(seed, "window", view) % length if view else 0
