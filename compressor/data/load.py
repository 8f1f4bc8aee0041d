"""From what a recipe says to a dataset. A new kind of data is one function and one line in `SOURCES`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset, Source, build
from compressor.data.digits import read_digits
from compressor.data.folder import read_folder
from compressor.data.unlabeled import add_unlabeled
from compressor.errors import DataError, nearest
from compressor.progress import Progress, Silent

SOURCES: dict[str, Callable[[DataConfig, Progress], Source]] = {"digits": read_digits}


def load_dataset(config: DataConfig, progress: Progress | None = None) -> Dataset:
    """The dataset that `config` describes.

    Raises:
        DataError: see `read_folder` and `add_unlabeled`; or the source is neither a known name nor a folder.
    """
    progress = progress or Silent()
    reader = SOURCES.get(config.source)
    if reader is None:
        close = nearest(config.source, SOURCES)
        if close and not Path(config.source).expanduser().exists():
            raise DataError(f"unknown data '{config.source}'; did you mean '{close[0]}'? (or give a folder)")
        reader = read_folder
    dataset = build(reader(config, progress), config)
    return dataset if config.unlabeled is None else add_unlabeled(dataset, Path(config.unlabeled), progress)
