"""Views of texts: words hidden behind the mask token, a pure function of (`data.seed`, sample, view). No torch.

Masking as in Tang et al. 2019 ("Distilling Task-Specific Knowledge from BERT into Simple Neural Networks"), a word at a
time: of a word that is hidden no piece is left.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from compressor.artifact.preprocessing import Inputs, Preprocessing
from compressor.data.dataset import Dataset
from compressor.data.text.setup import TextSetup
from compressor.errors import UsageError
from compressor.seeds import derive_seed

VERSION = 1
"""Counted up when views that exist would change."""


class Tokens(Protocol):
    """What a view asks of a tokenizer."""

    @property
    def kind(self) -> str: ...

    @property
    def vocabulary(self) -> str: ...

    @property
    def special(self) -> dict[str, int]: ...

    @property
    def first_id(self) -> int | None: ...

    @property
    def last_id(self) -> int | None: ...

    @property
    def pad_id(self) -> int: ...

    @property
    def mask_id(self) -> int | None: ...

    @property
    def digest(self) -> str: ...


class TextLike(Protocol):
    """What a view asks of a preprocessing beside `encode`."""

    @property
    def tokenizer(self) -> Tokens: ...


def render(dataset: Dataset, sample: int, number: int, preprocessing: Preprocessing) -> Inputs:
    """One view, without an axis for samples. Raises UsageError where words are to be hidden and nothing can hide them."""
    setup: TextSetup = dataset.setup

    def encode() -> Inputs:
        return {name: array[0] for name, array in preprocessing.encode([dataset.read(sample)]).items()}

    one = setup.kept.encoded(f"{dataset.content}\0{preprocessing.encoding}", sample, encode)
    if setup.mask:
        tokenizer = cast(TextLike, preprocessing).tokenizer
        seed = derive_seed(dataset.seed, dataset.ids[sample], number)
        one["input_ids"] = masked(one["input_ids"], one["attention_mask"], tokenizer, setup.mask, seed)
    return one


def masked(ids: NDArray[Any], attention: NDArray[Any], tokenizer: Tokens, share: float, seed: int) -> NDArray[Any]:
    """(length,) ids with about `share` of the words hidden; special tokens and padding never are."""
    if tokenizer.mask_id is None:
        raise UsageError("data.options.mask: the model's tokenizer has no mask token, so nothing can hide a word")
    starts, special = _about(_Key(tokenizer))
    free = (attention > 0) & ~special[ids]
    # A word begins where its token says so, and behind a special token.
    begins = free & (starts[ids] | np.concatenate([[True], ~free[:-1]]))
    word = np.cumsum(begins) - 1
    hidden = np.random.default_rng(seed).random(int(begins.sum())) < share
    if not len(hidden):
        return ids
    return np.where(free & hidden[word.clip(0)], np.array(tokenizer.mask_id, dtype=ids.dtype), ids)


class _Key:
    """A tokenizer by its digest: what is known of one is known of its equals."""

    def __init__(self, tokenizer: Tokens) -> None:
        self.tokenizer = tokenizer
        self.digest = tokenizer.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.digest == self.digest


@lru_cache(maxsize=4)
def _about(key: _Key) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(tokens,) each: whether a token begins a word, and whether it is special."""
    tokens = key.tokenizer.vocabulary.split("\n")
    frame = (key.tokenizer.first_id, key.tokenizer.last_id, key.tokenizer.pad_id, key.tokenizer.mask_id)
    never = [*key.tokenizer.special.values(), *(number for number in frame if number is not None)]
    size = max(len(tokens), 1 + max(never))
    wordpiece = key.tokenizer.kind == "wordpiece"
    starts = np.ones(size, dtype=bool)
    starts[: len(tokens)] = [not t.startswith("##") if wordpiece else t.startswith(("Ġ", "Ċ")) for t in tokens]
    special = np.zeros(size, dtype=bool)
    special[never] = True
    return starts, special
