"""Verdict sentences, accuracy beside speed, and regressions between two documents."""

from __future__ import annotations

import copy
import functools
import importlib.util
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compressor.benchmarking import accuracy, regression, verdict
from compressor.benchmarking.compare import Ratio
from compressor.benchmarking.document import Benchmark
from compressor.errors import UsageError
from compressor.evaluation.document import Gain
from compressor.evaluation.figures import right
from compressor.evaluation.predictions import Predictions
from tests.conftest import compress

FASTER = Ratio(0.59, 0.55, 0.63, "faster")
SLOWER = Ratio(1.31, 1.2, 1.4, "slower")
SAME = Ratio(1.0, 0.98, 1.02, "same")
OPEN = Ratio(0.95, 0.8, 1.1, "undecided")
NOISE = Gain(top1_gain=-0.002, low=-0.01, high=0.006, mcnemar_p=0.4)
LOSS = Gain(top1_gain=-0.031, low=-0.05, high=-0.01, mcnemar_p=0.001)
GAIN = Gain(top1_gain=0.02, low=0.005, high=0.035, mcnemar_p=0.01)


@pytest.mark.parametrize(
    ("speed", "size", "memory", "paired", "worth", "text"),
    [
        (FASTER, 0.26, None, NOISE, "worth it", "1.7× faster, 0.26× the size, −0.2 points (within noise)"),
        (FASTER, 0.26, 0.8, LOSS, "a trade", "1.7× faster, 0.26× the size, 0.80× the memory, −3.1 points"),
        (SLOWER, 0.26, None, NOISE, "not worth it", "1.3× slower, 0.26× the size, −0.2 points (within noise)"),
        (SAME, 0.5, None, NOISE, "worth it", "as fast, 0.50× the size, −0.2 points (within noise)"),
        (SAME, 1.0, 1.0, NOISE, "not worth it", "as fast, 1.00× the size"),
        (SAME, 0.5, None, LOSS, "a trade", "−3.1 points"),
        (OPEN, 0.26, None, NOISE, "undecided", "speed undecided (0.80 to 1.10 of the time)"),
        (OPEN, 0.26, 0.5, LOSS, "undecided", "speed undecided (0.80 to 1.10 of the time)"),
        (OPEN, 1.0, None, NOISE, "undecided", "speed undecided"),
        (OPEN, 1.0, None, LOSS, "undecided", "−3.1 points"),
        (FASTER, 0.26, None, None, "undecided", "accuracy not compared"),
        (FASTER, 1.0, None, GAIN, "worth it", "+2.0 points"),
    ],
)
def test_a_verdict_weighs_speed_size_memory_and_accuracy(
    speed: Ratio, size: float, memory: float | None, paired: Gain | None, worth: str, text: str
) -> None:
    found = verdict.judge(speed=speed, size=size, memory=memory, accuracy=paired)
    assert found[0] == worth
    assert text in found[1]


def predictions(wrong: int, count: int = 400) -> Predictions:
    labels = np.arange(count) % 4
    said = np.where(np.arange(count) < wrong, (labels + 1) % 4, labels)
    return Predictions(ids=np.arange(count).astype(str), labels=labels, logits=5 * np.eye(4, dtype=np.float32)[said])


CLASSES = ["a", "b", "c", "d"]
TEACHER, FP32, INT8 = "stages/00-teacher-x/seed0/model.onnx", "student.onnx", "student.int8.onnx"


def row(file: str, latency: float, against: Ratio | None, memory: float = 100.0) -> dict[str, Any]:
    raw = [[latency * (1 + 0.01 * k)] * 20 for k in range(5)]
    return {
        "file": file, "provider": "cpu", "batch": 1, "threads": 1, "p50_ms": latency, "peak_rss_mb": memory,
        "process_peak_rss_mb": [memory * (1 + 0.004 * k) for k in range(5)], "raw_ms": raw, "noisy": False,
        "ratio": against and {"reference": FP32, **asdict(against)}, "samples": 100,
    }  # fmt: skip


def document() -> dict[str, Any]:
    return copy.deepcopy(_document())


def load(changed: dict[str, Any]) -> Benchmark:
    return Benchmark.model_validate(changed)


