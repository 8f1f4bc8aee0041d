"""Writing a text on, token by token: which comes next, when it ends, and what can be shown already. Only numpy."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from compressor.artifact.session import softmax
from compressor.artifact.text.language import LanguageMetadata, Logits, Reader
from compressor.artifact.text.tokenizer import Tokenizer
from compressor.errors import UsageError

Stop = Literal["end", "tokens", "positions"]
"""Why a text ends: by the model's own token for it, as many as were asked for, or no room for more."""

Pick = Callable[[Logits], int]
"""(vocabulary,) logits → the next token."""


def greedy(logits: Logits) -> int:
    """The most probable token; the first of equal ones."""
    return int(logits.argmax())


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """A token by chance: logits divided by the temperature, the `top_k` best of them, of these the fewest that hold
    `top_p` of the probability (Holtzman et al. 2020)."""

    rng: np.random.Generator
    temperature: float
    top_k: int | None = None
    top_p: float | None = None

    def __call__(self, logits: Logits) -> int:
        order = np.argsort(-logits, kind="stable")[: self.top_k]
        chances = softmax(logits[order], self.temperature)
        if self.top_p is not None:
            before = np.cumsum(chances) - chances
            chances = chances[before < self.top_p]
        bounds = np.cumsum(chances)
        drawn = np.searchsorted(bounds, self.rng.random() * bounds[-1], side="right")
        return int(order[min(int(drawn), len(chances) - 1)])


class Written:
    """A text that goes on; `stopped` says why it ended, once it has."""

    def __init__(self, reader: Reader, prompt: Sequence[int], *, limit: int, end: int | None, pick: Pick) -> None:
        self.stopped: Stop | None = None
        self._reader, self._prompt, self._limit, self._end, self._pick = reader, list(prompt), limit, end, pick

    def __iter__(self) -> Iterator[int]:
        """The tokens that follow the prompt, without the one that ends the text."""
        unread, room = self._prompt, self._reader.positions - len(self._reader.seen) - len(self._prompt)
        for number in range(self._limit):
            if number > room:
                self.stopped = "positions"
                return
            token = self._pick(self._reader.read(unread)[-1])
            if token == self._end:
                self.stopped = "end"
                return
            yield token
            unread = [token]
        self.stopped = "tokens"


class Spelling:
    """Tokens as text as soon as it is certain: bytes that begin a character wait for the rest of it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def add(self, token: int) -> str:
        """What a token adds to the text; often nothing yet, in a script of many bytes."""
        return self._decoder.decode(self._tokenizer.spelled([token]))

    def rest(self) -> str:
        """What never became a character: U+FFFD."""
        return self._decoder.decode(b"", final=True)


def prompt_ids(text: str, about: LanguageMetadata) -> list[int]:
    """A prompt's tokens; an empty one is what ends a text, after which another begins.

    Raises:
        UsageError: empty where the model has no such token, or longer than the model can read.
    """
    ids = about.tokenizer.ids(text, about.generation.positions + 1)
    if not ids and about.generation.end is not None:
        ids = [about.generation.end]
    if not ids:
        raise UsageError("the prompt is empty, and the model has no token that a text begins with: give it a word")
    if len(ids) > about.generation.positions:
        raise UsageError(
            f"the prompt has more tokens than {about.name} reads, which is {about.generation.positions}: shorten it"
        )
    return ids
