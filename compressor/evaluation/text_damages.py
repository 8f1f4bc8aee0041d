"""Damaged texts: what fingers, forms and habits do to what is written. No torch.

Done to the text as it was read, before any model takes it apart. Strength 1 … 5. Case is nothing to a model whose
tokenizer lowers it: its figures under `upper case` are then those of the texts as they are.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from compressor.evaluation.shift import OnThings

Text = str | tuple[str, str]

ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def _neighbours() -> dict[str, str]:
    """Letter → those beside, above and below it on an English keyboard."""
    places = {key: (row, place) for row, keys in enumerate(ROWS) for place, key in enumerate(keys)}

    def near(one: str, other: str) -> bool:
        (row, place), (other_row, other_place) = places[one], places[other]
        # A row stands half a key to the right of the one above.
        apart = abs(other_place - place + (other_row - row) / 2)
        return one != other and abs(row - other_row) <= 1 and apart <= 1

    return {one: "".join(other for other in places if near(one, other)) for one in places}


NEIGHBOURS = _neighbours()


def _typos(text: str, strength: int, draws: NDArray[np.float64]) -> str:
    """2 % of the letters per strength are their neighbours on the keyboard."""
    share, found = 0.02 * strength, list(text)
    for i, character in enumerate(text):
        keys = NEIGHBOURS.get(character.lower())
        if keys and draws[i] < share:
            key = keys[int(draws[i] / share * len(keys))]
            found[i] = key.upper() if character.isupper() else key
    return "".join(found)


def _swapped(text: str, strength: int, draws: NDArray[np.float64]) -> str:
    """2 % of the letters per strength change places with the next one of their word."""
    found, i = list(text), 0
    while i < len(text) - 1:
        if draws[i] < 0.02 * strength and text[i].isalpha() and text[i + 1].isalpha() and text[i] != text[i + 1]:
            found[i], found[i + 1] = text[i + 1], text[i]
            i += 1
        i += 1
    return "".join(found)


def _lost_spaces(text: str, strength: int, draws: NDArray[np.float64]) -> str:
    """10 % of the spaces per strength are gone."""
    return "".join(c for c, draw in zip(text, draws, strict=True) if not (c.isspace() and draw < 0.1 * strength))


def _upper_case(text: str, strength: int, draws: NDArray[np.float64]) -> str:
    """20 % of the words per strength, at 5 all, are in capitals."""
    starts = [0, *(i + 1 for i, (one, other) in enumerate(pairwise(text)) if one.isspace() != other.isspace())]
    parts = [text[a:b] for a, b in pairwise([*starts, len(text)])]
    return "".join(
        part.upper() if draws[start] < 0.2 * strength else part for part, start in zip(parts, starts, strict=True)
    )


def _no_punctuation(text: str, strength: int, draws: NDArray[np.float64]) -> str:
    """20 % of the punctuation per strength, at 5 all, is gone."""
    gone = (unicodedata.category(c)[0] == "P" and draw < 0.2 * strength for c, draw in zip(text, draws, strict=True))
    return "".join(c for c, lost in zip(text, gone, strict=True) if not lost)


def _on_text(how: Callable[[str, int, NDArray[np.float64]], str], text: Text, strength: int, seed: int) -> Text:
    rng = np.random.default_rng(seed)
    if isinstance(text, str):
        return how(text, strength, rng.random(len(text))) if text else text
    first, second = (_on_text(how, part, strength, int(rng.integers(2**63))) for part in text)
    assert isinstance(first, str)
    assert isinstance(second, str)
    return first, second


DAMAGES: dict[str, OnThings] = {
    name: OnThings(partial(_on_text, how))
    for name, how in (
        ("typos", _typos),
        ("swapped letters", _swapped),
        ("lost spaces", _lost_spaces),
        ("upper case", _upper_case),
        ("no punctuation", _no_punctuation),
    )
}
