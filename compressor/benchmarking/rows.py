"""From the children's answers to a row of the benchmark: percentiles, intervals, memory, noise. Only numpy."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from compressor.artifact.providers import short
from compressor.benchmarking import contention
from compressor.benchmarking.compare import Ratio, interval

NEEDED = {"p50_ms": 1, "p90_ms": 64, "p99_ms": 662}
"""Samples without which a percentile is not printed (MLPerf's early-stopping rule, 99 % confidence)."""

_WORST = ("other_cores", "steal_cores", "involuntary_switches")


def summarise(label: str, provider: str, threads: int, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """A row: percentiles over all processes' samples, medians of what each process measures once.

    `p50_ms` is over all samples; `p50_interval_ms` is over processes, None for a single one. What disturbed it is
    the worst process's figure.
    """
    samples = np.concatenate([run["samples_ms"] for run in runs])
    noisy = [run["noisy"] for run in runs if run["noisy"] is not None]
    batch = runs[0]["batch"]
    row: dict[str, Any] = {
        "file": label,
        "provider": provider,
        "placement": runs[0]["placement"],
        "elsewhere": runs[0]["elsewhere"],
        "threads": threads,
        "batch": batch,
        "samples": len(samples),
        "processes": len(runs),
        **percentiles(samples),
        "p50_interval_ms": interval([run["samples_ms"] for run in runs]),
    }
    row |= {
        "throughput": batch / (row["p50_ms"] / 1e3),
        "load_ms": _median(runs, "load_ms"),
        "first_run_ms": _median(runs, "first_run_ms"),
        "load_rss_mb": _median(runs, "load_rss_mb"),
        "peak_rss_mb": _median(runs, "peak_rss_mb"),
        "with_copies_ms": _median(runs, "with_copies_ms"),
        "gpu_memory_mb": _median(runs, "gpu_memory_mb"),
        "gpu_clock_mhz": _median(runs, "gpu_clock_mhz"),
        "process_p50_ms": [float(np.median(run["samples_ms"])) for run in runs],
        "process_peak_rss_mb": [run["peak_rss_mb"] for run in runs],
        "contention": disturbances([run["contention"] for run in runs]),
        "noisy": any(noisy) if noisy else None,
        "raw_ms": [run["samples_ms"] for run in runs],
    }
    return row


def disturbances(seen: list[dict[str, Any]]) -> dict[str, Any]:
    """The worst of each figure over a row's processes, and `because`: what made it noisy, in words."""
    worst: dict[str, Any] = {
        key: max((s[key] for s in seen if s[key] is not None), default=None) for key in (*_WORST, "throttled")
    }
    because = [reason for s in seen if s["noisy"] for reason in contention.reasons(s)]
    # One sentence per kind is enough, the longest-standing first.
    kinds: dict[str, str] = {}
    for reason in because:
        kinds.setdefault(reason.split(" ")[0] + reason.split(" ")[1], reason)
    return worst | {"because": list(kinds.values())}


def percentiles(samples: Any) -> dict[str, float | None]:
    """`p50_ms`, `p90_ms`, `p99_ms`; None for a percentile that so few samples can't support."""
    return {
        name: float(np.percentile(samples, int(name[1:3]))) if len(samples) >= needed else None
        for name, needed in NEEDED.items()
    }


def ratio_entry(against: str, ratio: Ratio | None) -> dict[str, Any] | None:
    """A row's `ratio`: to which file, its value, interval and verdict; None for the reference itself."""
    return None if ratio is None else {"reference": against, **asdict(ratio)}


def combination(row: dict[str, Any]) -> str:
    """How a row was measured: `cpu, batch 1, 2 threads`."""
    return f"{row['provider']}, batch {row['batch']}, {row['threads']} thread{'s' if row['threads'] > 1 else ''}"


def warnings(rows: list[dict[str, Any]]) -> list[str]:
    """What a reader must know of the rows, older ones too: operators that fell back, noise that stayed."""
    found = []
    for row in rows:
        where = f"{row['file']} on {combination(row)}"
        if row.get("elsewhere"):
            total = sum(row["placement"].values())
            others = [short(name) for name in row["placement"] if short(name) != short(row["provider"])]
            operators = ", ".join(f"{name} ({count})" for name, count in row["elsewhere"].items())
            found.append(
                f"{where}: {sum(row['elsewhere'].values())} of {total} nodes run on {', '.join(others)} instead: "
                f"{operators}."
            )
        if row["noisy"]:
            again = "; it was measured again and stayed so" if row.get("remeasured") else ""
            reasons = " and ".join(row.get("contention", {}).get("because", [])) or "something else used the machine"
            found.append(f"{where} is noisy: {reasons}{again}.")
    return found


def _median(runs: list[dict[str, Any]], key: str) -> float | None:
    values = [run[key] for run in runs if run.get(key) is not None]
    return float(np.median(values)) if values else None
