"""Time as a budget: divided once by measured steps, repeated by a resume, told where it was not kept."""

from __future__ import annotations

import json
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import yaml

from compressor.distillation import chain, targets
from compressor.distillation.accelerator import accelerator
from compressor.distillation.config import StageConfig
from compressor.distillation.rates import Rate
from compressor.errors import RecipeError, UsageError
from compressor.progress import Silent
from compressor.recipe import load
from compressor.runnote import Budget
from compressor.workflows import budget
from compressor.workflows import distill as pipeline
from compressor.workflows import plan as planning
from compressor.workflows.plan import Stage
from tests.conftest import TINY, compress

SLOW = {"teacher": Rate(epoch=4.0), "assistant": Rate(epoch=2.0), "student": Rate(epoch=1.0, view=0.5, once=1.0),
        "baseline": Rate(epoch=1.0, once=1.0)}  # fmt: skip
FIXED = {"start": 10.0, "export": 20.0, "benchmark": 30.0, "report": 3.0}


def costs(*roles: str, seeds: int = 1, suggested: int = 30, **changed: Rate) -> list[budget.Cost]:
    rates = SLOW | changed
    return [
        budget.Cost(stage=Stage(index=i, role=role, model=role, epochs=suggested, config=StageConfig(),
                                seeds=tuple(range(seeds if role in ("student", "baseline") else 1))), rate=rates[role])
        for i, role in enumerate(roles)
    ]  # fmt: skip


def allot(given: str, found: list[budget.Cost]) -> Budget:
    return budget.allotted(given, FIXED, found)


@pytest.mark.parametrize("given", ["3m", "10m", "1h"])
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_division_fills_the_time_and_one_epoch_more_would_not_fit(given: str, seeds: int) -> None:
    found = allot(given, costs("teacher", "assistant", "student", "baseline", seeds=seeds))
    step = 2.0 + 0.5 + 2 * seeds  # one epoch of assistant, targets, students and baselines
    assert found.seconds - step < sum(found.planned.values()) <= found.seconds
    assert found.epochs["student"] == found.epochs["baseline"] == found.epochs["assistant"] >= 1
    assert 4 * found.epochs["teacher"] <= max(4, 0.4 * (found.seconds - 63))
    assert found.epochs["teacher"] <= 30, "no more than the data suggest"


def test_a_pilot_takes_its_share_out_of_the_students() -> None:
    found = costs("teacher", "student", "baseline", teacher=Rate(once=1.0))
    without = budget.allotted("10m", FIXED, found)
    piloted = budget.allotted("10m", FIXED, found, pilot=0.5)
    assert "pilot" not in without.planned
    assert piloted.planned["pilot"] == 0.5 * piloted.epochs["student"]
    assert piloted.epochs["student"] < without.epochs["student"]
    assert piloted.seconds - 3.5 < sum(piloted.planned.values()) <= piloted.seconds


def test_a_teacher_that_needs_no_training_leaves_its_share_to_the_student() -> None:
    trained = allot("5m", costs("teacher", "student", "baseline"))
    given = allot("5m", costs("teacher", "student", "baseline", teacher=Rate(once=1.0)))
    assert given.epochs["teacher"] == 0
    assert given.epochs["student"] > 1.5 * trained.epochs["student"]
    assert given.planned["teacher"] == 1.0, "it is still measured"


def test_a_time_that_is_too_short_is_refused_with_one_that_is_enough() -> None:
    found = costs("teacher", "student", "baseline", teacher=Rate(epoch=50.0))
    with pytest.raises(UsageError, match=r"a time of 1m is too short: .* takes 2\.0 min\.\nGive at least --time 3m"):
        allot("1m", found)
    assert allot("3m", found).epochs == {"teacher": 1, "student": 26, "baseline": 26}


def test_answers_that_would_not_fit_on_the_disk_are_paid_for_in_every_step() -> None:
    stored = allot("10m", costs("teacher", "student", seeds=3, student=Rate(epoch=1.0, view=2.0, view_bytes=10**6)))
    live = allot("10m", costs("teacher", "student", seeds=3, student=Rate(epoch=1.0, view=2.0, view_bytes=10**9)))
    assert stored.planned["targets"] > 0
    assert live.planned.get("targets", 0) == 0
    assert live.epochs["student"] == pytest.approx(stored.epochs["student"] * 5 / 9, abs=1)


