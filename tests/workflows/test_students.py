"""Students for a budget: what is measured, what is left out, what is kept, what is refused. Timings are made up."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import compressor
from compressor.benchmarking import host
from compressor.benchmarking.config import BenchmarkConfig
from compressor.benchmarking.document import Row
from compressor.benchmarking.students import Students
from compressor.errors import CompressorError, UsageError
from compressor.models.timm.published import published, usual
from compressor.options import megabytes, milliseconds
from compressor.packages import versions
from compressor.workflows import screening
from tests.conftest import compress

NAMES = "mobilenetv3_small_050,lcnet_050,resnet10t,resnet18"
FP32 = {"mobilenetv3_small_050": 1.0, "lcnet_050": 0.8, "resnet10t": 4.0, "resnet18": 30.0}
"""Milliseconds; int8 takes half of it."""


class Machine:
    """A machine that is as fast as `FP32` says, and notes what it was asked to measure."""

    def __init__(self) -> None:
        self.looks: list[tuple[str, str, int]] = []

    def timed(self, paths: dict[Any, Path], threads: int, config: BenchmarkConfig) -> dict[Any, Row]:
        found = {}
        for name, precision in paths:
            self.looks.append((name, precision, config.processes))
            p50 = FP32[name.partition(".")[0]] / (2 if precision == "int8" else 1)
            found[name, precision] = Row(
                file=name, provider="cpu", threads=threads, batch=1, samples=10, processes=config.processes, p50_ms=p50,
                p50_interval_ms=(0.95 * p50, 1.05 * p50) if config.processes > 1 else None, peak_rss_mb=80.0, raw_ms=[[p50]],
            )  # fmt: skip
        return found

    def closely(self) -> set[tuple[str, str]]:
        return {(name, precision) for name, precision, processes in self.looks if processes > 1}


@pytest.fixture
def machine(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setenv("COMPRESS_CACHE", str(workdir / "cache"))
    monkeypatch.setattr(screening, "timed", made.timed)

    def sketched(
        family: Any, architecture: Any, preprocessing: Any, inputs: Any, path: Path, *_: Any, **__: Any
    ) -> Any:
        if architecture.name == "edgenext_xx_small":
            raise CompressorError("edgenext_xx_small can't be exported: no such operator")
        path.write_bytes(bytes(4000))
        return SimpleNamespace(macs=10**7, params=1_000_000)

    monkeypatch.setattr(screening, "sketch", sketched)
    monkeypatch.setattr(screening, "quantize_untrained", lambda fp32, path, progress: path.write_bytes(bytes(1000)))
    return made


def students(**given: Any) -> Students:
    usual: dict[str, Any] = {"candidates": NAMES, "classes": 10, "image_size": 64, "progress": compressor.Silent()}
    return compressor.students(**usual | given).document


def test_the_frontier_is_measured_closely_and_the_rest_at_a_glance(machine: Machine) -> None:
    found = students(max_latency="2ms")
    assert {one.name: one.standing for one in found.candidates} == {
        "resnet10t": "over", "lcnet_050": "frontier", "mobilenetv3_small_050": "fits", "resnet18": "over",
    }  # fmt: skip
    assert machine.closely() == {("lcnet_050", "fp32"), ("lcnet_050", "int8"), ("resnet10t", "int8"),
                                 ("mobilenetv3_small_050", "fp32"), ("mobilenetv3_small_050", "int8")}  # fmt: skip
    assert ("resnet18", "int8", 1) not in machine.looks, "15 times too slow as fp32: no int8 file is made of it"


def test_what_was_measured_once_is_not_measured_again(machine: Machine) -> None:
    first = students(max_latency="2ms")
    machine.looks.clear()
    again = students(max_latency=2)
    assert machine.looks == []
    assert [one.model_dump() for one in again.candidates] == [one.model_dump() for one in first.candidates]
    wider = students(max_latency="5ms")
    assert {name for name, _, _ in machine.looks} == {"resnet10t"}, "only now it may be on the frontier"
    assert wider.candidates[0].name == "resnet10t"
    kinds = {row["kind"] for row in compressor.stores().document}
    assert kinds == {"screened"}
    assert len(compressor.remove_stores("screened").document) == 4
    students(max_latency="2ms")
    assert len(machine.looks) > 6, "all of it was removed by its kind"
    machine.looks.clear()
    students(max_latency="2ms", classes=12)
    assert len(machine.looks) > 6, "another task"


@pytest.mark.parametrize("what", ["onnxruntime-gpu", "torch", "timm", "cpu", "governor"])
def test_of_another_machine_or_after_an_upgrade_nothing_is_taken_over(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    students(candidates="lcnet_050", max_latency="2ms")
    machine.looks.clear()
    if what in ("cpu", "governor"):
        other = host.fingerprint().model_copy(update={what: "another"})
        monkeypatch.setattr(host, "fingerprint", lambda: other)
    else:
        newer = versions() | {what: "99"}
        monkeypatch.setattr(screening, "versions", lambda: newer)
    students(candidates="lcnet_050", max_latency="2ms")
    assert ("lcnet_050", "fp32", 5) in machine.looks


def test_a_name_with_its_weights_has_its_architectures_prior(machine: Machine) -> None:
    (found,) = students(candidates="lcnet_050.ra2_in1k").candidates
    assert found.published == published()["lcnet_050"].top1


def test_who_turns_out_to_be_over_leaves_its_place_to_whom_it_dominated(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a glance resnet10t takes 0.7 ms and is expected to be best; five processes say that it may take up to 1.5."""
    real = machine.timed

    def wavering(paths: dict[Any, Path], threads: int, config: BenchmarkConfig) -> dict[Any, Row]:
        p50 = 0.7 if config.processes == 1 else 1.4
        rows = real(paths, threads, config)
        return {
            key: row.model_copy(update={"p50_ms": p50, "p50_interval_ms": row.p50_interval_ms and (p50, 1.5)})
            if key[0] == "resnet10t" else row
            for key, row in rows.items()
        }  # fmt: skip

    monkeypatch.setattr(screening, "timed", wavering)
    found = students(max_latency="1.2ms", precision="fp32", candidates="resnet10t,mobilenetv3_small_050")
    assert {one.name: one.standing for one in found.candidates} == {
        "mobilenetv3_small_050": "frontier", "resnet10t": "over",
    }  # fmt: skip
    assert machine.closely() == {("resnet10t", "fp32"), ("mobilenetv3_small_050", "fp32")}


