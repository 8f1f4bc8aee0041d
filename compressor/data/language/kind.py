"""Running text's part in the data room: see `data/kind.py` for what each function is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.artifact.preprocessing import Inputs, Preprocessing
from compressor.artifact.text.window import IDS
from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset, Source
from compressor.data.kind import Item
from compressor.data.language import tokens
from compressor.data.language.read import read_language
from compressor.data.language.setup import LanguageSetup, shift_of
from compressor.errors import DataError, UsageError
from compressor.progress import Progress
from compressor.text import line

VERSION = 1
"""Counted up when views that exist would change."""
EXHIBIT = 300
"""Characters of a window in the report."""
HUB = "hf-hub:"


class Language:
    """Windows of running text, whose rows say what comes next."""

    def claims(self, source: str) -> bool:
        """Nothing: `data.task` asks for it."""
        return False

    def embedded(self) -> tuple[str, ...]:
        """None."""
        return ()

    def taught_by(self, config: DataConfig, teachers: Sequence[str]) -> DataConfig:
        """With the tokenizer of the first teacher that has one, and windows that it can read, unless these are given."""
        if not {"tokenizer", "length"} - {key for key, value in config.options.items() if value is not None}:
            return config
        hub = next((name for name in teachers if name.startswith(HUB)), None)
        if hub is not None and config.options.get("tokenizer") is None:
            raise DataError(
                f"teacher '{hub}' brings tokens that the corpus is cut by, before anything is fetched: fetch it, and give "
                "the folder as --teacher, or one with its tokenizer as --set data.options.tokenizer=FOLDER"
            )
        place = next((found for name in teachers if (found := tokens.brings(name)) is not None), None)
        if place is None:
            return config
        settled = {"tokenizer": str(place), "length": tokens.length_for(place)}
        own = {key: value for key, value in config.options.items() if value is not None}
        return config.model_copy(update={"options": settled | own})

    def read(self, config: DataConfig, progress: Progress) -> Source:
        """See `read_language`."""
        return read_language(config, progress)

    def add_unlabeled(self, dataset: Dataset, folder: Path, progress: Progress) -> Dataset:
        """Running text has no labels to lack."""
        raise DataError("data.unlabeled (--unlabeled): running text has no labels; add it to the training texts")

    def settled(self, dataset: Dataset) -> dict[str, Any]:
        """The options, with the place of the tokenizer where one is given."""
        setup: LanguageSetup = dataset.setup
        return {"options": setup.options.model_dump()}

    def prepared(self, dataset: Dataset, teacher: Preprocessing | None, progress: Progress) -> Dataset:
        """As it is: tokens are in memory."""
        return dataset

    def prepared_bytes(self, dataset: Dataset, teacher: Preprocessing | None) -> int:
        """Nothing on disk."""
        return 0

    def resized(self, dataset: Dataset, size: int) -> LanguageSetup:
        """A text has no size."""
        raise UsageError("teacher.image_size: a text has no size in pixels; data.options.length is that of its windows")

    def distinct_views(self, dataset: Dataset) -> int | None:
        """Windows begin at ever other tokens."""
        return None

    def view(self, dataset: Dataset, item: Item, preprocessing: Preprocessing) -> Inputs:
        """`input_ids`, (length,) int32: the window, some tokens later."""
        return {IDS: _window(dataset, item)[:-1]}

    def labels(self, dataset: Dataset, items: Sequence[Item]) -> dict[str, NDArray[Any]]:
        """The token behind each one of the views."""
        return {"label": np.concatenate([_window(dataset, item)[1:] for item in items]).astype(np.int64)}

    def views_depend_on(self, dataset: Dataset) -> dict[str, Any]:
        """Tokens and length."""
        setup: LanguageSetup = dataset.setup
        return {"code": VERSION, "tokenizer": setup.tokenizer.digest, "length": setup.length}

    def packages(self) -> tuple[str, ...]:
        """None that draws: shifts come of a hash."""
        return ("numpy",)

    def exhibit(self, dataset: Dataset, index: int, stem: Path) -> dict[str, str]:
        """The window's text on one line, shortened."""
        setup: LanguageSetup = dataset.setup
        return {"text": shown(setup.tokenizer.decode(dataset.read(index).tolist()))}


def shown(text: str) -> str:
    """On one line, shortened."""
    flat = " ".join(text.split())
    return line(flat if len(flat) <= EXHIBIT else f"{flat[: EXHIBIT - 1]}…")


def _window(dataset: Dataset, item: Item) -> NDArray[np.int32]:
    setup: LanguageSetup = dataset.setup
    sample, view = item
    return setup.window(sample, shift_of(dataset.seed, view, setup.length))


LANGUAGE = Language()
