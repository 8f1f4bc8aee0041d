"""Texts in the list of modalities, a stand-in for a tokenizer, and small files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from compressor.artifact.preprocessing import Inputs
from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset
from compressor.data.load import load_dataset

SPECIAL = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}


class Pieces:
    """Words cut into a first letter and `##` with the rest: as many pieces as a test needs."""

    kind = "wordpiece"
    special: ClassVar[dict[str, int]] = {}  # those of the frame are known by their names
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = "\n".join([*SPECIAL, *letters, *(f"##{a}" for a in letters)])
    pad_id, first_id, last_id = 0, 2, 3
    mask_id: int | None = 4

    @property
    def digest(self) -> str:
        return f"{self.kind} {self.vocabulary}"

    def ids(self, text: str) -> list[int]:
        tokens = self.vocabulary.split("\n")
        found = []
        for word in text.lower().split():
            letters = [c for c in word if c in self.letters]
            found += [tokens.index(c if i == 0 else f"##{c}") for i, c in enumerate(letters)]
        return found


class Encoding:
    """What views ask of a `TextPreprocessing`."""

    def __init__(self, max_length: int = 32) -> None:
        self.tokenizer = Pieces()
        self.max_length = max_length
        self.encoding = self.view_key = f"pieces {max_length}"
        self.calls = 0

    def encode(self, things: Sequence[Any]) -> Inputs:
        self.calls += 1
        ids = np.zeros((len(things), self.max_length), dtype=np.int32)
        mask = np.zeros((len(things), self.max_length), dtype=np.uint8)
        for row, thing in enumerate(things):
            parts = [thing] if isinstance(thing, str) else thing
            own = [2, *(i for part in parts for i in [*self.tokenizer.ids(part), 3])][: self.max_length]
            ids[row, : len(own)], mask[row, : len(own)] = own, 1
        return {"input_ids": ids, "attention_mask": mask}

    def used(self, inputs: Inputs) -> NDArray[np.int64]:
        counted: NDArray[np.int64] = inputs["attention_mask"].sum(1, dtype=np.int64)
        return counted


def numbered(count: int, classes: Sequence[str] = ("good", "bad")) -> list[tuple[str, str]]:
    """Distinct texts with their labels, the classes in turn."""
    return [(f"text number {i} says so", classes[i % len(classes)]) for i in range(count)]


def table(path: Path, rows: Sequence[Sequence[str]], header: str = "text,label", *, end: str = "\n") -> Path:
    """A CSV file of plain values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(end.join([header, *(",".join(row) for row in rows), ""]).encode())
    return path


Load = Callable[..., Dataset]


@pytest.fixture
def load() -> Load:
    """The dataset of a path, with settings of the section `data`."""

    def loaded(source: Path, **settings: Any) -> Dataset:
        return load_dataset(DataConfig(source=str(source), **settings))

    return loaded
