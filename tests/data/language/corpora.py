"""Running text made up by a seed: words that follow each other by rule often enough to be learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np

WORDS = [
    "the",
    "cat",
    "sees",
    "a",
    "small",
    "dog",
    "and",
    "then",
    "some",
    "birds",
    "fly",
    "over",
    "their",
    "old",
    "house",
    "while",
    "it",
    "rains",
]


def prose(words: int = 2500, seed: int = 0) -> str:
    """Each word is followed by the next of the list three times of four, else by any; a line has ten."""
    rng = np.random.default_rng(seed)
    at, found = 0, []
    for _ in range(words):
        at = (at + 1) % len(WORDS) if rng.random() < 0.75 else int(rng.integers(len(WORDS)))
        found.append(WORDS[at])
    return "".join(" ".join(found[i : i + 10]) + ".\n" for i in range(0, words, 10))


def write(path: Path, words: int = 2500, seed: int = 0) -> Path:
    """A file of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(prose(words, seed))
    return path
