"""What a modality does for the data room: how its data are read and made into views. One such object each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from compressor import modalities
from compressor.artifact.preprocessing import Inputs, Preprocessing
from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset, Source
from compressor.progress import Progress

Item = tuple[int, int]
"""(sample, number of the view)."""


class DataKind(Protocol):
    """How data of one modality are read and varied.

    A view is a pure function of (`data.seed`, sample, view number): whoever asks, in whatever order, gets the same.
    """

    def claims(self, source: str) -> bool:
        """Whether `data.source` names data of this modality."""

    def embedded(self) -> tuple[str, ...]:
        """Names of data that come with the package."""

    def taught_by(self, config: DataConfig, teachers: Sequence[str]) -> DataConfig:
        """The configuration with what these teachers, as they were given, settle of the data before they are read.

        Raises:
            DataError: they settle it in two ways, or what they bring can't be read.
        """

    def read(self, config: DataConfig, progress: Progress) -> Source:
        """The data as a source. Raises DataError."""

    def add_unlabeled(self, dataset: Dataset, folder: Path, progress: Progress) -> Dataset:
        """The dataset with what lies in `folder` as its split `unlabeled`. Raises DataError."""

    def settled(self, dataset: Dataset) -> dict[str, Any]:
        """What the recipe's section `data` says after everything `auto` in it has been settled."""

    def prepared(self, dataset: Dataset, teacher: Preprocessing | None, progress: Progress) -> Dataset:
        """The dataset made ready for many views (decoded once, say), large enough for the teacher, too."""

    def resized(self, dataset: Dataset, size: int) -> Any:
        """`Dataset.setup` for a model that sees another size. Raises UsageError where things have none."""

    def prepared_bytes(self, dataset: Dataset, teacher: Preprocessing | None) -> int:
        """About what `prepared` would keep on disk; 0 where it keeps nothing."""

    def distinct_views(self, dataset: Dataset) -> int | None:
        """How many different views a sample has; None without end. No more are stored."""

    def view(self, dataset: Dataset, item: Item, preprocessing: Preprocessing) -> Inputs:
        """One view, without an axis for samples. May leave the global generators seeded."""

    def labels(self, dataset: Dataset, items: Sequence[Item]) -> dict[str, NDArray[Any]]:
        """`label`, (rows,), of the views; where views are mixed also `partner`, `amount` (see `Signals`)
        and `partner_sample`, what was mixed in."""

    def views_depend_on(self, dataset: Dataset) -> dict[str, Any]:
        """All that a view depends on beside the samples and `data.seed`: settings, and the version of this code.

        Part of the name of stored targets: what is left out here will be taken for the same.
        """

    def packages(self) -> tuple[str, ...]:
        """Distributions whose version may change a view."""

    def exhibit(self, dataset: Dataset, index: int, stem: Path) -> dict[str, str]:
        """A sample for the report: `image`, the name of a picture written beside `stem`, or `text`."""


def kind_of(modality: str) -> DataKind:
    """The data part of a modality."""
    found: DataKind = modalities.part(modalities.modality(modality).data)
    return found


def stacked(views: Sequence[Inputs]) -> Inputs:
    """Views of equal shape as one batch."""
    return {name: np.stack([view[name] for view in views]) for name in views[0]}
