"""Is an int8 file slower than the float one, here? Measured side by side in fresh processes."""

from __future__ import annotations

from pathlib import Path

from compressor.benchmarking.cells import Cell
from compressor.benchmarking.compare import BAND
from compressor.benchmarking.config import BenchmarkConfig
from compressor.benchmarking.lengths import Length
from compressor.benchmarking.measure import measure
from compressor.progress import Progress
from compressor.quantization.document import Speed

CALLS = 60
"""Timed calls per process."""


def against(fp32: Path, int8: Path, processes: int, progress: Progress, *, length: Length | None = None) -> Speed:
    """Time of `int8` over time of `fp32`, one thread, batch 1; `length` of samples, where the graphs leave it open."""
    config = BenchmarkConfig(
        processes=processes, samples=max(10, CALLS * processes), warmup_seconds=0.1, min_seconds=1.0, max_seconds=1.5
    )
    cells = [
        Cell(label=label, file=file, provider="cpu", batch=1, threads=1, length=length)
        for label, file in (("fp32", fp32), ("int8", int8))
    ]
    rows = measure(cells, config, progress)
    ratio = rows[1].ratio
    assert ratio is not None
    return Speed(
        ratio=ratio.value,
        low=ratio.low,
        high=ratio.high,
        verdict=ratio.verdict,
        fp32_ms=rows[0].p50_ms,
        int8_ms=rows[1].p50_ms,
        processes=rows[1].processes or processes,
        length=length,
        noisy=bool(rows[0].noisy or rows[1].noisy),
    )


def acceptable(measured: Speed | None) -> bool:
    """Whether it is not slower: not by the verdict, and not by more than the band that counts as the same."""
    return measured is not None and measured.verdict != "slower" and measured.ratio <= 1 + BAND


def described(measured: Speed | None) -> str:
    """`takes 0.71 of fp32's time (0.68 to 0.74)`."""
    if measured is None:
        return "its speed was not measured"
    return f"takes {measured.ratio:.2f} of fp32's time ({measured.low:.2f} to {measured.high:.2f})"
