"""Images' part in the data room: see `data/kind.py` for what each function is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compressor.artifact.images import READER, ImagePreprocessing
from compressor.artifact.preprocessing import Inputs, Preprocessing
from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset, Source
from compressor.data.images.decoded import decoded_bytes, with_decoded
from compressor.data.images.digits import read_digits
from compressor.data.images.folder import read_folder
from compressor.data.images.setup import ImageSetup
from compressor.data.images.unlabeled import add_unlabeled
from compressor.data.kind import Item
from compressor.errors import DataError, did_you_mean
from compressor.progress import Progress

SOURCES: dict[str, Callable[[DataConfig, Progress], Source]] = {"digits": read_digits}
"""Data known by name; everything else is a folder. A new one is a function and a line here."""

EXHIBIT_SIDE = 96
"""Longest side of a picture in the report, pixels."""


class Images:
    """Images in folders, and those that come with the package."""

    def claims(self, source: str) -> bool:
        """Known names and folders."""
        return source in SOURCES or Path(source).expanduser().is_dir()

    def embedded(self) -> tuple[str, ...]:
        """The digits."""
        return tuple(SOURCES)

    def taught_by(self, config: DataConfig, teachers: Sequence[str]) -> DataConfig:
        """As it is: images are read alike for all models."""
        return config

    def read(self, config: DataConfig, progress: Progress) -> Source:
        """See `read_folder`; raises DataError also for a name that is neither known nor a folder."""
        if config.options:
            raise DataError(f"data.options {config.options}: images have none (they have keys of their own in data)")
        reader = SOURCES.get(config.source)
        if reader is None:
            hint = did_you_mean(config.source, SOURCES)
            if hint and not Path(config.source).expanduser().exists():
                raise DataError(f"unknown data '{config.source}'{hint} (or give a folder)")
            reader = read_folder
        return reader(config, progress)

    def add_unlabeled(self, dataset: Dataset, folder: Path, progress: Progress) -> Dataset:
        """See `unlabeled.add_unlabeled`."""
        return add_unlabeled(dataset, folder, progress)

    def settled(self, dataset: Dataset) -> dict[str, Any]:
        """Size and augmentation; and that nothing is stored decoded, where there was no room."""
        setup: ImageSetup = dataset.setup
        stored = {"decoded": False} if setup.no_room else {}
        return {"image_size": setup.size, "augment": setup.augment} | stored

    def prepared(self, dataset: Dataset, teacher: Preprocessing | None, progress: Progress) -> Dataset:
        """With the decoded store behind its views, at the size of the larger model."""
        return with_decoded(dataset, _largest(dataset, teacher), progress)

    def prepared_bytes(self, dataset: Dataset, teacher: Preprocessing | None) -> int:
        """The decoded store's."""
        return decoded_bytes(dataset, _largest(dataset, teacher))

    def resized(self, dataset: Dataset, size: int) -> ImageSetup:
        """The same views, rendered larger or smaller."""
        setup: ImageSetup = dataset.setup
        return replace(setup, size=size)

    def distinct_views(self, dataset: Dataset) -> int | None:
        """Crops and flips without end."""
        return None

    def view(self, dataset: Dataset, item: Item, preprocessing: Preprocessing) -> Inputs:
        """`pixels`, (size, size, 3) uint8."""
        from compressor.data.images.views import render

        assert isinstance(preprocessing, ImagePreprocessing)
        return {"pixels": render(dataset, *item, preprocessing.size)}

    def labels(self, dataset: Dataset, items: Sequence[Item]) -> dict[str, NDArray[Any]]:
        """The samples' own, and where views are mixed their partners'."""
        from compressor.data.images.views import mix_of

        found: dict[str, NDArray[Any]] = {"label": dataset.labels[[i for i, _ in items]]}
        mixes = [mix for i, v in items if (mix := mix_of(dataset, i, v)) is not None]
        if mixes:
            found["partner"] = dataset.labels[[mix.partner for mix in mixes]]
            found["partner_sample"] = np.array([mix.partner for mix in mixes], dtype=np.int64)
            found["amount"] = np.array([mix.amount for mix in mixes], dtype=np.float32)
        return found

    def views_depend_on(self, dataset: Dataset) -> dict[str, Any]:
        """Augmentation, how images are resized, and what they are made from."""
        from compressor.data.images.views import VERSION

        setup: ImageSetup = dataset.setup
        return {
            "code": f"{VERSION}, reader {READER}",
            "augment": setup.augment.model_dump(mode="json"),
            "interpolation": setup.interpolation,
            "made_from": setup.stored_side or "originals",
        }

    def packages(self) -> tuple[str, ...]:
        """Who decodes, crops and colours."""
        return ("numpy", "pillow", "timm", "torch", "torchvision")

    def exhibit(self, dataset: Dataset, index: int, stem: Path) -> dict[str, str]:
        """A small picture is kept as it is (PNG); a larger one is scaled down to a JPEG of about 4 KB."""
        image: Image.Image = dataset.read(index)
        if max(image.size) <= EXHIBIT_SIDE:
            path = stem.with_suffix(".png")
            image.save(path, optimize=True)
        else:
            path = stem.with_suffix(".jpg")
            image.thumbnail((EXHIBIT_SIDE, EXHIBIT_SIDE), Image.Resampling.LANCZOS)
            image.save(path, quality=82, optimize=True)
        return {"image": path.name}


def _largest(dataset: Dataset, teacher: Preprocessing | None) -> int:
    """The larger model's input, pixels."""
    setup: ImageSetup = dataset.setup
    return max([setup.size, *([teacher.size] if isinstance(teacher, ImagePreprocessing) else [])])


IMAGES = Images()
