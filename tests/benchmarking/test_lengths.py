"""Latency by length: which are measured, on what, and what is said of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compressor
from compressor.artifact import session
from compressor.benchmarking import child, lengths, measure, regression, verdict
from compressor.benchmarking.cells import cells, describe
from compressor.benchmarking.config import BenchmarkConfig
from compressor.benchmarking.document import Benchmark, Measured
from compressor.errors import ArtifactError, UsageError
from compressor.progress import Silent
from compressor.reporting import screen
from tests.benchmarking import tokens
from tests.conftest import compress

QUICK: dict[str, Any] = {"processes": 1, "samples": 10, "warmup_seconds": 0, "min_seconds": 0}


def measured_at(path: Path, asked: list[lengths.Length] | None = None) -> list[Any]:
    return [cell.length for cell in cells({"m": path}, BenchmarkConfig(lengths=asked))]


def test_a_file_of_open_length_is_measured_on_the_datas_and_at_what_it_takes(tmp_path: Path) -> None:
    path = tokens.described(tmp_path / "m.onnx", lengths=[3, 9])
    assert measured_at(path) == ["data", 8, 32]  # 128 are more than the 64 it takes
    assert measured_at(path, [16, "data", 4]) == ["data", 16, 4]
    silent = tokens.described(tmp_path / "silent.onnx")
    assert measured_at(silent) == [8, 32]
    fixed = tokens.graph(tmp_path / "fixed.onnx", length=8)
    assert measured_at(fixed, [32]) == [None]
    with pytest.raises(UsageError, match=r"m takes at most 64 tokens and does not say how long its data are: give"):
        measured_at(silent, ["data", 65])


def test_the_default_is_refused_of_a_file_from_elsewhere_and_numbers_are_not(tmp_path: Path) -> None:
    path = tokens.graph(tmp_path / "foreign.onnx")
    with pytest.raises(ArtifactError, match="has no compressor metadata"):
        measured_at(path)
    with pytest.raises(ArtifactError, match="has no compressor metadata"):
        measured_at(path, ["data"])
    assert measured_at(path, [300, "data"]) == [300]
    feeds, padded = child.inputs(session.load(path), 2, 300)
    assert padded == 0
    assert [feeds[0][name].shape for name in ("input_ids", "attention_mask")] == [(2, 300)] * 2
    assert feeds[0]["attention_mask"].all()


def test_facts_say_how_long_texts_may_be_and_were(tmp_path: Path) -> None:
    facts = describe({"m": tokens.described(tmp_path / "m.onnx", lengths=[3, 9])})["m"]
    assert (facts.max_length, facts.any_length, facts.lengths) == (64, True, [3, 9])
    assert not describe({"m": tokens.graph(tmp_path / "fixed.onnx", length=8)})["m"].any_length


def used(feed: dict[str, Any]) -> list[int]:
    return [int(count) for count in feed["attention_mask"].sum(axis=1)]


def test_inputs_have_exactly_the_length_asked_for(tmp_path: Path) -> None:
    artifact = session.load(tokens.described(tmp_path / "m.onnx"))
    (feed,), padded = child.inputs(artifact, 3, 8)
    assert feed["input_ids"].shape == (3, 8)
    assert used(feed) == [8, 8, 8]
    assert padded == 0
    (feed,), padded = child.inputs(artifact, 1, None)
    assert feed["input_ids"].shape == (1, 64)
    assert padded is None
    with pytest.raises(ArtifactError, match="does not say how long its data are"):
        child.inputs(artifact, 1, "data")


KNOWN = [3, 3, 4, 5, 6, 7, 9, 30]


@pytest.mark.parametrize("batch", [1, 3, 8, 20])
def test_batches_of_the_datas_lengths_hold_all_alike_and_are_as_wide_as_their_longest(
    batch: int, tmp_path: Path
) -> None:
    artifact = session.load(tokens.described(tmp_path / "m.onnx", lengths=KNOWN))
    feeds, padded = child.inputs(artifact, batch, "data")
    seen = [used(feed) for feed in feeds]
    assert [feed["input_ids"].shape for feed in feeds] == [(batch, max(own)) for own in seen]
    flat = sorted(length for own in seen for length in own)
    if batch < len(KNOWN):
        assert flat == sorted(KNOWN * batch)
    held = sum(feed["input_ids"].size for feed in feeds)
    assert padded == pytest.approx(1 - sum(flat) / held)
    assert (padded == 0) == (batch == 1)
    for feed in feeds:
        assert (feed["input_ids"][feed["attention_mask"] == 0] == 0).all()
    again, _ = child.inputs(artifact, batch, "data")
    assert [used(feed) for feed in again] == seen


def test_batches_meet_the_lengths_in_no_order(tmp_path: Path) -> None:
    """Sorted ones would have next to no padding, which no service sees."""
    found = lengths.batches(list(range(1, 34)), 4)
    assert [own for own in found if sorted(own) == list(own)] != found
    assert lengths.padding(found) > 0.2


def test_no_file_is_given_more_than_it_takes(tmp_path: Path) -> None:
    artifact = session.load(tokens.described(tmp_path / "m.onnx", lengths=[4, 60_000]))
    feeds, _ = child.inputs(artifact, 1, "data")
    assert max(feed["input_ids"].shape[1] for feed in feeds) == 64


def test_quantiles_are_lengths_that_samples_have() -> None:
    drawn = np.random.default_rng(0).choice([3, 8, 21], 1000, p=[0.5, 0.25, 0.25])
    found = lengths.quantiles([int(v) for v in drawn])
    assert len(found) == lengths.QUANTILES
    assert set(found) == {3, 8, 21}
    assert found.count(3) in (16, 17, 18)
    assert lengths.quantiles([7]) == [7] * lengths.QUANTILES


def test_each_length_is_timed_as_often_as_any_other(tmp_path: Path) -> None:
    path = tokens.described(tmp_path / "m.onnx", lengths=KNOWN)
    request = {"file": str(path), "provider": "cpu", "batch": 1, "threads": 1, "length": "data", "warmup_seconds": 0}
    told: list[int] = []
    found = child.measure(request, [0.0, 0.0], told.append)
    assert told == [0, 1, 2]
    assert len(found["samples_ms"]) == len(KNOWN)
    assert found["padding"] == 0


def test_rows_of_children_have_their_length_and_padding(tmp_path: Path) -> None:
    path = tokens.described(tmp_path / "m.onnx", lengths=KNOWN)
    config = BenchmarkConfig(**QUICK, batches=[4], lengths=["data"], providers=["cpu"])
    document = measure.document({"m": path}, config, Silent())
    (mixed,) = document.rows
    assert mixed.length == "data"
    assert mixed.padding is not None
    assert mixed.padding > 0.1
    assert len(mixed.raw_ms[0]) % len(KNOWN) == 0
    assert mixed.throughput == pytest.approx(4e3 / np.mean(mixed.raw_ms))
    assert Benchmark.model_validate_json(document.model_dump_json()) == document


LATENCY = {("old", 8): 1.0, ("new", 8): 2.0, ("old", "data"): 3.0, ("new", "data"): 1.5}


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children are played: which of two files is faster depends on the length."""

    def together(group: Sequence[Any], config: BenchmarkConfig) -> dict[Any, Measured]:
        assert len({cell.length for cell in group}) == 1
        return {
            cell: Measured(
                samples_ms=[LATENCY.get((cell.label, cell.length), 1.0)] * 40, noisy=False, peak_rss_mb=50.0,
                padding=0.25 if cell.length == "data" else 0.0,
            )
            for cell in group
        }  # fmt: skip

    monkeypatch.setattr(measure, "together", together)


