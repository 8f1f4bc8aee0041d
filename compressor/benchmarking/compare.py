"""Is one model faster than another? The ratio of two latencies, its interval and a verdict. Only numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Verdict = Literal["faster", "slower", "same", "undecided"]

BAND = 0.03
"""Latencies within ± this share of each other count as the same."""
PROCESSES = 3
"""Fresh processes of each side without which nothing is decided."""
ENDLESS = 1e6
"""Ratios beyond it are those of an interval without an end."""
SAMPLES = 5
"""Timed calls without which a process has no median worth comparing."""

NORMAL = 1.96
"""The 97.5 % quantile of the normal distribution."""
LARGEST = 700.0
"""Logarithms are cut off here: e⁷⁰⁰ is still a number, and an interval that ends there is as good as open."""

# Student's t, 97.5 %, for 1 … 30 degrees of freedom; beyond that 1.96 + 2.4 / df is right to 0.001.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
      2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
      2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)  # fmt: skip


@dataclass(frozen=True)
class Ratio:
    """A candidate's latency divided by a reference's, with its 95 % interval; below 1 is faster."""

    value: float
    low: float
    high: float
    verdict: Verdict

    @property
    def half_width(self) -> float:
        """Half the interval, as a share of the ratio."""
        return (self.high - self.low) / 2 / self.value


def compare(
    reference: Sequence[Sequence[float]], candidate: Sequence[Sequence[float]], *, paired: bool = True
) -> Ratio:
    """The candidate's latency over the reference's, and what can be said of it.

    What differs between two processes of one file (memory layout, clocks) is far larger than what the samples
    inside one process show, so a process counts once, by its median. `value` is the geometric mean of the
    rounds' ratios, the interval Student's t on their logarithms. A percentile bootstrap over 3 to 7 processes
    covers 74 to 87 % where it says 95; a test simulates both.

    Verdict: `same`, when the whole interval lies within ± 3 %; `faster`, when all of it lies below 1 and the ratio
    itself below 0.97 (so [0.90, 0.98] is faster); `slower`, the same on the other side; else, and with fewer
    than 3 processes or 5 samples in one of them, `undecided`.

    Args:
        reference: latencies in ms, one list per fresh process.
        candidate: the same; its process i ran next to the reference's process i.
        paired: False for samples of two separate sessions (Welch's interval); their numbers of processes may differ.

    Raises:
        ValueError: no samples on one side; or `paired` with unequal numbers of processes.
    """
    if not reference or not candidate or not all(len(p) for p in (*reference, *candidate)):
        raise ValueError("a ratio needs samples on both sides")
    old, new = ([float(np.median(process)) for process in side] for side in (reference, candidate))
    found = of_processes(old, new, paired=paired)
    enough = min(len(p) for p in (*reference, *candidate)) >= SAMPLES
    return found if enough else replace(found, verdict="undecided")


def of_processes(reference: Sequence[float], candidate: Sequence[float], *, paired: bool = False) -> Ratio:
    """The same for one figure per process, such as its peak memory; `slower` then means more of it.

    Raises:
        ValueError: `paired` with unequal numbers of processes.
    """
    old, new = np.log(reference), np.log(candidate)
    if paired and len(old) != len(new):
        raise ValueError(f"paired samples need as many processes on both sides, not {len(old)} and {len(new)}")
    middle = float(np.mean(new) - np.mean(old))
    half = _half_width(new - old) if paired else _welch(old, new)
    value, low, high = math.exp(middle), math.exp(middle - half), math.exp(min(middle + half, LARGEST))
    enough = min(len(old), len(new)) >= PROCESSES
    return Ratio(value, low, high, decide(value, low, high) if enough else "undecided")


def decide(value: float, low: float, high: float) -> Verdict:
    """The verdict on a ratio and its interval; see `compare`."""
    if low >= 1 - BAND and high <= 1 + BAND:
        return "same"
    if high < 1 and value < 1 - BAND:
        return "faster"
    if low > 1 and value > 1 + BAND:
        return "slower"
    return "undecided"


def shown(low: float, high: float, between: str = " … ") -> str:
    """An interval of ratios for a person; a single process tells none."""
    return "no interval from one process" if high > ENDLESS else f"{low:.2f}{between}{high:.2f}"


def interval(processes: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """The 95 % interval over processes of a latency's median, ms; None for a single process."""
    if len(processes) < 2:
        return None
    logs = np.log([np.median(process) for process in processes])
    half = _half_width(logs)
    return math.exp(float(logs.mean()) - half), math.exp(min(float(logs.mean()) + half, LARGEST))


def student_t(df: float) -> float:
    """The 97.5 % quantile of Student's t; between whole degrees of freedom interpolated in 1 / df."""
    if df >= len(_T):
        return NORMAL + 2.4 / df
    inverse = [1 / k for k in range(1, len(_T) + 1)]
    return float(np.interp(1 / max(df, 1.0), inverse[::-1], _T[::-1]))


def _half_width(values: np.ndarray) -> float:
    n = len(values)
    return student_t(n - 1) * float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf


def _welch(old: np.ndarray, new: np.ndarray) -> float:
    if min(len(old), len(new)) < 2:
        return math.inf
    parts = [side.var(ddof=1) / len(side) for side in (old, new)]
    total = float(sum(parts))
    if total == 0:
        return 0.0
    df = total**2 / sum(float(p) ** 2 / (len(side) - 1) for p, side in zip(parts, (old, new), strict=True))
    return student_t(df) * math.sqrt(total)
