"""The ladder: what it keeps, what it refuses, and what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from compressor.artifact import session
from compressor.artifact.preprocessing import taken
from compressor.benchmarking.compare import Verdict
from compressor.evaluation import metrics
from compressor.evaluation.predictions import predict_artifact
from compressor.progress import Silent
from compressor.quantization import ladder, speed
from compressor.quantization.calibrate import calibration_indices
from compressor.quantization.config import Int8Config
from compressor.quantization.cpus import TARGETS, detect, runs_here
from compressor.quantization.document import Speed
from tests.conftest import compress
from tests.quantization.conftest import Student

QUICK: dict[str, Any] = {"calibration_images": 32, "correction_images": 8, "most_float": 1}


def measured(ratio: float, verdict: Verdict) -> Speed:
    return Speed(ratio=ratio, low=ratio - 0.01, high=ratio + 0.01, verdict=verdict, fp32_ms=1.0, int8_ms=ratio,
                 processes=5, noisy=False)  # fmt: skip


def timing(ratio: float, verdict: Verdict) -> Any:
    """A stopwatch that always says the same."""

    def against(*_: Any, **__: Any) -> Speed:
        return measured(ratio, verdict)

    return against


def climb(student: Student, path: Path, job: dict[str, Any] | None = None, **config: Any) -> ladder.Outcome:
    return ladder.climb(student.job(**(job or {})), path, Int8Config(**(QUICK | config)), Silent())


def test_an_int8_file_that_is_close_and_fast_is_kept_and_says_what_it_assumes(
    student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "against", timing(0.7, "faster"))
    path = tmp_path / "student.int8.onnx"
    outcome = climb(student, path, max_drop=5, target="x86")
    assert outcome.chosen is not None
    assert outcome.chosen.calibration in ("min-max", "percentile", "entropy")
    assert [rung.name for rung in outcome.rungs] == ["min-max", "percentile", "entropy"]
    assert "takes 0.70 of fp32's time" in outcome.reason
    artifact = session.load(path)
    told = artifact.metadata.int8
    assert told is not None
    assert (told["target"], told["activations"], told["seven_bit_weights"]) == ("x86", "uint8", True)
    assert told["validation_top1"] == outcome.chosen.top1
    assert told["calibration"] == outcome.chosen.calibration
    assert artifact.metadata.precision == "int8"
    seen = predict_artifact(artifact, student.dataset, "validation")
    assert metrics.top_k(seen.labels, seen.logits, 1) == outcome.chosen.top1
    assert [p.name for p in tmp_path.iterdir()] == ["student.int8.onnx"]
    for batch in (1, 3):
        assert artifact.logits(taken(student.inputs, slice(batch))).shape == (batch, 10)


def test_a_file_that_is_slower_is_refused_unless_it_is_wanted_for_its_size(
    student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "against", timing(1.4, "slower"))
    path = tmp_path / "student.int8.onnx"
    refused = climb(student, path, max_drop=5)
    assert refused.chosen is None
    assert "takes 1.40 of fp32's time" in refused.reason
    assert "--allow-slower" in refused.reason
    assert not path.exists()
    assert refused.rungs[-1].only_weighted
    kept = climb(student, path, max_drop=5, allow_slower=True)
    assert kept.chosen is not None
    assert path.is_file()


def test_a_drop_that_no_rung_keeps_to_is_refused_after_all_were_tried(student: Student, tmp_path: Path) -> None:
    outcome = climb(student, tmp_path / "s.onnx", job={"top1": 2.0})  # an accuracy that nothing reaches
    assert outcome.chosen is None
    assert "no int8 file keeps within 0.5 points" in outcome.reason
    assert list(tmp_path.iterdir()) == []
    names = [rung.name for rung in outcome.rungs]
    assert names[:3] == ["min-max", "percentile", "entropy"]
    assert names[3].endswith("+ bias correction")
    assert names[4].endswith("+ 1 in float")
    assert len(outcome.rungs[4].float_nodes) == 1
    assert outcome.rungs[4].bytes > outcome.rungs[0].bytes
    assert not any(rung.within for rung in outcome.rungs)


def test_a_file_for_another_cpu_is_judged_in_simulation_and_not_timed(
    student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("timed")

    monkeypatch.setattr(speed, "against", never)
    target = "arm" if detect() != "arm" else "x86"
    outcome = climb(student, tmp_path / "s.onnx", max_drop=5, target=target)
    assert outcome.chosen is not None
    assert f"made for {target}, not timed here" in outcome.reason
    integers = {i.data_type for i in onnx.load(tmp_path / "s.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in integers
    assert (onnx.TensorProto.UINT8 in integers) == (target != "arm")


def test_targets_are_told_by_their_instructions() -> None:
    assert detect("x86_64", ["avx2"]) == "x86"
    assert detect("AMD64", ["avx2", "avx_vnni"]) == "x86-vnni"
    assert detect("x86_64", ["avx512f", "avx512_vnni"]) == "x86-vnni"
    assert detect("aarch64", []) == detect("arm64", []) == "arm"
    assert TARGETS["x86-vnni"].seven_bit_weights is False
    assert runs_here(detect())


@pytest.mark.parametrize(
    ("ratio", "verdict", "kept"),
    [(0.7, "faster", True), (1.0, "same", True), (1.02, "undecided", True), (1.2, "undecided", False),
     (1.02, "slower", False)],
)  # fmt: skip
def test_not_slower_means_neither_by_verdict_nor_by_more_than_the_band(
    ratio: float, verdict: Verdict, kept: bool
) -> None:
    assert speed.acceptable(measured(ratio, verdict)) is kept
    assert speed.acceptable(None) is False


@pytest.mark.slow
def test_export_makes_an_int8_file_that_every_command_takes(run: Path) -> None:
    done = compress("export", run, "--precision", "int8", "--max-drop", "6", "--allow-slower", "--json")
    assert done.exit_code == 0, done.output
    (entry,) = json.loads(done.stdout)
    assert entry["file"] == "student.int8.onnx"
    assert entry["bytes"] < 0.36 * (run / "student.onnx").stat().st_size
    assert entry["int8"]["kept"] in {rung["name"] for rung in entry["int8"]["rungs"]}
    by_file = json.loads(compress("evaluate", run / "student.int8.onnx", "--split", "test", "--json").stdout)
    assert by_file["top1"] == entry["top1"]
    report = json.loads((run / "report.json").read_text())
    assert report["int8"]["kept"] == entry["int8"]["kept"]
    assert "## int8" in (run / "report.md").read_text()
    timed = compress("benchmark", run / "student.int8.onnx", "--processes", "1", "--samples", "10", "--json")
    assert timed.exit_code == 0, timed.output


@pytest.mark.slow
def test_a_refused_int8_file_is_told_in_table_exit_code_and_report(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "student.int8.onnx").write_bytes(b"of an earlier export")
    monkeypatch.setattr(speed, "against", timing(1.5, "slower"))
    refused = compress("export", run, "--precision", "int8", "--max-drop", "100")
    assert refused.exit_code == 1
    assert "takes 1.50 of fp32's time" in refused.output
    assert "min-max" in refused.output
    assert not (run / "student.int8.onnx").exists()
    assert all(e["precision"] != "int8" for e in json.loads((run / "exports.json").read_text()))
    warnings = json.loads((run / "report.json").read_text())["warnings"]
    assert any("No int8 file was made" in warning for warning in warnings)


def test_calibration_uses_training_images_alone(student: Student) -> None:
    chosen = calibration_indices(student.dataset, 50)
    assert len(chosen) == 50
    assert set(chosen) <= set(student.dataset.splits["train"].tolist())
    assert not set(chosen) & set(student.dataset.splits["validation"].tolist())
    assert len(np.unique(student.dataset.labels[chosen])) == 10
