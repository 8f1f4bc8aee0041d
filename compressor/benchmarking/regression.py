"""Did a metric get worse since an earlier benchmark? For use in CI. Pure functions on two documents."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from compressor.benchmarking import accuracy
from compressor.benchmarking.compare import compare, of_processes
from compressor.benchmarking.document import Accuracy, Benchmark, ModelFacts, Row
from compressor.benchmarking.rows import combination
from compressor.benchmarking.verdict import SIGNIFICANT
from compressor.errors import CompressorError, UsageError
from compressor.evaluation.figures import gain
from compressor.evaluation.quantiles import NORMAL
from compressor.files import read_document
from compressor.runnote import Host

GROWTH = 1.01
"""A file may grow by this much: its metadata differ in a few bytes from one export to the next."""


@dataclass
class Findings:
    """What got worse, and what could not be compared, in words."""

    worse: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    compared: int = 0
    """Figures that were compared."""


def read(path: Path) -> Benchmark:
    """An earlier `benchmark.json`. Raises UsageError where it is none."""
    try:
        return read_document(path, Benchmark)
    except CompressorError as error:
        raise UsageError(
            f"--check-regression: {error}\nGive a benchmark.json, or what `compress benchmark --json` printed."
        ) from error


def check(old: Benchmark, new: Benchmark) -> Findings:
    """What got worse beyond its interval: latency, memory, size, accuracy.

    Latency and memory are compared per file × provider × batch × threads × length on the same machine alone, by Welch's
    interval over processes (worse: `slower`, as `compare` decides it); size beyond `GROWTH`; accuracy paired by
    McNemar on the same samples (p < 0.05), else by the interval of two proportions.

    Raises:
        UsageError: the two have nothing in common.
    """
    found = Findings()
    if _machine(old) == _machine(new):
        _rows(old, new, found)
    else:
        found.notes.append(
            f"latency and memory not compared: measured on {_machine(old)[0]}, this is {_machine(new)[0]} "
            "(or another number of cores)"
        )
    _models(old.models, new.models, found)
    if not found.compared:
        mine = ", ".join(dict.fromkeys(row.file for row in new.rows))
        theirs = ", ".join(dict.fromkeys(row.file for row in old.rows))
        raise UsageError(
            f"--check-regression: nothing to compare: the old document has {theirs}; this one has {mine}.\n"
            + "; ".join(found.notes)
        )
    return found


def _rows(old: Benchmark, new: Benchmark, found: Findings) -> None:
    before = {_key(row): row for row in old.rows}
    for row in new.rows:
        earlier = before.pop(_key(row), None)
        if earlier is not None:
            _row(earlier, row, found)
    found.notes += [f"not measured this time: {row.file} on {combination(row)}" for row in before.values()]


def _row(earlier: Row, row: Row, found: Findings) -> None:
    where = f"{row.file} on {combination(row)}"
    noise = " (noisy: measure again before you trust it)" if row.noisy or earlier.noisy else ""
    found.compared += 1
    ratio = compare(earlier.raw_ms, row.raw_ms, paired=False)
    if ratio.verdict == "slower":
        found.worse.append(
            f"latency of {where}: {earlier.p50_ms:.3f} → {row.p50_ms:.3f} ms, {ratio.value:.2f}× "
            f"({ratio.low:.2f} to {ratio.high:.2f}){noise}"
        )
    if earlier.process_peak_rss_mb:
        found.compared += 1
        memory = of_processes(earlier.process_peak_rss_mb, row.process_peak_rss_mb)
        if memory.verdict == "slower":  # more of it
            found.worse.append(
                f"peak memory of {where}: {earlier.peak_rss_mb:.0f} → {row.peak_rss_mb:.0f} MB, "
                f"{memory.value:.2f}× ({memory.low:.2f} to {memory.high:.2f})"
            )


def _models(old: dict[str, ModelFacts], new: dict[str, ModelFacts], found: Findings) -> None:
    for label in [label for label in new if label in old]:
        before, now = old[label], new[label]
        found.compared += 1
        if now.bytes > before.bytes * GROWTH:
            found.worse.append(f"size of {label}: {before.bytes:,} → {now.bytes:,} bytes")
        first, second = before.accuracy, now.accuracy
        if first and second:
            found.compared += 1
            text = _accuracy(first, second)
            if text:
                found.worse.append(f"accuracy of {label}: {text}")
        elif first or second:
            found.notes.append(f"accuracy of {label} not compared: it was measured only once")


def _accuracy(old: Accuracy, new: Accuracy) -> str | None:
    change = f"{old.top1:.4f} → {new.top1:.4f}"
    if old.data == new.data and old.samples == new.samples:
        n = old.samples
        seen = gain(accuracy.unpack(new.right, n), accuracy.unpack(old.right, n))
        worse = seen.top1_gain < 0 and seen.mcnemar_p < SIGNIFICANT
        return f"{change}, McNemar's p {seen.mcnemar_p:.2g} on {n} samples" if worse else None
    error = math.sqrt(sum(m.top1 * (1 - m.top1) / m.samples for m in (old, new)))
    worse = new.top1 - old.top1 + NORMAL * error < 0
    return f"{change}, on different samples" if worse else None


def _key(row: Row) -> tuple[str | int | None, ...]:
    return row.file, row.provider, row.batch, row.threads, row.length


def _machine(document: Benchmark) -> tuple[object, ...]:
    host = document.host or Host()
    return host.cpu, host.cores_usable, host.cgroup_cpus, tuple(host.gpus)
