"""Texts' part in the data room: see `data/kind.py` for what each function is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.artifact.preprocessing import Inputs, Preprocessing
from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset, Source
from compressor.data.kind import Item
from compressor.data.text.files import layout
from compressor.data.text.read import parts_of, read_texts
from compressor.data.text.setup import TextSetup
from compressor.data.text.unlabeled import add_unlabeled
from compressor.data.text.views import VERSION, render
from compressor.errors import UsageError
from compressor.progress import Progress
from compressor.text import line

EXHIBIT = 300
"""Characters of a text in the report."""


class Texts:
    """Texts and pairs of texts to classify, in files of records or in folders of .txt files."""

    def claims(self, source: str) -> bool:
        """Files of records, folders of these, and class folders of .txt files."""
        return layout(Path(source).expanduser()) is not None

    def embedded(self) -> tuple[str, ...]:
        """None."""
        return ()

    def taught_by(self, config: DataConfig, teachers: Sequence[str]) -> DataConfig:
        """As it is: texts are read alike for all models."""
        return config

    def read(self, config: DataConfig, progress: Progress) -> Source:
        """See `read_texts`."""
        return read_texts(config, progress)

    def add_unlabeled(self, dataset: Dataset, folder: Path, progress: Progress) -> Dataset:
        """See `unlabeled.add_unlabeled`."""
        return add_unlabeled(dataset, folder, progress)

    def settled(self, dataset: Dataset) -> dict[str, Any]:
        """The options as they were given: columns are guessed again from the same file."""
        setup: TextSetup = dataset.setup
        return {"options": setup.options.model_dump()}

    def prepared(self, dataset: Dataset, teacher: Preprocessing | None, progress: Progress) -> Dataset:
        """As it is: a text's tokens are kept in memory from its first view on."""
        return dataset

    def prepared_bytes(self, dataset: Dataset, teacher: Preprocessing | None) -> int:
        """Nothing on disk."""
        return 0

    def resized(self, dataset: Dataset, size: int) -> TextSetup:
        """Texts have no size."""
        raise UsageError("teacher.image_size: a text has no size in pixels; data.options.max_length is its length")

    def distinct_views(self, dataset: Dataset) -> int | None:
        """One where nothing is hidden; else they never end."""
        setup: TextSetup = dataset.setup
        return None if setup.mask else 1

    def view(self, dataset: Dataset, item: Item, preprocessing: Preprocessing) -> Inputs:
        """`input_ids`, `attention_mask` and what else the preprocessing gives, (max_length,) each."""
        return render(dataset, *item, preprocessing)

    def labels(self, dataset: Dataset, items: Sequence[Item]) -> dict[str, NDArray[Any]]:
        """The samples' own."""
        return {"label": dataset.labels[np.array([sample for sample, _ in items], dtype=np.int64)]}

    def views_depend_on(self, dataset: Dataset) -> dict[str, Any]:
        """The share of words that is hidden; length and vocabulary are in the model's view key."""
        setup: TextSetup = dataset.setup
        return {"code": VERSION, "mask": setup.mask}

    def packages(self) -> tuple[str, ...]:
        """Who draws; tokens are our own code's."""
        return ("numpy",)

    def exhibit(self, dataset: Dataset, index: int, stem: Path) -> dict[str, str]:
        """The text on one line, shortened; a pair's two parted by a bar."""
        shown = " | ".join(" ".join(part.split()) for part in parts_of(dataset.read(index)))
        return {"text": line(shown if len(shown) <= EXHIBIT else f"{shown[: EXHIBIT - 1]}…")}


TEXTS = Texts()
