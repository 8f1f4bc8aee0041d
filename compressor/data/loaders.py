"""Batches of views for training, in an order that depends on (seed, epoch) alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from compressor.data.dataset import Dataset
from compressor.data.views import generators_restored, mix_of, render
from compressor.seeds import derive_seed

Batch = dict[str, torch.Tensor]
"""`sample`, `number` (of the view) and `label`, (batch,) int64 each; `view<size>` (batch, 3, size, size) uint8;
where views are mixed also `partner`, the other label, and `amount`, the own label's share."""


class EpochOrder(Sampler[list[tuple[int, int]]]):
    """Shuffled batches of (sample, view) for the epoch that was set last; view = epoch, modulo `views`.

    The last, smaller batch is dropped unless it is the only one: batch statistics of a few samples hurt.
    With several processes, each takes every `world`-th batch.
    """

    def __init__(
        self,
        indices: NDArray[np.int64],
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        world: int = 1,
        views: int | None = None,
    ) -> None:
        self.indices = indices
        self.batch_size = min(batch_size, max(1, len(indices) // world))
        self.seed = seed
        self.rank = rank
        self.world = world
        self.views = views
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.indices) // self.batch_size // self.world

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng(derive_seed(self.seed, "order", self.epoch)).permutation(self.indices)
        view = self.epoch if self.views is None else self.epoch % self.views
        for b in range(self.rank, len(self) * self.world, self.world):
            yield [(int(i), view) for i in order[b * self.batch_size : (b + 1) * self.batch_size]]


class _Views(TorchDataset[Any]):
    """Fetches whole batches (`__getitems__`), so that the generators are saved once per batch."""

    def __init__(self, dataset: Dataset, sizes: tuple[int, ...]) -> None:
        self.dataset = dataset
        self.sizes = sizes

    def __getitems__(self, items: list[tuple[int, int]]) -> Batch:
        with generators_restored():
            views = {
                f"view{size}": np.stack([render(self.dataset, i, v, size) for i, v in items]) for size in self.sizes
            }
        samples = np.array([i for i, _ in items], dtype=np.int64)
        batch = {
            "sample": torch.from_numpy(samples),
            "number": torch.tensor([v for _, v in items]),
            "label": torch.from_numpy(self.dataset.labels[samples]),
        }
        mixes = [mix_of(self.dataset, i, v) for i, v in items]
        if any(mixes):
            partners = np.array([mix.partner for mix in mixes if mix])
            batch["partner"] = torch.from_numpy(self.dataset.labels[partners])
            batch["amount"] = torch.tensor([mix.amount for mix in mixes if mix])
        return batch | {name: torch.from_numpy(value) for name, value in views.items()}


def training_loader(
    dataset: Dataset,
    *,
    sizes: tuple[int, ...],
    batch_size: int,
    seed: int,
    rank: int = 0,
    world: int = 1,
    views: int | None = None,
    pin_memory: bool = False,
) -> tuple[DataLoader[Any], EpochOrder]:
    """A loader over the training split and the order that says which epoch it serves."""
    order = EpochOrder(dataset.splits["train"], batch_size, seed, rank=rank, world=world, views=views)
    workers = worker_count(dataset)
    loader: DataLoader[Any] = DataLoader(
        _Views(dataset, sizes),
        batch_sampler=order,
        collate_fn=_as_is,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin_memory,
        # A dataset reads through closures, which only a forked process inherits (Python 3.14 would not fork).
        multiprocessing_context="fork" if workers else None,
    )
    return loader, order


def worker_count(dataset: Dataset) -> int:
    """How many loader processes; on two cores they would only fight the training threads."""
    if dataset.config.workers != "auto":
        return dataset.config.workers
    if sys.platform != "linux":
        return 0  # forking is unsafe on macOS and unknown on Windows
    cores = len(os.sched_getaffinity(0))
    return 0 if cores <= 2 else min(8, cores - 2)


def _as_is(batch: Any) -> Any:
    return batch
