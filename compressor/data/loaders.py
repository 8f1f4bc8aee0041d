"""Batches of views for training, in an order that depends on (seed, epoch) alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from compressor.artifact.preprocessing import Preprocessing
from compressor.data.dataset import Dataset
from compressor.data.kind import Item, kind_of
from compressor.data.views import tensors, views_of
from compressor.interrupt import left_to_the_parent
from compressor.seeds import derive_seed

Batch = dict[str, Any]
"""`sample` and `number` (of the view), (batch,) int64; `label`, (rows,) int64; where views are mixed also `partner`, the
other label, and `amount`, the own label's share; `views`: what `views_of` gives."""


POOL = 32
"""Batches of texts that are filled together, by length."""


class EpochOrder(Sampler[list[Item]]):
    """Shuffled batches of (sample, view) of `epoch`, from batch `first` on; view = epoch, modulo `views`.

    The last, smaller batch is dropped unless it is the only one: batch statistics of a few samples hurt. With `sizes`,
    (samples of the dataset,), a batch has samples of like size, because all of it is padded to the largest: of each
    `POOL` batches' samples the smallest make up one batch, and so on; the batches' order stays random.
    """

    def __init__(
        self,
        indices: NDArray[np.int64],
        batch_size: int,
        seed: int,
        *,
        views: int | None = None,
        sizes: NDArray[np.int32] | None = None,
    ) -> None:
        self.indices = indices
        self.batch_size = min(batch_size, max(1, len(indices)))
        self.seed = seed
        self.views = views
        self.sizes = sizes
        self.epoch = 0
        self.first = 0

    def __len__(self) -> int:
        return len(self.indices) // self.batch_size

    def __iter__(self) -> Iterator[list[Item]]:
        order = self._shuffled()
        view = self.epoch if self.views is None else self.epoch % self.views
        for b in range(self.first, len(self)):
            yield [(int(i), view) for i in order[b * self.batch_size : (b + 1) * self.batch_size]]

    def samples(self, batch: int) -> NDArray[np.int64]:
        """Indices of the samples in a batch of the epoch that was set last."""
        return self._shuffled()[batch * self.batch_size : (batch + 1) * self.batch_size]

    def _shuffled(self) -> NDArray[np.int64]:
        rng = np.random.default_rng(derive_seed(self.seed, "order", self.epoch))
        order = rng.permutation(self.indices)
        if self.sizes is None:
            return order
        whole = len(self) * self.batch_size
        batches: list[NDArray[np.int64]] = []
        for start in range(0, whole, POOL * self.batch_size):
            pool = order[start : min(start + POOL * self.batch_size, whole)]
            pool = pool[np.argsort(self.sizes[pool], kind="stable")]
            batches += np.split(pool, len(pool) // self.batch_size)
        return np.concatenate([*(batches[i] for i in rng.permutation(len(batches))), order[whole:]])


class _Views(TorchDataset[Any]):
    """Fetches whole batches (`__getitems__`), so that the generators are saved once per batch."""

    def __init__(self, dataset: Dataset, preprocessings: Sequence[Preprocessing]) -> None:
        self.dataset = dataset
        self.preprocessings = preprocessings

    def __getitems__(self, items: list[Item]) -> Batch:
        labels = kind_of(self.dataset.modality).labels(self.dataset, items)
        return {
            "sample": torch.tensor([i for i, _ in items]),
            "number": torch.tensor([v for _, v in items]),
            "views": views_of(self.dataset, items, self.preprocessings),
        } | tensors(labels)


def training_loader(
    dataset: Dataset,
    *,
    preprocessings: Sequence[Preprocessing],
    batch_size: int,
    seed: int,
    views: int | None = None,
    pin_memory: bool = False,
) -> tuple[DataLoader[Any], EpochOrder]:
    """A loader over the training split and the order that says which epoch it serves."""
    sizes = dataset.prints.words if dataset.prints is not None else None
    order = EpochOrder(dataset.splits["train"], batch_size, seed, views=views, sizes=sizes)
    workers = worker_count(dataset)
    loader: DataLoader[Any] = DataLoader(
        _Views(dataset, preprocessings),
        batch_sampler=order,
        collate_fn=_as_is,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin_memory,
        # Its own: seeds for workers drawn from the global generator, once or every epoch, would shift what a model draws.
        generator=torch.Generator(),
        worker_init_fn=_quiet if workers else None,
        # A dataset reads through closures, which only a forked process inherits (Python 3.14 would not fork).
        multiprocessing_context="fork" if workers else None,
    )
    return loader, order


def worker_count(dataset: Dataset) -> int:
    """How many loader processes; on two cores they would only fight the training threads. None but on Linux."""
    if sys.platform != "linux":
        return 0  # forking is unsafe on macOS and unknown on Windows; a recipe from elsewhere trains there all the same
    if dataset.config.workers != "auto":
        return dataset.config.workers
    cores = len(os.sched_getaffinity(0))
    return 0 if cores <= 2 else min(8, cores - 2)


def _quiet(_: int) -> None:
    left_to_the_parent()


def _as_is(batch: Any) -> Any:
    return batch