@functools.cache
def _document() -> dict[str, Any]:
    """A teacher at 4 ms, its student at 1 ms and the student's int8 at 0.59 ms."""

    def facts(role: str, precision: str, size: int) -> dict[str, Any]:
        return {"role": role, "precision": precision, "bytes": size, "temperature": 1.5, "macs": 1, "name": "n",
                "size": 32}  # fmt: skip

    bare = {
        "reference": FP32,
        "models": {FP32: facts("student", "fp32", 4_000_000), INT8: facts("student", "int8", 1_040_000),
                   TEACHER: facts("teacher", "fp32", 40_000_000)},
        "rows": [row(FP32, 1.0, None), row(INT8, 0.59, FASTER),
                 row(TEACHER, 4.0, Ratio(4.0, 3.9, 4.1, "slower"), memory=300.0)],
        "host": {"cpu": "some CPU", "cores_usable": 2},
    }  # fmt: skip
    seen = {FP32: predictions(40), INT8: predictions(41), TEACHER: predictions(20)}
    return accuracy.join(load(bare), seen, CLASSES, "data/test").as_dict()


def measured(wrong: int, data: str) -> dict[str, Any]:
    return accuracy.measured(predictions(wrong), CLASSES, 1.0, data).as_dict()


def test_each_file_is_judged_against_what_it_came_from() -> None:
    found = {entry.file: entry for entry in verdict.verdicts(load(document()))}
    assert set(found) == {FP32, INT8}
    assert found[INT8].against == FP32
    assert found[INT8].text == (
        "int8 is worth it here: 1.7× faster, 0.26× the size, 1.00× the memory, −0.2 points (within noise)."
    )
    assert found[FP32].against == TEACHER
    assert found[FP32].text == (
        "The student is a trade here: 4.0× faster, 0.10× the size, 0.33× the memory, −5.0 points."
    )


def test_accuracy_is_joined_sample_by_sample() -> None:
    own = document()["models"][INT8]["accuracy"]
    assert own["top1"] == pytest.approx(1 - 41 / 400)
    assert own["fp32"]["agreement"] == pytest.approx(399 / 400)
    assert own["fp32"]["mcnemar_p"] == 1.0
    assert own["teacher"]["mcnemar_p"] < 0.001
    assert own["teacher"]["low"] < own["teacher"]["top1_gain"] < own["teacher"]["high"] < 0
    assert own["worst"][0]["top1"] <= own["worst"][-1]["top1"]
    assert document()["models"][TEACHER]["accuracy"]["teacher"] is None
    bits = right(predictions(41))
    assert (accuracy.unpack(own["right"], 400) == bits).all()


def test_predictions_of_other_images_are_not_compared() -> None:
    assert accuracy.against(predictions(3), predictions(3, count=200)) is None


def test_nothing_got_worse_in_the_same_document() -> None:
    found = regression.check(load(document()), load(document()))
    assert found.worse == []
    assert found.compared == 12  # latency and memory of three rows, size and accuracy of three files


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d["rows"][0].update(row(FP32, 1.1, None)), "latency of student.onnx on cpu, batch 1"),
        (lambda d: d["rows"][0].update(row(FP32, 1.0, None, memory=120.0)), "peak memory of student.onnx"),
        (lambda d: d["models"][INT8].update(bytes=2_000_000), "size of student.int8.onnx: 1,040,000 → 2,000,000"),
        (lambda d: d["models"][FP32].update(accuracy=measured(70, "data/test")),
         "accuracy of student.onnx: 0.9000 → 0.8250, McNemar's p"),
        (lambda d: d["models"][FP32].update(accuracy=measured(90, "others")),
         "accuracy of student.onnx: 0.9000 → 0.7750, on different samples"),
    ],
)  # fmt: skip
def test_what_got_worse_is_named_and_turned_around_it_is_better(change: Any, text: str) -> None:
    new = document()
    change(new)
    found = regression.check(load(document()), load(new))
    assert len(found.worse) == 1
    assert text in found.worse[0]
    assert regression.check(load(new), load(document())).worse == []


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["rows"][0].update(row(FP32, 1.02, None)),  # within the band
        lambda d: d["models"][FP32].update(accuracy=measured(42, "data/test")),
        lambda d: d["models"][FP32].update(bytes=4_000_100),
    ],
)
def test_a_change_within_its_interval_is_no_regression(change: Any) -> None:
    new = document()
    change(new)
    assert regression.check(load(document()), load(new)).worse == []


