"""Is one model faster than another? The ratio of two latencies, its interval and a verdict. Only numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from compressor.evaluation.quantiles import student_t

Verdict = Literal["faster", "slower", "same", "undecided"]

BAND = 0.03
"""Latencies within ± this share of each other count as the same."""
PROCESSES = 3
"""Fresh processes of each side without which nothing is decided."""
ENDLESS = 1e6
"""Ratios beyond it are those of an interval without an end."""
SAMPLES = 5
"""Timed calls without which a process has no median worth comparing."""
ERROR = 0.05
"""How often, at most, a session's interval may miss the true ratio."""
LARGEST = 700.0
"""Logarithms are cut off here: e⁷⁰⁰ is still a number, and an interval that ends there is as good as open."""


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
    reference: Sequence[Sequence[float]],
    candidate: Sequence[Sequence[float]],
    *,
    paired: bool = True,
    looks: int = 1,
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
        looks: how often, at most, the session looks at its ratio to see whether it may stop (`looks`). Whoever stops
            when it looks good is wrong more often than each look says: the 5 % are shared out among them (Bonferroni),
            so that all their intervals hold together in 95 % of sessions.

    Raises:
        ValueError: no samples on one side; or `paired` with unequal numbers of processes.
    """
    if not reference or not candidate or not all(len(p) for p in (*reference, *candidate)):
        raise ValueError("a ratio needs samples on both sides")
    old, new = ([float(np.median(process)) for process in side] for side in (reference, candidate))
    found = of_processes(old, new, paired=paired, looks=looks)
    enough = min(len(p) for p in (*reference, *candidate)) >= SAMPLES
    return found if enough else replace(found, verdict="undecided")


def looks(first: int, last: int) -> tuple[int, ...]:
    """After how many processes a session looks at its ratios: at the first, halfway, and at the last.

    Few, because each look costs confidence; one alone where nothing can be decided or added.
    """
    if first < PROCESSES or last <= first:
        return (first,)
    return tuple(sorted({first, (first + last) // 2, last}))


def of_processes(
    reference: Sequence[float], candidate: Sequence[float], *, paired: bool = False, looks: int = 1
) -> Ratio:
    """The same for one figure per process, such as its peak memory; `slower` then means more of it.

    Raises:
        ValueError: `paired` with unequal numbers of processes.
    """
    old, new = np.log(reference), np.log(candidate)
    if paired and len(old) != len(new):
        raise ValueError(f"paired samples need as many processes on both sides, not {len(old)} and {len(new)}")
    middle = float(np.mean(new) - np.mean(old))
    sure = 1 - ERROR / looks
    half = _half_width(new - old, sure) if paired else _welch(old, new, sure)
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


def _half_width(values: np.ndarray, confidence: float = 1 - ERROR) -> float:
    n = len(values)
    return student_t(n - 1, confidence) * float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf


def _welch(old: np.ndarray, new: np.ndarray, confidence: float) -> float:
    if min(len(old), len(new)) < 2:
        return math.inf
    parts = [side.var(ddof=1) / len(side) for side in (old, new)]
    total = float(sum(parts))
    if total == 0:
        return 0.0
    df = total**2 / sum(float(p) ** 2 / (len(side) - 1) for p, side in zip(parts, (old, new), strict=True))
    return student_t(df, confidence) * math.sqrt(total)
