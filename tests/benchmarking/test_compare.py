"""The ratio of two latencies: verdicts on recorded samples, and an interval that covers what it says."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compressor.benchmarking.compare import Ratio, compare, decide, interval, looks, of_processes, shown
from compressor.evaluation.quantiles import student_t

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded.json").read_text())
"""ms per call: two recordings of one file and one of it with 10 % more nodes, seven processes each, interleaved."""


def test_a_ten_percent_slower_graph_is_slower_and_turned_around_faster() -> None:
    ratio = compare(RECORDED["first"], RECORDED["heavier"])
    assert ratio.verdict == "slower"
    assert 1.05 < ratio.value < 1.20
    back = compare(RECORDED["heavier"], RECORDED["first"])
    assert back.verdict == "faster"
    assert back.value == pytest.approx(1 / ratio.value)


def test_the_same_file_is_the_same() -> None:
    ratio = compare(RECORDED["first"], RECORDED["second"])
    assert ratio.verdict == "same"
    assert ratio.low < 1 < ratio.high


@pytest.mark.parametrize(("processes", "samples"), [(2, 40), (1, 40), (7, 4)])
def test_too_few_samples_decide_nothing(processes: int, samples: int) -> None:
    def few(name: str) -> list[list[float]]:
        return [process[:samples] for process in RECORDED[name][:processes]]

    assert compare(few("first"), few("heavier")).verdict == "undecided"


def test_one_process_has_no_interval() -> None:
    ratio = compare([[1.0] * 50], [[2.0] * 50])
    assert (ratio.value, ratio.low, ratio.verdict) == (2.0, 0.0, "undecided")
    assert interval([[1.0, 2.0]]) is None


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (0.94, 0.90, 0.98, "faster"),
        (0.975, 0.96, 0.99, "undecided"),  # faster, and perhaps by less than counts
        (0.98, 0.975, 0.99, "same"),
        (0.95, 0.88, 1.01, "undecided"),
        (1.00, 0.97, 1.03, "same"),
        (1.06, 1.01, 1.12, "slower"),
        (1.00, 0.90, 1.10, "undecided"),
    ],
)
def test_the_verdicts_bounds(value: float, low: float, high: float, verdict: str) -> None:
    assert decide(value, low, high) == verdict


def sessions(rng: np.random.Generator, processes: int, ratio: float, spread: float) -> tuple[Any, Any]:
    """Samples of two files: each process is off by `spread`, each round by a drift both share."""
    drift = rng.normal(0, 0.05, (processes, 1))
    return tuple(
        np.exp(np.log(base) + drift + rng.normal(0, spread, (processes, 1)) + rng.normal(0, 0.02, (processes, 30)))
        for base in (5.0, 5.0 * ratio)
    )


def coverage(processes: int, ratio: float, spread: float, paired: bool = True) -> float:
    rng = np.random.default_rng(processes)
    inside = []
    for _ in range(600):
        old, new = sessions(rng, processes, ratio, spread)
        found = compare(old.tolist(), new.tolist(), paired=paired)
        inside.append(found.low <= ratio <= found.high)
    return float(np.mean(inside))


@pytest.mark.parametrize("processes", [3, 5, 7])
@pytest.mark.parametrize("spread", [0.02, 0.05])
def test_the_interval_covers_what_it_says(processes: int, spread: float) -> None:
    assert 0.93 <= coverage(processes, 1.07, spread) <= 0.97


def test_unpaired_sessions_are_covered_too() -> None:
    assert coverage(5, 0.9, 0.03, paired=False) >= 0.93


def test_a_percentile_bootstrap_would_promise_too_much() -> None:
    """Why it is not used: it calls 95 % what holds in far fewer cases."""
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(400):
        old, new = (np.log(np.median(side, axis=1)) for side in sessions(rng, 3, 1.0, 0.03))
        drawn = (new - old)[rng.integers(0, 3, (400, 3))].mean(axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        inside.append(low <= 0 <= high)
    assert np.mean(inside) < 0.85


def sessions_end(spread: float, ratio: float, schedule: tuple[int, ...], repeats: int = 500) -> list[str]:
    """The verdicts of sessions that stop at the first look that decides: processes off by `spread`, calls by 3 %."""
    rng = np.random.default_rng(int(1000 * spread))
    shape = (repeats, schedule[-1])
    # The median of n normal samples is normal, too, with √(π / 2n) of their spread: 130 calls in a process.
    sides = [rng.normal(0, np.hypot(spread, 0.03 * math.sqrt(math.pi / 260)), shape) for _ in range(2)]
    found = []
    for old, new in zip(np.exp(sides[0]), ratio * np.exp(sides[1]), strict=True):
        looks = (of_processes(old[:k], new[:k], paired=True, looks=len(schedule)) for k in schedule)
        found.append(next((r.verdict for r in looks if r.verdict != "undecided"), "undecided"))
    return found


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.05, 0.1])
def test_stopping_when_it_is_decided_seldom_decides_wrongly(spread: float) -> None:
    """Equal files must not become unequal because the session stops when it likes what it sees."""
    schedule = looks(5, 15)
    verdicts = sessions_end(spread, 1.0, schedule)
    assert np.mean([v in ("faster", "slower") for v in verdicts]) <= 0.05
    if spread <= 0.02:
        assert np.mean([v == "same" for v in verdicts]) > 0.7
    assert np.mean([v == "slower" for v in sessions_end(spread, 1.3, schedule, 100)]) > 0.95


def test_looking_after_every_round_at_95_percent_would_decide_wrongly() -> None:
    """Why it looks three times, and more strictly: this is what an unadjusted interval does."""
    rng = np.random.default_rng(0)
    wrong = []
    for old, new in np.exp(rng.normal(0, 0.05, (300, 2, 15))):
        every = (of_processes(old[:k], new[:k], paired=True).verdict for k in range(5, 16))
        wrong.append(next((v for v in every if v != "undecided"), "undecided") in ("faster", "slower"))
    assert np.mean(wrong) > 0.08


def test_it_looks_first_halfway_and_last() -> None:
    assert looks(5, 15) == (5, 10, 15)
    assert looks(5, 6) == (5, 6)
    assert looks(5, 5) == looks(5, 3) == (5,)
    assert looks(2, 15) == (2,)  # which decides nothing


def test_the_quantiles_are_students() -> None:
    stats = pytest.importorskip("scipy.stats")
    for df in (1, 2, 3.5, 7, 12.2, 30, 31, 80, 999):
        for confidence in (0.95, 0.95 + 0.1 / 3, 0.99):
            assert student_t(df, confidence) == pytest.approx(stats.t.ppf((1 + confidence) / 2, df), rel=1e-4)


def test_unequal_rounds_and_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="not 2 and 1"):
        compare([[1.0], [1.0]], [[1.0]])
    with pytest.raises(ValueError, match="needs samples"):
        compare([[]], [[1.0]])


def test_the_half_width_is_a_share_of_the_ratio() -> None:
    assert Ratio(2.0, 1.9, 2.1, "slower").half_width == pytest.approx(0.05)
    low, high = interval([[1.0] * 9, [1.1] * 9, [1.2] * 9]) or (math.nan, math.nan)
    assert low < 1.1 < high


def test_a_single_process_shows_no_interval() -> None:
    alone = compare([[1.0] * 10], [[2.0] * 10])
    assert alone.verdict == "undecided"
    assert shown(alone.low, alone.high) == "no interval from one process"
    assert shown(0.9, 1.104) == "0.90 … 1.10"