def test_another_machine_is_compared_by_size_and_accuracy_alone() -> None:
    new = document()
    new["host"]["cpu"] = "a faster CPU"
    new["rows"][0] = row(FP32, 9.0, None)
    found = regression.check(load(document()), load(new))
    assert found.worse == []
    assert "measured on some CPU, this is a faster CPU" in found.notes[0]


def test_documents_without_a_common_file_are_refused() -> None:
    new = document()
    new["models"] = {"x.onnx": new["models"][FP32]}
    new["rows"] = [row("x.onnx", 1.0, None)]
    with pytest.raises(UsageError, match=r"nothing to compare: the old document has student\.onnx"):
        regression.check(load(document()), load(new))


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{}", "is damaged: rows: Field required"), ("[1]", "is damaged: document"), ("{", "is damaged: Expecting"),
     ('{"rows": [{"file": "a"}]}', "is damaged: rows.0.provider: Field required"), (None, "No such file")],
)  # fmt: skip
def test_an_old_file_that_is_no_benchmark_is_a_usage_error(tmp_path: Path, text: str | None, reason: str) -> None:
    path = tmp_path / "old.json"
    if text is not None:
        path.write_text(text)
    result = compress("benchmark", "a.onnx", "--check-regression", path)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert str(path) in result.stderr


def test_a_run_is_measured_with_its_accuracy_and_judged(run: Path) -> None:
    document = json.loads((run / "benchmark.json").read_text())
    assert document["reference"] == "student.onnx"
    entries = json.loads((run / "exports.json").read_text())
    for entry in entries:
        measured = document["models"][entry["file"]]
        assert measured["accuracy"]["top1"] == entry["top1"]
        assert measured["bytes"] == entry["bytes"]
        assert measured["macs"] > 0
    student = document["models"]["student.onnx"]["accuracy"]
    assert student["teacher"]["agreement"] <= 1
    assert student["fp32"] is None
    judged = next(entry for entry in document["verdicts"] if entry["file"] == "student.onnx")
    assert judged["text"].startswith("The student is ")


@pytest.mark.slow
def test_a_timm_model_is_exported_on_the_fly(workdir: Path) -> None:
    result = compress("benchmark", "test_resnet", "--size", "32", "--processes", "1", "--samples", "10", "--json")
    assert result.exit_code == 0, result.output
    assert "test_resnet at size 32 with random weights" in result.stderr
    document = json.loads(result.stdout)
    assert document["models"]["test_resnet"]["accuracy"] is None
    assert document["rows"][0]["samples"] >= 10


def test_random_weights_have_no_accuracy_to_compare() -> None:
    changed = document()
    changed["models"][INT8]["role"] = "sketch"
    changed["models"][INT8]["accuracy"] = None
    found = {entry.file: entry for entry in verdict.verdicts(load(changed))}
    assert found[INT8].worth == "undecided"
    assert "accuracy unknown: random weights" in found[INT8].text


@pytest.mark.usefixtures("workdir")
def test_a_name_that_is_nothing_says_what_it_could_be(monkeypatch: pytest.MonkeyPatch) -> None:
    result = compress("benchmark", "resnet5")
    assert result.exit_code == 2
    assert "unknown model 'resnet5': did you mean" in result.stderr
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "timm" else find(name, *a))
    bare = compress("benchmark", "resnet50")
    assert bare.exit_code == 2
    assert "'resnet50' is no ONNX file and no run; to measure it as a timm model" in bare.stderr
    assert "pip install 'compressor[train]'" in bare.stderr


def test_a_regression_ends_the_command_with_three(run: Path, tmp_path: Path) -> None:
    own = tmp_path / "run"
    shutil.copytree(run, own)  # its recipe takes short turns
    arguments = ("benchmark", own, "--processes", "3", "--max-processes", "3", "--samples", "60", "--json")
    first = compress(*arguments)
    assert first.exit_code == 0, first.output
    old = json.loads(first.stdout)
    old["models"]["student.onnx"]["bytes"] //= 2
    for earlier in old["rows"]:
        earlier["raw_ms"] = [[sample / 20 for sample in process] for process in earlier["raw_ms"]]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old))
    result = compress(*arguments, "--check-regression", path)
    assert result.exit_code == 3, result.output
    assert "worse: latency of" in result.stderr
    assert "worse: size of" in result.stderr
    assert len(json.loads(result.stdout)["regressions"]) >= 2
