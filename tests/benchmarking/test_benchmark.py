"""Latency statistics, the child process, contention, providers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from compressor.artifact import providers
from compressor.benchmarking import contention, host, measure
from compressor.benchmarking.config import BenchmarkConfig
from compressor.benchmarking.measure import Cell, cells, percentiles, summarise
from compressor.errors import CompressorError, ProviderError
from compressor.runtime import Silent


@pytest.mark.parametrize(
    ("count", "known"),
    [(10, {"p50_ms"}), (64, {"p50_ms", "p90_ms"}), (661, {"p50_ms", "p90_ms"}), (662, {"p50_ms", "p90_ms", "p99_ms"})],
)
def test_no_percentile_is_given_that_the_samples_cannot_support(count: int, known: set[str]) -> None:
    found = percentiles([float(i) for i in range(count)])
    assert {k for k, v in found.items() if v is not None} == known


def answer(value: float, *, noisy: bool | None = False) -> dict[str, Any]:
    return {
        "samples_ms": [value] * 40, "load_ms": value, "first_run_ms": value, "load_rss_mb": value,
        "peak_rss_mb": value, "placement": {"CPUExecutionProvider": 3}, "noisy": noisy,
    }  # fmt: skip


CELL = Cell(label="m", file=Path("m.onnx"), provider="cpu", batch=4, threads=1, size=8)


def test_a_row_pools_samples_over_processes_and_keeps_them() -> None:
    row = summarise(CELL, [answer(1.0), answer(2.0), answer(9.0)])
    assert row["p50_ms"] == 2.0
    assert row["load_ms"] == 2.0
    assert row["samples"] == 120
    assert row["throughput"] == pytest.approx(4 / 0.002)
    assert row["process_p50_ms"] == [1.0, 2.0, 9.0]
    assert len(row["raw_ms"]) == 3
    assert row["noisy"] is False


def test_one_noisy_process_makes_a_noisy_row_and_unknown_stays_unknown() -> None:
    assert summarise(CELL, [answer(1.0), answer(1.0, noisy=True)])["noisy"] is True
    assert summarise(CELL, [answer(1.0, noisy=None)])["noisy"] is None


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs Linux's /proc")
def test_another_busy_process_is_noticed() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.2)
        watch = contention.Watch()
        time.sleep(1.0)
        assert watch.read()["noisy"] is True
    finally:
        busy.kill()
        busy.wait()


def test_a_file_is_measured_in_a_child_of_its_own(run: Path) -> None:
    config = BenchmarkConfig(processes=2, samples=20, warmup_seconds=0, batches=[1, 3])
    rows = measure.measure(cells({"student": run / "student.onnx"}, config), config, Silent())
    assert [row["batch"] for row in rows] == [1, 3]
    for row in rows:
        assert row["samples"] == 20
        assert 0 < row["p50_ms"] < row["first_run_ms"] + 1e3
        assert 20 < row["load_rss_mb"] <= row["peak_rss_mb"] < 1000
        assert set(row["placement"]) == {"CPUExecutionProvider"}


def test_a_child_that_dies_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CompressorError, match="no file"):
        measure._child(Cell(label="x", file=tmp_path / "x.onnx", provider="cpu", batch=1, threads=1, size=8),
                       BenchmarkConfig())  # fmt: skip


def test_a_provider_that_is_not_here_is_an_error_not_a_fallback(run: Path) -> None:
    if "CUDAExecutionProvider" in providers.installed():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(ProviderError, match=r"provider 'cuda' .* is not in the installed onnxruntime"):
        cells({"student": run / "student.onnx"}, BenchmarkConfig(providers=["cuda"]))
    with pytest.raises(ProviderError, match="did you mean 'cuda'"):
        providers.resolve("cudda")


def test_a_provider_that_takes_no_node_is_an_error() -> None:
    with pytest.raises(ProviderError, match=r"took no node of m\.onnx; the nodes run on CPUExecutionProvider: 57"):
        providers.check_placement({"CPUExecutionProvider": 57}, "CUDAExecutionProvider", "m.onnx")


def test_the_host_can_be_written_down() -> None:
    assert json.loads(json.dumps(host.fingerprint()))["cores"] >= 1
