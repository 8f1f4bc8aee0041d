"""A student for a budget, on a modality whose trainings take a tenth of a second; trials and timings are planted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compressor.benchmarking.document import Benchmark, ModelFacts, Row
from compressor.benchmarking.students import Candidate, Limits, StudentFile, Students
from compressor.distillation import fit, trials
from compressor.distillation.trials import Outcome
from compressor.evaluation.predictions import Predictions
from compressor.recipe import load as load_recipe
from compressor.workflows import distill as street
from compressor.workflows import screening, selecting
from tests.conftest import compress
from tests.modality.conftest import QUICK, write_table

FINALISTS = ["mlp:24", "mlp:8", "mlp:4"]
P50 = {"mlp:24": 3.0, "mlp:8": 2.0, "mlp:4": 1.0}
"""Milliseconds of a trained student's file."""


@pytest.fixture(autouse=True)
def _only_training(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither exported nor timed: what the benchmark says is `P50`."""
    monkeypatch.setenv("COMPRESS_CACHE", str(workdir / "cache"))

    def timed(files: dict[str, Path], *_: Any, **__: Any) -> Benchmark:
        name = json.loads((files["student.onnx"].parent / "student.json").read_text())["architecture"]["name"]
        p50 = P50[name]
        row = Row(file="student.onnx", provider="cpu", threads=1, batch=1, samples=10, processes=5, p50_ms=p50,
                  p50_interval_ms=(0.9 * p50, 1.1 * p50), peak_rss_mb=80.0, raw_ms=[[p50] * 9])  # fmt: skip
        return Benchmark(reference="student.onnx", models={"student.onnx": ModelFacts(bytes=10_000)}, rows=[row])

    monkeypatch.setattr(street, "export_run", lambda planned, run, *_: {"student.onnx": run.student})
    monkeypatch.setattr(street, "document", timed)
    write_table(workdir / "x.table.csv")


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Trials that are right on so many of 200 samples; gives which were run."""
    right = {"mlp:24": 150, "mlp:8": 149, "mlp:4": 100}
    ran: list[tuple[str, int]] = []

    def run(*_: Any, label: str, epochs: int, folder: Path, **__: Any) -> Outcome:
        name = label.removeprefix("pilot: ")
        ran.append((name, epochs))
        labels = np.zeros(200, dtype=np.int64)
        logits = np.zeros((200, 3), dtype=np.float32)
        logits[: right[name], 0] = 1
        logits[right[name] :, 1] = 1
        ids = np.array([str(i) for i in range(200)])
        return Outcome(seen=Predictions(ids=ids, labels=labels, logits=logits), seconds=1.0)

    monkeypatch.setattr(trials, "run", run)
    return ran


def distill(name: str, *more: str, latency: str = "10ms", finalists: list[str] = FINALISTS) -> Any:
    chosen = ["--set", f"student.finalists={json.dumps(finalists)}"] if finalists else []
    given = [
        *QUICK,
        "--epochs",
        "1",
        "--set",
        "teacher.epochs=1",
        "--data",
        "x.table.csv",
        "--no-baseline",
        "--set",
        "seeds=1",
        "--max-latency",
        latency,
    ]
    return compress("distill", *given, *chosen, "--name", name, *more)


def note(name: str) -> Students:
    return Students.model_validate(json.loads(Path(f"runs/{name}/students.json").read_text()))


def test_finalists_are_halved_and_of_equals_the_cheapest_is_trained(planted: list[tuple[str, int]]) -> None:
    result = distill("one", "--epochs", "16")
    assert result.exit_code == 0, result.output
    assert planted == [("mlp:24", 1), ("mlp:8", 1), ("mlp:4", 1), ("mlp:24", 2), ("mlp:8", 2)]
    found = note("one")
    assert found.ranking == ["mlp:8", "mlp:24", "mlp:4"]
    assert "mlp:24 (0.750 on validation) is not ahead of it (0.745) beyond chance" in found.reason
    assert {trial.seed for trial in found.trials} == {0}
    assert (found.chosen, found.ships) == ("mlp:8", "student.onnx")
    resolved = load_recipe(Path("runs/one/recipe.yaml"))
    assert (resolved.student.model, resolved.student.finalists) == ("mlp:8", [])
    assert resolved.student.budget.max_latency_ms == 10
    stages = sorted(path.name for path in Path("runs/one/stages").iterdir())
    assert stages == ["00-teacher-mlp-64", "01-student-mlp-8"]
    told = json.loads(Path("runs/one/run.json").read_text())["student"]
    assert told["name"] == "mlp:8"
    assert told["measured"] == ["mlp:8: fp32: 2.00 ms (up to 2.20) of 10 ms"]


def test_a_student_that_is_over_when_measured_again_gives_way_to_the_next(
    planted: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked_at(planned: Any, run: Any, *_: Any) -> dict[str, Path]:
        (run.path / "stages" / ".DS_Store").touch()  # by a file manager
        return {"student.onnx": run.student}

    monkeypatch.setattr(street, "export_run", looked_at)
    result = distill("two", latency="2.1ms")
    assert result.exit_code == 0, result.output
    found = note("two")
    assert [(m.name, m.fits) for m in found.measurements] == [("mlp:8", False), ("mlp:24", False), ("mlp:4", True)]
    assert "2.00 ms (up to 2.20), 1.05 times 2.1 ms" in found.measurements[0].why
    assert found.chosen == "mlp:4"
    assert sorted(p.name for p in Path("runs/two/refused").iterdir()) == ["01-student-mlp-24", "01-student-mlp-8"]
    assert json.loads(Path("runs/two/student.json").read_text())["architecture"]["name"] == "mlp:4"
    report = json.loads(Path("runs/two/report.json").read_text())
    assert [m["name"] for m in report["models"]] == ["mlp:64", "mlp:4"]
    assert report["students"]["chosen"] == "mlp:4"
    text = Path("runs/two/report.md").read_text()
    assert "mlp:4 keeps to the budget (at most 2.1 ms, as fp32 or int8): fp32: 1.00 ms (up to 1.10) of 2.1 ms" in text
    assert "1.05 times 2.1 ms" in text
    planted.clear()
    again = compress("distill", "--recipe", "runs/two/recipe.yaml", "--name", "again", "--quiet")
    assert again.exit_code == 0, again.output
    assert planted == [], "the resolved recipe has the choice"


def test_where_no_trained_student_keeps_to_the_budget_the_nearest_is_named(planted: list[tuple[str, int]]) -> None:
    result = distill("none", latency="0.5ms")
    assert result.exit_code == 1
    said = " ".join(result.output.split())
    assert (
        "no trained student keeps to the budget: the nearest is mlp:4 (fp32: 1.00 ms (up to 1.10), 2.20 times 0.5 ms)"
        in said
    )
    assert json.loads(Path("runs/none/run.json").read_text())["status"] == "failed"
    assert Path("runs/none/report.md").is_file()
    assert note("none").chosen is None


def test_a_student_that_is_named_is_held_to_its_budget(planted: list[tuple[str, int]]) -> None:
    assert distill("held", "--student", "mlp:4", finalists=[]).exit_code == 0
    assert note("held").chosen == "mlp:4"
    result = distill("over", "--student", "mlp:4", latency="1ms", finalists=[])
    assert result.exit_code == 1
    assert "1.10 times 1 ms" in result.output
    assert planted == []


def test_speed_that_was_screened_decides_between_equals(planted: list[tuple[str, int]], monkeypatch: Any) -> None:
    limits = Limits(max_latency_ms=10.0)
    files = {name: StudentFile(precision="fp32", bytes=1000, p50_ms=p50) for name, p50 in
             {"mlp:24": 1.0, "mlp:8": 3.0}.items()}  # fmt: skip
    found = Students(
        classes=3, image_size=0, limits=limits,
        candidates=[Candidate(name=name, files=[file], standing="frontier", expected=0.5) for name, file in files.items()],
    )  # fmt: skip
    monkeypatch.setattr(screening, "screen", lambda *a, **k: found)
    monkeypatch.setattr(selecting, "refuse_others_than_images", lambda source: None)
    monkeypatch.setattr(selecting, "_task", lambda dataset, stem: None)
    result = distill("auto", "--student", "auto", finalists=[])
    assert result.exit_code == 0, result.output
    assert note("auto").ranking == ["mlp:24", "mlp:8"]
    assert note("auto").candidates == found.candidates


def test_a_budget_that_no_candidate_keeps_to_names_what_the_recipe_has(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Candidate(name="mlp:8", files=[StudentFile(precision="fp32", bytes=1000, p50_ms=30.0)], standing="over")
    found = Students(classes=3, image_size=0, limits=Limits(max_latency_ms=10.0), candidates=[slow])
    monkeypatch.setattr(screening, "screen", lambda *a, **k: found)
    monkeypatch.setattr(selecting, "refuse_others_than_images", lambda source: None)
    monkeypatch.setattr(selecting, "_task", lambda dataset, stem: None)
    result = distill("none", "--student", "auto", finalists=[])
    assert result.exit_code == 2, result.output
    said = " ".join(result.output.split())
    assert "the nearest is mlp:8 (fp32: 30.00 ms, 3.00 times 10 ms)" in said
    assert "student.candidates" in said
    assert "other --candidates" not in said


def test_trials_learn_from_one_store_and_a_stopped_choice_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Any = fit.fit
    calls: list[int] = []

    def stopped(*args: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args, **more)

    whole = distill("whole", "--epochs", "8")
    assert whole.exit_code == 0, whole.output
    assert [row["kind"] for row in json.loads(compress("cache", "ls", "--json").stdout)] == ["targets"]
    monkeypatch.setattr("compressor.distillation.trials.fit", stopped)
    assert distill("part", "--epochs", "8").exit_code == 130
    monkeypatch.setattr("compressor.distillation.trials.fit", real)
    assert compress("distill", "--resume", "runs/part", "--quiet").exit_code == 0

    def figures(name: str) -> Any:
        return [(t.name, t.epochs, t.top1, t.nll) for t in note(name).trials], note(name).ranking

    assert figures("part") == figures("whole")


@pytest.mark.parametrize("count", [2, 3, 4, 6, 9])
@pytest.mark.parametrize("epochs", [1, 3, 12, 30, 100])
def test_rungs_keep_within_their_share_where_that_is_possible(count: int, epochs: int) -> None:
    plan = selecting.rungs(count, epochs, 0.25)
    assert plan.cost <= max(0.25 * count * epochs, count)
    assert plan.epochs[-1] <= epochs
    if epochs >= 30:
        assert plan.width(len(plan.epochs) - 1) == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ["--student", "auto"],
            "student 'auto' is chosen for a budget: give --max-latency, --max-size or --max-memory",
        ),
        (
            ["--student", "auto", "--max-size", "4MB", "--time", "5m"],
            "--time can't divide what choosing a student takes",
        ),
        (["--student", "auto", "--max-size", "4MB"], "'x.table.csv' holds tables; name the student"),
        (["--precision", "int8"], "what a student with a limit may ship as: give --max-latency"),
        (["--max-latency", "soon"], "student.budget.max_latency_ms = 'soon': write a number above 0 with its unit"),
    ],
)
def test_what_cannot_be_chosen_is_said_before_anything_is_trained(given: list[str], said: str) -> None:
    result = compress("distill", "--teacher", "mlp:64", "--data", "x.table.csv", *given)
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.output.split())
    assert not Path("runs").exists()


def test_only_distill_chooses() -> None:
    result = compress("tune", "--teacher", "mlp:64", "--data", "x.table.csv", "--student", "auto")
    assert result.exit_code == 2, result.output
    assert "name the student here" in result.output


def test_a_dry_run_says_what_is_still_to_be_chosen() -> None:
    result = distill("dry", "--dry-run", "--epochs", "16")
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "the student will be one of mlp:24, mlp:8, mlp:4: the plan is mlp:24's, and choosing takes 7 epochs" in said
