"""Masked words' part in the data room: see `data/kind.py` for what each function is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.artifact.preprocessing import Inputs, Preprocessing
from compressor.artifact.text.masked import NAMES
from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset, Source
from compressor.data.kind import Item
from compressor.data.language import masks
from compressor.data.language.kind import LANGUAGE, shown
from compressor.data.language.masked_read import MaskedSetup, read_masked
from compressor.progress import Progress


class Masked:
    """Windows of running text, whose rows say what stood where tokens are hidden."""

    def claims(self, source: str) -> bool:
        """Nothing: `data.task` asks for it."""
        return False

    def embedded(self) -> tuple[str, ...]:
        """None."""
        return ()

    def taught_by(self, config: DataConfig, teachers: Sequence[str]) -> DataConfig:
        """With the tokenizer of the first teacher that has one, unless one is given."""
        return LANGUAGE.taught_by(config, teachers)

    def read(self, config: DataConfig, progress: Progress) -> Source:
        """See `read_masked`."""
        return read_masked(config, progress)

    def add_unlabeled(self, dataset: Dataset, folder: Path, progress: Progress) -> Dataset:
        """Running text has no labels to lack."""
        return LANGUAGE.add_unlabeled(dataset, folder, progress)

    def settled(self, dataset: Dataset) -> dict[str, Any]:
        """The options, with the place of the tokenizer where one is given."""
        setup: MaskedSetup = dataset.setup
        return {"options": setup.options.model_dump()}

    def prepared(self, dataset: Dataset, teacher: Preprocessing | None, progress: Progress) -> Dataset:
        """As it is: tokens are in memory."""
        return dataset

    def prepared_bytes(self, dataset: Dataset, teacher: Preprocessing | None) -> int:
        """Nothing on disk."""
        return 0

    def resized(self, dataset: Dataset, size: int) -> Any:
        """A text has no size."""
        return LANGUAGE.resized(dataset, size)

    def distinct_views(self, dataset: Dataset) -> int | None:
        """Masks never end."""
        return None

    def view(self, dataset: Dataset, item: Item, preprocessing: Preprocessing) -> Inputs:
        """`input_ids`, (length,), and `places`, (asked,), int32."""
        window = _masked(dataset, item)[0]
        return dict(zip(NAMES, (window.ids, window.places), strict=True))

    def labels(self, dataset: Dataset, items: Sequence[Item]) -> dict[str, NDArray[Any]]:
        """What stood at the places of the views."""
        return {"label": np.concatenate([_masked(dataset, item)[1] for item in items])}

    def views_depend_on(self, dataset: Dataset) -> dict[str, Any]:
        """Tokens, length and how gladly rare words are asked about."""
        setup: MaskedSetup = dataset.setup
        own = {"masks": masks.VERSION, "rare": setup.options.rare}
        return own | {"tokenizer": setup.tokenizer.digest, "length": setup.length}

    def packages(self) -> tuple[str, ...]:
        """Who draws."""
        return ("numpy",)

    def exhibit(self, dataset: Dataset, index: int, stem: Path) -> dict[str, str]:
        """The window's text on one line, shortened, with what is hidden."""
        setup: MaskedSetup = dataset.setup
        return {"text": shown(setup.tokenizer.decode(dataset.read(index).ids.tolist(), special=True))}


def _masked(dataset: Dataset, item: Item) -> masks.Asked:
    setup: MaskedSetup = dataset.setup
    sample, view = item
    return setup.view(sample, dataset.ids[sample], dataset.seed, view)


MASKED = Masked()
