"""Latency statistics, the child process, contention, providers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from compressor.artifact import providers
from compressor.benchmarking import contention, host, measure
from compressor.benchmarking.cells import Cell, cells, describe
from compressor.benchmarking.config import BenchmarkConfig
from compressor.benchmarking.document import Measured, Row
from compressor.benchmarking.rows import NEEDED, percentile, summarise, warnings
from compressor.errors import ArtifactError, CompressorError, ProviderError
from compressor.progress import Silent
from tests.conftest import compress


@pytest.mark.parametrize(
    ("count", "known"),
    [(10, {"p50_ms"}), (64, {"p50_ms", "p90_ms"}), (661, {"p50_ms", "p90_ms"}), (662, {"p50_ms", "p90_ms", "p99_ms"})],
)
def test_no_percentile_is_given_that_the_samples_cannot_support(count: int, known: set[str]) -> None:
    samples = [float(i) for i in range(count)]
    assert {name for name in NEEDED if percentile(samples, name) is not None} == known


QUIET: dict[str, Any] = {"other_cores": 0.02, "steal_cores": 0.0, "throttled": None, "involuntary_switches": 12.0}


def answer(value: float, *, noisy: bool | None = False, **changed: Any) -> Measured:
    return Measured.model_validate({
        "samples_ms": [value] * 40, "load_ms": value, "first_run_ms": value, "load_rss_mb": value,
        "peak_rss_mb": value, "placement": {"CPUExecutionProvider": 3}, "elsewhere": {}, "batch": 4, "noisy": noisy,
        "with_copies_ms": None, "contention": QUIET | changed.pop("contention", {}) | {"noisy": noisy}, **changed,
    })  # fmt: skip


def test_a_row_pools_samples_over_processes_and_keeps_them() -> None:
    row = summarise("m", "cpu", 1, [answer(1.0), answer(2.0), answer(9.0)])
    assert row.p50_ms == 2.0
    assert row.load_ms == 2.0
    assert row.samples == 120
    assert row.throughput == pytest.approx(4 / 0.002)
    assert row.process_p50_ms == [1.0, 2.0, 9.0]
    assert len(row.raw_ms) == 3
    assert row.noisy is False
    assert row.p50_interval_ms is not None
    low, high = row.p50_interval_ms
    assert low < 2.0 < high
    assert row.gpu_memory_mb is None  # what was not measured is not invented


def test_one_noisy_process_makes_a_noisy_row_and_unknown_stays_unknown() -> None:
    busy = answer(1.0, noisy=True, contention={"other_cores": 0.8})
    row = summarise("m", "cpu", 1, [answer(1.0), busy])
    assert row.noisy is True
    assert row.contention is not None
    assert row.contention.other_cores == 0.8
    assert row.contention.because == ["others used 0.80 cores"]
    assert summarise("m", "cpu", 1, [answer(1.0, noisy=None)]).noisy is None


@pytest.mark.parametrize(
    ("changed", "noisy"),
    [
        ({}, False),
        ({"other_cores": 0.3}, True),
        ({"other_cores": None}, None),
        ({"other_cores": None, "throttled": 2}, True),
        ({"throttled": 1}, True),
        ({"throttled": 0}, False),
        ({"steal_cores": 0.2}, True),
        ({"involuntary_switches": 250.0}, True),
    ],
)
def test_load_steal_throttling_and_lost_cores_are_noise(changed: dict[str, Any], noisy: bool | None) -> None:
    seen = contention.Seen(**(QUIET | changed))
    assert contention.judge(seen) is noisy
    assert bool(contention.reasons(seen)) is bool(noisy)


def test_throttling_is_read_from_the_cgroup(tmp_path: Path) -> None:
    stat = tmp_path / "cpu.stat"
    stat.write_text("usage_usec 10\nnr_periods 4\nnr_throttled 3\nthrottled_usec 900\n")
    assert contention.throttled_in(stat) == 3
    stat.write_text("usage_usec 10\n")
    assert contention.throttled_in(stat) is None
    assert contention.throttled_in(tmp_path / "nothing") is None


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs Linux's /proc")
def test_another_busy_process_is_noticed() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.2)
        watch = contention.Watch()
        with watch:
            time.sleep(1.0)
        assert watch.read().noisy is True
    finally:
        busy.kill()
        busy.wait()


class Children:
    """Stands in for the child processes: latency by label, and which calls are disturbed."""

    def __init__(self, latency: dict[str, float], noisy: Collection[int] = ()) -> None:
        self.latency, self.noisy = latency, noisy
        self.calls: list[str] = []

    def __call__(self, group: list[Cell], config: BenchmarkConfig) -> dict[Cell, Measured]:
        return {cell: self.one(cell) for cell in group}

    def one(self, cell: Cell) -> Measured:
        self.calls.append(cell.label)
        wobble = np.random.default_rng(len(self.calls)).normal(1, 0.03)
        return answer(self.latency[cell.label] * wobble, noisy=len(self.calls) - 1 in self.noisy)


def measured(monkeypatch: pytest.MonkeyPatch, children: Children, **options: Any) -> dict[str, Row]:
    monkeypatch.setattr(measure, "together", children)
    todo = [Cell(label=x, file=Path(x), provider="cpu", batch=4, threads=1) for x in children.latency]
    return {row.file: row for row in measure.measure(todo, BenchmarkConfig(**options), Silent())}


def verdict(row: Row) -> str | None:
    return row.ratio.verdict if row.ratio else None


def test_processes_are_interleaved_and_added_until_it_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    children = Children({"a": 1.0, "clear": 2.0, "close": 1.06})
    rows = measured(monkeypatch, children, processes=3, max_processes=40, half_width=1.0)
    assert children.calls[:6] == ["a", "clear", "close"] * 2
    assert rows["clear"].processes == 3
    assert verdict(rows["clear"]) == "slower"
    assert 3 < (rows["close"].processes or 0) <= 40
    assert verdict(rows["close"]) == "slower"
    assert rows["a"].processes == rows["close"].processes
    assert rows["a"].ratio is None


def test_processes_are_added_until_the_interval_is_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = measured(monkeypatch, Children({"a": 1.0, "b": 4.0}), processes=3, max_processes=40, half_width=0.02)
    ratio = rows["b"].ratio
    assert ratio is not None
    assert ratio.verdict == "slower"
    assert (rows["b"].processes or 0) > 3
    assert (ratio.high - ratio.low) / 2 / ratio.value <= 0.02


def test_an_undecided_comparison_ends_at_the_limit_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = measured(monkeypatch, Children({"a": 1.0, "close": 1.03}), processes=3, max_processes=5)
    assert rows["close"].processes == 5
    assert verdict(rows["close"]) == "undecided"


def test_two_processes_decide_nothing_and_stay_two(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = measured(monkeypatch, Children({"a": 1.0, "b": 9.0}), processes=2)
    assert rows["b"].processes == 2
    assert verdict(rows["b"]) == "undecided"


def test_a_disturbed_round_is_measured_again_once_and_a_quiet_repeat_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    children = Children({"a": 1.0, "b": 2.0}, noisy={1})
    rows = measured(monkeypatch, children, processes=3, half_width=1.0)
    assert len(children.calls) == 3 * 2 + 2
    assert [row.remeasured for row in rows.values()] == [1, 1]
    assert [row.noisy for row in rows.values()] == [False, False]
    assert rows["a"].processes == 3


def test_a_machine_that_stays_busy_is_flagged_not_measured_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    children = Children({"a": 1.0, "b": 2.0}, noisy=set(range(100)))
    rows = measured(monkeypatch, children, processes=3, half_width=1.0)
    assert len(children.calls) == 3 * 2 + 2
    assert [row.noisy for row in rows.values()] == [True, True]
    said = " ".join(warnings(list(rows.values())))
    assert "a on cpu, batch 4, 1 thread is noisy" in said
    assert "it was measured again and stayed so" in said


def test_a_file_is_measured_in_a_child_of_its_own(run: Path) -> None:
    config = BenchmarkConfig(processes=2, samples=20, warmup_seconds=0, min_seconds=0.1, batches=[1, 3])
    rows = measure.measure(cells({"student": run / "student.onnx"}, config), config, Silent())
    assert [row.batch for row in rows] == [1, 3]
    for row in rows:
        assert row.samples >= 20
        assert sum(map(sum, row.raw_ms)) > 100  # a tenth of a second in each process, less what lies between calls
        assert row.first_run_ms is not None
        assert 0 < row.p50_ms < row.first_run_ms + 1e3
        assert row.load_rss_mb is not None
        assert row.peak_rss_mb is not None
        assert 20 < row.load_rss_mb <= row.peak_rss_mb < 1000
        assert set(row.placement) == {"CPUExecutionProvider"}


def test_a_file_from_elsewhere_is_measured_when_its_input_says_its_size(run: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(run / "student.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    facts = describe({"foreign": tmp_path / "foreign.onnx"})["foreign"]
    assert facts.role is None
    assert facts.size == 32
    dimensions = model.graph.input[0].type.tensor_type.shape.dim
    dimensions[2].dim_param = dimensions[3].dim_param = "side"
    onnx.save(model, tmp_path / "any.onnx")
    with pytest.raises(ArtifactError, match="has no compressor metadata"):
        describe({"any": tmp_path / "any.onnx"})


def test_a_child_that_dies_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CompressorError, match="no file"):
        measure.together([Cell(label="x", file=tmp_path / "x.onnx", provider="cpu", batch=1, threads=1)],
                         BenchmarkConfig())  # fmt: skip


def test_a_child_that_is_killed_while_it_waits_is_an_error(run: Path) -> None:
    """Where memory is short the idle ones go first; a broken pipe must not pass for a closed terminal."""
    cell = Cell(label="x", file=run / "student.onnx", provider="cpu", batch=1, threads=1)
    child = measure.Child(cell, BenchmarkConfig(warmup_seconds=0))
    try:
        child.ready()
        child.process.kill()
        child.process.wait()
        with pytest.raises(CompressorError, match=r"measuring .*student\.onnx on cpu failed: .* code -9"):
            child.turn()
    finally:
        child.close()


def test_a_default_provider_that_cannot_start_is_left_out(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the CUDA wheel lies on a machine without a GPU."""
    if "CUDAExecutionProvider" in providers.installed():
        pytest.skip("this onnxruntime has CUDA")
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(providers, "installed", lambda: both)
    said: list[str] = []
    progress = Silent()
    monkeypatch.setattr(progress, "say", said.append, raising=False)
    config = BenchmarkConfig(processes=1, samples=10, warmup_seconds=0, min_seconds=0)
    found = measure.document({"student": run / "student.onnx"}, config, progress)
    assert [row.provider for row in found.rows] == ["cpu"]
    (line,) = said
    assert line.startswith("cuda is left out: ")


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


