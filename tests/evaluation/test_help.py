"""Whether a teacher helped: in worlds where it did nothing the rule says so, and where it did, too."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from compressor.evaluation.metrics import training_gain

CONTESTED = 0.25
"""The share of samples that not every model gets right; half of these are got right."""


def trained(
    rng: np.random.Generator, seeds: int, samples: int, spread: float, effect: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(seeds, samples) twice: whether models trained with and without a teacher are right.

    A seed moves a model's accuracy by `spread` (standard deviation), the teacher by `effect`. A sample is as hard for
    all, in part for one way of training, in part for one model alone.
    """
    contested = int(samples * CONTESTED)
    hard = 0.8 * rng.standard_normal(contested, dtype=np.float32)
    found = []
    for shift in (effect, 0.0):
        own = hard + 0.4 * rng.standard_normal(contested, dtype=np.float32)
        seen = own + math.sqrt(0.2) * rng.standard_normal((seeds, contested), dtype=np.float32)  # variance 1
        share = np.clip(0.5 + (shift + rng.normal(0, spread, seeds)) / CONTESTED, 0.001, 0.999)
        limit = np.array([NormalDist().inv_cdf(s) for s in share])
        right = np.ones((seeds, samples), bool)
        right[:, :contested] = seen < limit[:, None]
        found.append(right)
    return found[0], found[1]


def told(seeds: int, samples: int, spread: float, effect: float, repeats: int) -> float:
    """How often the interval leaves 0 out."""
    rng = np.random.default_rng([seeds, samples, int(1e4 * spread)])
    gains = [training_gain(*trained(rng, seeds, samples, spread, effect)) for _ in range(repeats)]
    return float(np.mean([g["low"] > 0 or g["high"] < 0 for g in gains]))


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_where_the_teacher_does_nothing_it_is_seldom_said_to_help_or_hurt(seeds: int) -> None:
    worlds = [(n, spread) for n in (300, 1000, 10_000) for spread in (0.003, 0.007, 0.02)]
    rates = [told(seeds, n, spread, 0.0, 250) for n, spread in worlds]

    def allowed(repeats: int) -> float:
        return 0.05 + 3 * math.sqrt(0.05 * 0.95 / repeats)

    assert max(rates) <= allowed(250)
    assert np.mean(rates) <= allowed(250 * len(worlds))


def test_what_helps_by_four_points_is_found_with_three_seeds() -> None:
    assert told(3, 10_000, 0.007, 0.04, 100) > 0.75
    assert told(5, 1000, 0.007, 0.04, 100) > 0.9


def test_one_seeds_interval_is_blind_to_training() -> None:
    """Why the report gives no verdict from one seed: on many samples it would find a difference where there is none."""
    assert told(1, 10_000, 0.007, 0.0, 100) > 0.25


def test_equal_gains_on_few_samples_are_no_proof() -> None:
    """Three seeds that win the same two samples have no spread at all."""
    with_teacher, without = np.ones((3, 300), bool), np.ones((3, 300), bool)
    without[:, :2] = False
    found = training_gain(with_teacher, without)
    assert found["low"] < 0 < found["mean"] == pytest.approx(2 / 300)