def test_parameters_alone_leave_out_what_no_file_can_hold(machine: Machine) -> None:
    found = students(max_size="3MB", precision="int8")
    standing = {one.name: one for one in found.candidates}
    assert standing["resnet18"].standing == "too large"
    assert "11.18 M parameters are more than 3 MB hold" in standing["resnet18"].why
    assert {name for name, _, _ in machine.looks} == {"mobilenetv3_small_050", "lcnet_050"}


def test_an_impossible_budget_is_refused_with_the_nearest(machine: Machine) -> None:
    with pytest.raises(
        UsageError, match=r"none of 4 candidates keeps to .*0\.1 ms.*: the nearest is lcnet_050 \(int8: 0\.40 ms"
    ):
        students(max_latency="0.1ms")
    assert ("lcnet_050", "int8", 5) in machine.looks


def test_of_a_size_that_nothing_can_keep_to_the_nearest_is_known_by_its_parameters(machine: Machine) -> None:
    with pytest.raises(UsageError, match=r"the nearest is mobilenetv3_small_050 \(int8: at least .* times 0\.1 MB"):
        students(max_size="100KB")
    assert machine.looks == []


def test_a_candidate_that_cannot_be_exported_is_left_out_and_said(machine: Machine) -> None:
    found = students(max_latency="2ms", candidates=["lcnet_050", "edgenext_xx_small"])
    assert {one.name: one.standing for one in found.candidates} == {
        "lcnet_050": "frontier",
        "edgenext_xx_small": "failed",
    }
    assert "no such operator" in found.candidates[-1].why