def compared(folder: Path) -> Benchmark:
    files = {n: tokens.described(folder / f"{n}.onnx", lengths=KNOWN, role=n) for n in ("old", "new")}
    return measure.document(files, BenchmarkConfig(processes=3, lengths=[8, "data"], providers=["cpu"]), Silent())


def test_files_are_compared_within_one_length_and_the_verdict_is_on_the_datas(played: None, tmp_path: Path) -> None:
    document = compared(tmp_path)
    ratios = {(row.file, row.length): row.ratio and row.ratio.value for row in document.rows}
    assert ratios["new", "data"] == pytest.approx(0.5)
    assert ratios["new", 8] == pytest.approx(2.0)
    assert ratios["old", 8] is ratios["old", "data"] is None
    (judged,) = verdict.verdicts(document)
    assert "2.0× faster" in judged.text


def test_a_length_that_got_slower_is_a_regression_of_that_length(
    played: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = compared(tmp_path)
    monkeypatch.setitem(LATENCY, ("new", 8), 4.0)
    found = regression.check(old, compared(tmp_path))
    (line,) = found.worse
    assert line.startswith("latency of new on cpu, batch 1, 1 thread, length 8: 2.000 → 4.000 ms")


def test_the_table_has_a_column_for_lengths_only_where_one_was_measured(played: None, tmp_path: Path) -> None:
    document = compared(tmp_path)
    table = screen.benchmark(document)[0]
    assert isinstance(table, screen.Table)
    column = table.header.index("length (padding)")
    assert [line[column] for line in table.lines] == ["data (25 %)", "8 (0 %)"] * 2
    assert {line[1] for line in table.lines} == {"cpu, batch 1, 1 thread"}
    bare = [row.model_copy(update={"length": None, "padding": None}) for row in document.rows]
    table = screen.benchmark(document.model_copy(update={"rows": bare}))[0]
    assert isinstance(table, screen.Table)
    assert "length (padding)" not in table.header
    assert {len(line) for line in table.lines} == {len(table.header)}


def test_what_was_asked_for_and_not_measured_is_said_and_so_are_other_lengths(played: None, tmp_path: Path) -> None:
    files = {
        "a": tokens.described(tmp_path / "a.onnx", lengths=[3, 9]),
        "b": tokens.described(tmp_path / "b.onnx", lengths=[3, 20], longest=16, role="teacher"),
    }
    document = measure.document(files, BenchmarkConfig(**QUICK, lengths=["data", 32], providers=["cpu"]), Silent())
    assert [(row.file, row.length) for row in document.rows] == [("a", "data"), ("a", 32), ("b", "data")]
    assert "b was not measured at 32 (it takes at most 16 tokens)." in document.warnings
    assert any("b: the data's lengths are its own, 3 to 20 tokens, where a has 3 to 9" in w for w in document.warnings)


def test_the_command_takes_lengths_and_refuses_what_are_none(played: None, tmp_path: Path) -> None:
    path = tokens.described(tmp_path / "m.onnx", lengths=KNOWN)
    found = compress("benchmark", path, "--lengths", "4,data", "--provider", "cpu", "--json")
    assert found.exit_code == 0, found.output
    assert [row["length"] for row in json.loads(found.stdout)["rows"]] == ["data", 4]
    refused = compress("benchmark", path, "--lengths", "4,dada")
    assert refused.exit_code == 2
    assert "--lengths '4,dada': give whole numbers from 1, and the word data" in refused.output
    with pytest.raises(UsageError, match="--lengths 0: give whole numbers"):
        compressor.benchmark(path, lengths=0)
    with pytest.raises(UsageError, match=r"--lengths .*65,?536"):
        compressor.benchmark(path, lengths=[70_000, "data"])
