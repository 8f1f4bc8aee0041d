"""Batches of texts are of like length, and an epoch is still one of the whole split in a random order."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np

from compressor.data.loaders import EpochOrder
from tests.data.text.conftest import Load, table


def test_batches_are_of_like_length_and_an_epoch_misses_no_text(tmp_path: Path, load: Load) -> None:
    rng = np.random.default_rng(0)
    rows = [
        (" ".join(["word"] * int(n)) + f" {i}", "good" if i % 2 else "bad")
        for i, n in enumerate(rng.integers(1, 60, 900))
    ]
    dataset = load(table(tmp_path / "x.csv", rows))
    assert dataset.prints is not None
    words, train = dataset.prints.words, dataset.splits["train"]
    assert words is not None
    order, plain = EpochOrder(train, 16, 7, sizes=words), EpochOrder(train, 16, 7)

    def batches(of: EpochOrder, epoch: int) -> list[list[int]]:
        of.epoch = epoch
        return [[i for i, _ in batch] for batch in of]

    def wasted(found: list[list[int]]) -> float:
        return float(np.mean([1 - words[b].mean() / words[b].max() for b in found]))

    one, other = batches(order, 0), batches(order, 1)
    assert wasted(one) < 0.1 < 0.4 < wasted(batches(plain, 0))
    for found in (one, other):
        seen = list(chain.from_iterable(found))
        assert len(seen) == len(set(seen)) == len(train) // 16 * 16
    assert one != other
    assert one == batches(order, 0)
    assert abs(np.corrcoef(range(len(one)), [words[b].mean() for b in one])[0, 1]) < 0.5, "the batches' order is random"
    order.epoch = 0
    assert order.samples(3).tolist() == one[3]