def test_a_provider_that_takes_no_node_ends_the_command(run: Path) -> None:
    """The stock wheel lists a provider that calls a web service: it starts, and runs nothing."""
    import onnxruntime

    name = "AzureExecutionProvider"
    if name not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has no {name}")
    assert name not in providers.installed()  # not offered; asked for by its full name it is tried
    result = compress("benchmark", run / "student.onnx", "--provider", name)
    assert result.exit_code == 1
    assert f"error: provider '{name}' took no node of" in result.stderr
    assert "the nodes run on CPUExecutionProvider" in result.stderr


def test_a_provider_that_is_not_here_ends_the_command(run: Path) -> None:
    result = compress("benchmark", run / "student.onnx", "--provider", "qnn")
    assert result.exit_code == 1
    assert "provider 'qnn' (QNNExecutionProvider) is not in the installed onnxruntime; it has: CPU" in result.stderr


def test_nodes_that_fell_back_are_named() -> None:
    def part(provider: str, *operators: str) -> Any:
        return SimpleNamespace(ep_name=provider, get_nodes=lambda: [SimpleNamespace(op_type=o) for o in operators])

    session = SimpleNamespace(get_provider_graph_assignment_info=lambda: [
        part("CUDAExecutionProvider", "Conv", "Relu"), part("CPUExecutionProvider", "Shape", "Gather", "Gather")
    ])  # fmt: skip
    placed = providers.placement(session)
    left = providers.elsewhere(session, "CUDAExecutionProvider")
    providers.check_placement(placed, "CUDAExecutionProvider", "m.onnx")
    row = summarise("m.onnx", "cuda", 1, [answer(1.0, placement=placed, elsewhere=left)])
    assert warnings([row]) == [
        "m.onnx on cuda, batch 4, 1 thread: 3 of 5 nodes run on cpu instead: Gather (2), Shape (1)."
    ]
    assert warnings([summarise("m", "cpu", 1, [answer(1.0)])]) == []


def test_the_host_can_be_written_down() -> None:
    assert json.loads(json.dumps(host.fingerprint().as_dict()))["cores"] >= 1
