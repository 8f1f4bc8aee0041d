"""Which epoch is the best one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from compressor.distillation.history import History


def record(top1: float, nll: float) -> dict[str, float]:
    return {"validation_top1": top1, "validation_nll": nll}


@pytest.mark.parametrize(
    ("surest", "seen", "best"),
    [
        (False, [(0.5, 1.0), (0.6, 3.0), (0.6, 2.0), (0.6, 2.0)], 2),
        (True, [(0.5, 1.1), (0.6, 3.0), (0.4, 1.0), (0.7, 1.0)], 2),
        (True, [(0.5, math.nan), (0.4, 3.0), (0.4, 2.0)], 2),
        (False, [(0.5, math.nan), (0.5, 3.0), (0.4, 2.0)], 1),
    ],
)
def test_the_first_of_the_best_epochs_is_the_best(
    tmp_path: Path, surest: bool, seen: list[tuple[float, float]], best: int
) -> None:
    """By how often it is right, then by its likelihood; of tokens by that alone. What is no number never is."""
    history = History(tmp_path / "metrics.jsonl", surest=surest)
    for top1, nll in seen:
        history.add(record(top1, nll))
    assert history.best is history.records[best]
