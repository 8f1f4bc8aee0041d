"""A run folder from a stranger, or from a disk that failed: each document cut, emptied and changed."""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path

import pytest

from tests.conftest import compress
from tests.hostile import corpus

DOCUMENTS = [
    "run.json", "exports.json", "benchmark.json", "examples.json", "student.json", "int8.json", "groups.json", "shift.json",
    "stages/00-teacher-test_resnet/seed0/model.json", "stages/01-student-mobilenetv3_small_050/seed0/model.json",
    "stages/01-student-mobilenetv3_small_050/seed0/metrics.jsonl", "recipe.yaml", "report.json",
]  # fmt: skip

COMMANDS = {
    "report": ["report", "{run}"],
    "compare": ["report", "{run}", "{whole}", "--output", "{out}"],
    "evaluate": ["evaluate", "{run}", "--data", "nowhere/"],
    "evaluate the file": ["evaluate", "{run}/student.onnx", "--data", "nowhere/"],
    "export": ["export", "{run}", "--data", "nowhere/"],
    "resume": ["distill", "--resume", "{run}"],
    "teach": ["distill", "--teacher", "{run}", "--student", "test_resnet", "--data", "nowhere/", "--dry-run"],
    "regression": ["benchmark", "none.onnx", "--check-regression", "{run}/benchmark.json"],
    "newest": ["benchmark", "--data", "nowhere/", "--processes", "0"],
}
"""None of them gets to its long part, even with a whole run: the run is done, and the data are not there."""


@pytest.fixture
def own(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a finished run, with every document that a run may hold; the working folder is another."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    copied = Path(shutil.copytree(run, tmp_path / "own"))
    shutil.copy(Path(__file__).parents[1] / "documents" / "old" / "int8.json", copied)
    (copied / "groups.json").write_text('{"schema_version": 1, "ids": [], "columns": {}}')
    roles = {"teacher": 0.5, "student": 0.5, "baseline": 0.5}
    empty = {"samples": 9, "top5": 1, "nll": None, "ece": None, "ece_calibrated": None, "balanced_accuracy": None}
    models = {role: {"top1": 0.5, "per_class": [0.5] * 10} | empty for role in roles}
    rows = [{"kind": kind, "strength": i, "models": models} for i, kind in enumerate(["none", "noise"])]
    (copied / "shift.json").write_text(json.dumps({"schema_version": 1, "rows": rows, "mean": {"top1": roles}}))
    return copied


def run_on(own: Path, whole: Path, name: str, told: str) -> None:
    """A command on a damaged run ends well or with a message, within its time, and writes only where it may."""
    outside = {path: path.stat().st_mtime_ns for path in own.parent.rglob("*") if own not in path.parents}
    line = [part.format(run=own, whole=whole, out=own / "compared") for part in COMMANDS[name]]
    started = time.process_time()
    result = compress(*line)
    told += f"\n{name}: {result.output[-1500:]}"
    assert isinstance(result.exception, SystemExit | None), told
    assert result.exit_code in (0, 1, 2), told
    assert "not foreseen" not in result.output, told
    assert "Traceback" not in result.output, told
    assert result.exit_code == 0 or "error: " in result.stderr or "Usage" in result.stderr, told
    assert time.process_time() - started < 30, told
    now = {path: path.stat().st_mtime_ns for path in own.parent.rglob("*") if own not in path.parents}
    assert {p for p in now if now[p] != outside.get(p) and p.is_file()} == set(), told


@pytest.mark.parametrize("count", [24, pytest.param(600, marks=pytest.mark.slow)])
def test_a_damaged_document_is_said_by_every_command_that_reads_it(own: Path, run: Path, count: int) -> None:
    before = compress("report", own, "--quiet")
    assert before.exit_code == 0, before.output  # nothing is damaged yet
    for seed in range(count):
        rng = random.Random(seed)
        name = rng.choice(DOCUMENTS)
        path = own / name
        text = path.read_text()
        changed = corpus.recipe_text(rng) if name == "recipe.yaml" else corpus.damaged(text, rng) if name != \
            "stages/01-student-mobilenetv3_small_050/seed0/metrics.jsonl" else rng.choice(corpus.BROKEN)  # fmt: skip
        path.write_text(changed)
        run_on(own, run, rng.choice(list(COMMANDS)), f"{seed}: {name}: {changed:.600}")
        path.write_text(text)


@pytest.mark.parametrize("text", corpus.BROKEN[:8], ids=repr)
def test_a_run_note_that_is_none_is_named(own: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (own / "run.json").write_text(text)
    monkeypatch.chdir(own.parent)
    own.rename(own.parent / "runs-own")
    (own.parent / "runs").mkdir()
    (own.parent / "runs-own").rename(own.parent / "runs" / "own")
    for command in (["report"], ["report", "own"], ["export"], ["distill", "--resume", "own"]):
        result = compress(*command)
        assert result.exit_code == 1, result.output
        assert "run.json is damaged" in result.stderr


def test_a_role_that_this_version_does_not_know_comes_last(own: Path, run: Path) -> None:
    report = json.loads((own / "report.json").read_text())
    report["models"][0]["role"] = "stranger"
    (own / "report.json").write_text(json.dumps(report))
    run_on(own, run, "compare", "a stranger")