@pytest.mark.parametrize("text", ["10", "ten minutes", "0m", "-5m", "1d", "", "10m30", "999999h"])
def test_a_time_is_written_with_its_units(text: str) -> None:
    with pytest.raises(RecipeError, match=r"time = .*such as 90s, 10m or 1h30m"):
        load(None, {"time": text})
    assert load(None, {"time": "1h30m"}).time == "1h30m"


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages of which two epochs fill 1500 s, however slow the machine is, and no export."""

    def rate(begin: Any, *_: Any, teacher: Any, **__: Any) -> Rate:
        return Rate(epoch=200.0, view=10.0 if teacher else 0.0)

    monkeypatch.setattr(budget, "rate", rate)
    monkeypatch.setattr(pipeline, "export_run", lambda *a, **k: {})
    monkeypatch.setattr(pipeline, "document", lambda *a, **k: {"rows": [], "host": None})


STREET = [
    "distill",
    "--teacher",
    "test_resnet",
    "--student",
    "test_efficientnet",
    *TINY,
    "--set",
    "stage.epochs=5",
    "--set",
    "data.limit=64",
]


@pytest.mark.usefixtures("rates")
def test_a_resume_repeats_the_division_and_the_report_sets_plan_beside_fact(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_stage = chain.run_stage

    def stopping(*args: Any, role: str, **kwargs: Any) -> Any:
        if role == "baseline":
            raise KeyboardInterrupt
        return run_stage(*args, role=role, **kwargs)

    monkeypatch.setattr(chain, "run_stage", stopping)
    stopped = compress(*STREET, "--time", "1500s", "--name", "timed")
    assert stopped.exit_code == 130, stopped.output
    said = " ".join(stopped.output.split())
    assert "the time of 1500s decides the epochs; left aside: stage.epochs = 5" in said
    run = workdir / "runs" / "timed"
    note = json.loads((run / "run.json").read_text())
    epochs = note["budget"]["epochs"]
    assert epochs == {"teacher": 2, "student": 2, "baseline": 2}
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    assert (recipe["time"], recipe["stage"]["epochs"]) == (None, epochs["student"])

    def again(*_: Any, **__: Any) -> Rate:
        raise AssertionError("measured again")

    monkeypatch.setattr(budget, "rate", again)
    monkeypatch.setattr(chain, "run_stage", run_stage)
    resumed = compress("distill", "--resume", "timed")
    assert resumed.exit_code == 0, resumed.output
    lines = next(run.glob("stages/02-*/seed0/metrics.jsonl")).read_text().splitlines()
    assert len(lines) == epochs["student"]
    report = json.loads((run / "report.json").read_text())
    assert report["budget"] == note["budget"]
    assert report["taken"]["start"] > note["taken"]["start"], "both starts count"
    assert report["taken"].keys() >= {"start", "teacher", "targets", "student", "baseline", "export", "benchmark"}
    sentence = f"Given 1500s, the run took {sum(report['taken'].values()):.0f} s"
    assert sentence in " ".join(resumed.output.split())
    assert all(sentence in (run / name).read_text() for name in ("report.md", "report.html"))


@pytest.mark.usefixtures("rates")
def test_the_divided_plan_is_the_one_that_its_recipe_makes() -> None:
    asked = load(None, {"teacher.model": "test_resnet", "student.model": "test_efficientnet", "data.limit": 160,
                        "time": "1500s", "overrides": {"student": {"epochs": 60, "batch_size": 16}}})  # fmt: skip
    planned = planning.make_plan(asked, Silent())
    divided = budget.divide(planned, asked, accelerator("cpu"), Silent(), since=monotonic())
    again = planning.make_plan(load(divided.recipe), Silent())
    assert again.stages == divided.stages
    assert again.recipe == divided.recipe
    assert divided.stages[1].config.batch_size == 16
    assert divided.stages[1].epochs not in (60, planned.stages[1].epochs)


@pytest.mark.usefixtures("workdir")
def test_epochs_and_a_time_together_are_refused_and_given_epochs_beat_a_files_time(tmp_path: Path) -> None:
    both = compress(*STREET, "--epochs", "3", "--time", "10m")
    assert both.exit_code == 2
    assert "--epochs can't be given beside it" in " ".join(both.output.split())
    file = tmp_path / "own.yaml"
    file.write_text("time: 10m\n")
    from compressor.workflows.choose import choose

    assert choose(file, {"stage.epochs": 3}, None, None)[0].time is None
    assert choose(file, {}, None, None)[0].time == "10m"


@pytest.mark.usefixtures("workdir")
def test_a_dry_run_measures_divides_and_leaves_nothing_behind() -> None:
    before = sorted(targets.root().glob("*")) if targets.root().is_dir() else []
    done = compress(*STREET, "--time", "10m", "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    own = plan["budget"]
    assert 0.8 * 600 < sum(own["planned"].values()) <= 600
    assert {s["role"]: s["epochs"] for s in plan["stages"]} == own["epochs"]
    assert "Of 10m: start" in done.stderr
    assert sorted(targets.root().glob("*")) == before
