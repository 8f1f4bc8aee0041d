"""Batches of views, of any modality, with the process's random generators left as they were."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from compressor.artifact.preprocessing import Inputs, Preprocessing
from compressor.data.dataset import Dataset
from compressor.data.kind import Item, kind_of, stacked


@contextmanager
def generators_restored() -> Iterator[None]:
    """Leaves the global generators as they were."""
    states = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.random.set_rng_state(states[2])


def views_of(
    dataset: Dataset, items: Sequence[Item], preprocessings: Iterable[Preprocessing]
) -> dict[str, dict[str, torch.Tensor]]:
    """`view_key` → the items' views, encoded; models that want the same key share them."""
    kind = kind_of(dataset.modality)
    wanted = {preprocessing.view_key: preprocessing for preprocessing in preprocessings}
    with generators_restored():
        found = {key: stacked([kind.view(dataset, item, wanted[key]) for item in items]) for key in sorted(wanted)}
    return {key: tensors(views) for key, views in found.items()}


def tensors(inputs: Inputs) -> dict[str, torch.Tensor]:
    """Encoded things for torch, without a copy."""
    return {name: torch.from_numpy(array) for name, array in inputs.items()}
