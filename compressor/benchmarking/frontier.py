"""What fits a budget, what is on the frontier of speed and expected accuracy, and what comes nearest. Pure rules; no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from compressor.benchmarking.students import Candidate, Limits, StudentFile

APART = 1.3
"""How far a quick look of one process must be beyond something to be believed."""
SLACK = 0.01
"""A prior that is better by less than this is not better: another task orders close models otherwise."""
LEAST_BYTES = 0.9
"""Of a byte count by parameters alone: normalisation is merged into weights, all else comes on top."""
BYTES = {"fp32": 4.0, "int8": 1.0}
"""Bytes of a parameter."""


def smallest(params: int, precision: str) -> float:
    """Bytes below which no file with so many parameters can be."""
    return LEAST_BYTES * BYTES[precision] * params


def excesses(file: StudentFile, limits: Limits) -> dict[str, float]:
    """Of each limit that there is a figure for, the figure as a share of it: up to 1 keeps to it."""
    return {name: figure / limit for name, (figure, limit) in _limited(file, limits).items() if figure is not None}


def unmeasured(file: StudentFile, limits: Limits) -> list[str]:
    """The limits that there is no figure for: of memory where a system tells none."""
    return [name for name, (figure, _) in _limited(file, limits).items() if figure is None]


def _limited(file: StudentFile, limits: Limits) -> dict[str, tuple[float | None, float]]:
    figures = {
        "latency": (file.latency_ms, limits.max_latency_ms),
        "size": (file.bytes / 1e6, limits.max_size_mb),
        "memory": (file.peak_rss_mb, limits.max_memory_mb),
    }
    return {name: (figure, limit) for name, (figure, limit) in figures.items() if limit is not None}


def excess(file: StudentFile, limits: Limits) -> float:
    """The worst of them; 0 without limits."""
    return max(excesses(file, limits).values(), default=0.0)


def keeps(file: StudentFile, limits: Limits) -> bool:
    """Whether it keeps to all limits, as far as was measured: nothing keeps to one that there is no figure for."""
    return excess(file, limits) <= 1 and not unmeasured(file, limits)


def fitting(candidate: Candidate, limits: Limits) -> list[StudentFile]:
    """Its files of an allowed precision that keep to all limits, the fastest first."""
    kept = [f for f in candidate.files if f.precision in limits.precisions and keeps(f, limits)]
    return sorted(kept, key=lambda file: file.p50_ms if file.p50_ms is not None else math.inf)


def hopeless(file: StudentFile, limits: Limits) -> bool:
    """Whether a quick look is enough: over a limit by more than one process can be wrong (of the size: at all)."""
    found = excesses(file, limits)
    return found.pop("size", 0.0) > 1 or any(share > APART for share in found.values())


def dominated(candidate: Candidate, others: Sequence[Candidate], limits: Limits, *, apart: float) -> str | None:
    """Who is faster by more than `apart` with a better prior, if anybody is; one without a prior is not dominated."""
    own = fitting(candidate, limits)
    if not own or own[0].p50_ms is None or candidate.published is None:
        return None
    for other in others:
        best = next((f.p50_ms for f in fitting(other, limits) if f.p50_ms is not None), None)
        if best is None or other.published is None or other.name == candidate.name:
            continue
        if best * apart < own[0].p50_ms and other.published >= candidate.published + SLACK:
            return other.name
    return None


def expected(candidates: Sequence[Candidate], known: Sequence[tuple[int, float]]) -> list[Candidate]:
    """With what is expected of each: its published accuracy, else that of published models of as many MACs.

    Args:
        candidates: with their MACs.
        known: (MACs, published top-1) of others.
    """
    points = sorted({*known, *((c.macs, c.published) for c in candidates if c.macs and c.published is not None)})
    found = []
    for one in candidates:
        value = one.published
        if value is None and one.macs and points:
            value = float(np.interp(math.log(one.macs), [math.log(m) for m, _ in points], [top1 for _, top1 in points]))
        found.append(one.model_copy(update={"expected": value}))
    return found


def judged(candidates: Sequence[Candidate], limits: Limits) -> list[Candidate]:
    """Every measured candidate with its standing and why; the frontier first, by what is expected of it."""
    found = [_judged(one, candidates, limits) for one in candidates]
    order = ("frontier", "fits", "over", "too large", "failed")

    def place(one: Candidate) -> tuple[int, float, str]:
        return order.index(one.standing), -(one.expected or 0.0), one.name

    return sorted(found, key=place)


def _judged(one: Candidate, all_: Sequence[Candidate], limits: Limits) -> Candidate:
    if one.standing in ("too large", "failed"):
        return one
    files = fitting(one, limits)
    if not files:
        nearest = min(one.files, key=lambda f: excess(f, limits), default=None)
        why = over(nearest, limits) if nearest else "no file of an allowed precision"
        return one.model_copy(update={"standing": "over", "why": why})
    better = dominated(one, all_, limits, apart=1.0)
    if better:
        return one.model_copy(update={"standing": "fits", "why": f"{better} is faster and has the better prior"})
    names = " and ".join(file.precision for file in files)
    return one.model_copy(update={"standing": "frontier", "why": f"{names} fit{'s' if len(files) == 1 else ''}"})


def over(file: StudentFile, limits: Limits) -> str:
    """What a file that is over a limit comes to, figure by figure: `int8: 7.10 ms, 1.42 times 5 ms`."""
    said = [
        f"{_figure(name, file)}, {times(share)} {_limit(name, limits)}"
        for name, share in excesses(file, limits).items()
        if share > 1
    ]
    said += [f"its {name} can't be measured here" for name in unmeasured(file, limits)]
    return f"{file.precision}: " + "; ".join(said)


def times(share: float) -> str:
    """`1.42 times`; of what is over by less than that shows, as many digits as tell it from 1."""
    digits = next((digits for digits in range(2, 9) if round(share, digits) > 1), 9)
    return f"{share:.{digits}f} times"


def within(file: StudentFile, limits: Limits) -> str:
    """What a file that keeps to all limits comes to: `fp32: 3.10 ms of 5 ms`."""
    shown = [f"{_figure(name, file)} of {_limit(name, limits)}" for name in excesses(file, limits)]
    return f"{file.precision}: " + (", ".join(shown) or "no limit to keep to")


def nearest(candidates: Sequence[Candidate], limits: Limits) -> str:
    """Of candidates that all are over the budget, the one that is least so, and by how much."""
    files = [(one, f) for one in candidates for f in one.files if f.precision in limits.precisions]
    files += [
        (one, StudentFile(precision=p, bytes=math.ceil(smallest(one.params, p))))
        for one in candidates if one.standing == "too large" and one.params and not one.files for p in limits.precisions
    ]  # fmt: skip
    if not files:
        return "none of them could be exported"
    one, file = min(files, key=lambda pair: excess(pair[1], limits))
    if file.p50_ms is None and limits.max_size_mb is not None:
        least = f"at least {file.bytes / 1e6:.2f} MB by its {(one.params or 0) / 1e6:.2f} M parameters"
        return f"the nearest is {one.name} ({file.precision}: {least}, {times(excess(file, limits))} {limits.max_size_mb:g} MB)"
    return f"the nearest is {one.name} ({over(file, limits)})"


def _figure(name: str, file: StudentFile) -> str:
    if name == "latency":
        bound = f" (up to {file.p50_interval_ms[1]:.2f})" if file.p50_interval_ms else ""
        return f"{file.p50_ms:.2f} ms{bound}"
    return f"{file.bytes / 1e6:.2f} MB of file" if name == "size" else f"{file.peak_rss_mb:.0f} MB of memory"


def _limit(name: str, limits: Limits) -> str:
    if name == "latency":
        return f"{limits.max_latency_ms:g} ms"
    return f"{limits.max_size_mb if name == 'size' else limits.max_memory_mb:g} MB"
