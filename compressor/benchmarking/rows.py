"""From the children's answers to a row of the benchmark: percentiles, intervals, memory, noise. Only numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compressor.artifact.providers import short
from compressor.benchmarking import compare, contention
from compressor.benchmarking.document import Contention, Measured, Ratio, Row, Timed
from compressor.benchmarking.lengths import DATA, Length, shown

NEEDED = {"p50_ms": 1, "p90_ms": 64, "p99_ms": 662}
"""Samples without which a percentile is not printed (MLPerf's early-stopping rule, 99 % confidence)."""


def summarise(
    label: str,
    provider: str,
    threads: int,
    runs: list[Measured],
    *,
    ratio: Ratio | None = None,
    remeasured: int = 0,
    length: Length | None = None,
) -> Row:
    """A row: percentiles over all processes' samples, medians of what each process measures once.

    `p50_ms` is over all samples; `p50_interval_ms` is over processes, None for a single one. What disturbed it is
    the worst process's figure.
    """
    samples = np.concatenate([run.samples_ms for run in runs])
    noisy = [run.noisy for run in runs if run.noisy is not None]
    batch, median = runs[0].batch, float(np.percentile(samples, 50))
    return Row(
        file=label,
        provider=provider,
        placement=runs[0].placement,
        elsewhere=runs[0].elsewhere,
        threads=threads,
        batch=batch,
        length=length,
        padding=runs[0].padding,
        samples=len(samples),
        processes=len(runs),
        p50_ms=median,
        p90_ms=percentile(samples, "p90_ms"),
        p99_ms=percentile(samples, "p99_ms"),
        p50_interval_ms=compare.interval([run.samples_ms for run in runs]),
        throughput=batch / ((float(np.mean(samples)) if length == DATA else median) / 1e3),
        load_ms=_median([run.load_ms for run in runs]),
        first_run_ms=_median([run.first_run_ms for run in runs]),
        load_rss_mb=_median([run.load_rss_mb for run in runs]),
        peak_rss_mb=_median([run.peak_rss_mb for run in runs]),
        with_copies_ms=_median([run.with_copies_ms for run in runs]),
        gpu_memory_mb=_median([run.gpu_memory_mb for run in runs]),
        gpu_clock_mhz=_median([run.gpu_clock_mhz for run in runs]),
        process_p50_ms=[float(np.median(run.samples_ms)) for run in runs],
        process_peak_rss_mb=[run.peak_rss_mb for run in runs if run.peak_rss_mb is not None],
        contention=disturbances([run.contention for run in runs if run.contention is not None]),
        noisy=any(noisy) if noisy else None,
        raw_ms=[run.samples_ms for run in runs],
        ratio=ratio,
        remeasured=remeasured,
    )


def disturbances(seen: list[contention.Seen]) -> Contention:
    """The worst of each figure over a row's processes, and what made it noisy, in words."""
    kinds: dict[contention.Kind, str] = {}
    for one in seen:
        for kind, reason in contention.reasons(one).items() if one.noisy else ():
            kinds.setdefault(kind, reason)  # one sentence per kind is enough
    return Contention(
        other_cores=_worst([one.other_cores for one in seen]),
        steal_cores=_worst([one.steal_cores for one in seen]),
        involuntary_switches=_worst([one.involuntary_switches for one in seen]),
        throttled=max((one.throttled for one in seen if one.throttled is not None), default=None),
        because=list(kinds.values()),
    )


def percentile(samples: Any, name: str) -> float | None:
    """`p50_ms`, `p90_ms` or `p99_ms`; None where so few samples can't support it."""
    return float(np.percentile(samples, int(name[1:3]))) if len(samples) >= NEEDED[name] else None


def ratio_entry(against: str, ratio: compare.Ratio | None) -> Ratio | None:
    """A row's `ratio`: to which file, its value, interval and verdict; None for the reference itself."""
    if ratio is None:
        return None
    return Ratio(reference=against, value=ratio.value, low=ratio.low, high=ratio.high, verdict=ratio.verdict)


def setting(row: Timed) -> str:
    """How a row was measured, but for the length: `cpu, batch 1, 2 threads`."""
    return f"{row.provider}, batch {row.batch}, {row.threads} thread{'s' if row.threads > 1 else ''}"


def combination(row: Timed) -> str:
    """How a row was measured: `cpu, batch 1, 2 threads, length 8`."""
    return setting(row) + ("" if row.length is None else f", {shown(row.length, row.padding)}")


def warnings(rows: Sequence[Timed]) -> list[str]:
    """What a reader must know of the rows, older ones too: operators that fell back, noise that stayed."""
    found = []
    for row in rows:
        where = f"{row.file} on {combination(row)}"
        if row.elsewhere:
            others = [short(name) for name in row.placement if short(name) != short(row.provider)]
            operators = ", ".join(f"{name} ({count})" for name, count in row.elsewhere.items())
            found.append(
                f"{where}: {sum(row.elsewhere.values())} of {sum(row.placement.values())} nodes run on "
                f"{', '.join(others)} instead: {operators}."
            )
        if row.noisy:
            again = "; it was measured again and stayed so" if row.remeasured else ""
            because = row.contention.because if row.contention else []
            reasons = " and ".join(because) or "something else used the machine"
            found.append(f"{where} is noisy: {reasons}{again}.")
    return found


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _worst(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