def test_the_command_shows_a_table_a_page_and_the_document(machine: Machine, workdir: Path) -> None:
    given = ("students", "--max-latency", "2ms", "--candidates", NAMES, "--classes", "10", "--image-size", "64")
    shown = compress(*given, "--output", "s.html", "--quiet")
    assert shown.exit_code == 0, shown.output
    assert "2 of 4 candidates fit (at most 2 ms, as fp32 or int8) for 10 classes at 64 pixels" in shown.output
    assert "lcnet_050 is faster and has the better prior" in shown.output
    page = (workdir / "s.html").read_text()
    assert "<svg" in page
    assert "lcnet_050" in page
    assert "2 ms" in page
    printed = json.loads(compress(*given, "--json").stdout)
    assert Students.model_validate(printed).candidates[0].files[0].p50_ms == 0.8


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--max-latency", "fast"], "--max-latency 'fast': write a number above 0 with its unit, such as 5ms or 0.5s"),
        (["--max-size", "0"], "--max-size '0': write a number above 0 with its unit, such as 4MB or 900KB"),
        (["--precision", "fp16"], "--precision 'fp16'"),
        (["--candidates", "lcnet_05"], "unknown candidate 'lcnet_05': did you mean"),
        (["--classes", "1"], "--classes 1: give a whole number (2 to 1,000,000)"),
        (["--classes", "9", "--data", "digits"], "--data says how many there are"),
        (["--output", "s.pdf"], "--output s.pdf: give a page's name"),
    ],
)
def test_wrong_values_are_one_sentence(workdir: Path, given: list[str], said: str) -> None:
    shown = compress("students", *given)
    assert shown.exit_code == 2, shown.output
    assert said in " ".join(shown.output.split())
    assert "Traceback" not in shown.output


def test_units_are_read() -> None:
    assert [milliseconds(text) for text in ("5ms", 5, "0.5 s", "800us")] == [5, 5, 500, pytest.approx(0.8)]
    assert [megabytes(text) for text in ("4MB", 4, "900KB", "1GB", "1MiB")] == [
        4,
        4,
        0.9,
        1000,
        pytest.approx(1.048576),
    ]
    for text in ("", "-1", "5MB", "1e9s", "nan", "5 5ms"):
        with pytest.raises(ValueError, match="such as 5ms"):
            milliseconds(text)


def test_the_usual_candidates_are_few_and_timms_own() -> None:
    from compressor.packages import import_timm

    timm = import_timm()
    assert len(usual()) <= 24
    assert all(timm.is_model(name) for name in published())
    assert all(0.3 < row.top1 < 0.9 and 0.1 < row.params_m < 50 for row in published().values())


@pytest.mark.slow
def test_files_are_really_made_and_timed(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPRESS_CACHE", str(workdir / "cache"))
    found = compressor.students(
        max_latency="10s", data="digits", candidates="mobilenetv3_small_050,regnetx_002", progress=compressor.Silent()
    ).document
    assert (found.classes, found.image_size) == (10, 32)
    for one in found.candidates:
        assert {file.precision for file in one.files} == {"fp32", "int8"}
        fp32, int8 = one.files
        assert int8.bytes < fp32.bytes / 2.5
        assert fp32.bytes > 3.8 * (one.params or 0), "no weights are shared because they are equal"
        assert all(f.processes == 5 and f.p50_interval_ms and f.p50_ms and (f.peak_rss_mb or 0) > 10 for f in one.files)
        assert one.params
        assert one.macs


@pytest.mark.slow
def test_a_student_is_chosen_trained_and_measured_again(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPRESS_CACHE", str(workdir / "cache"))
    made = compressor.distill(
        teacher="test_resnet", student="auto", max_latency="10s", max_size="1MB", data="digits", baseline=False,
        settings={"student.candidates": ["mobilenetv3_small_050", "lcnet_050", "resnet18"], "seeds": 1, "teacher.epochs": 2,
                  "stage.epochs": 2, "stage.batch_size": 32, "data.limit": 160, "export.int8.max_drop": 100,
                  "benchmark.processes": 3, "benchmark.max_processes": 3, "benchmark.min_seconds": 0.2},
        progress=compressor.Silent(),
    )  # fmt: skip
    found = made.document.students
    assert found is not None
    assert sorted(found.finalists) == ["lcnet_050", "mobilenetv3_small_050"]
    assert {trial.name for trial in found.trials} == set(found.finalists)
    assert found.chosen == found.ranking[0]
    assert made.student.name == found.ships == "student.int8.onnx", "the float file is larger than a megabyte"
    (int8,) = [m for m in found.measurements if m.fits]
    assert int8.file.bytes == made.student.stat().st_size <= 1_000_000
    assert "keeps to the budget" in (made.run / "report.md").read_text()
