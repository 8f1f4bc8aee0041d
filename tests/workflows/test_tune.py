"""`compress tune`: searched on validation, resumable, pruned, and a recipe that distils with what it found."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest

from compressor.distillation.fit import fit
from compressor.objectives.config import ObjectiveConfig
from compressor.recipe import load as load_recipe
from compressor.workflows import distill as pipeline
from compressor.workflows import tune as tuning
from tests.conftest import TINY, compress

SMALL = ["--student", "mobilenetv3_small_050", "--quiet", *TINY]


def test_the_search_space_is_around_the_recipes_own() -> None:
    own = ObjectiveConfig.model_validate({"ce": {"weight": 0.1}, "kd": {"weight": 0.9}, "dist": {"weight": 2}})
    fixed = optuna.trial.FixedTrial({"alpha": 0.3, "kd.temperature": 2.0, "dist.weight": 5.0, "dist.temperature": 1.5})
    found = tuning.suggest(fixed, own)
    assert found.ce
    assert found.kd
    assert found.dist
    assert (found.ce.weight, found.kd.weight, found.kd.temperature) == (0.3, 0.7, 2.0)
    assert (found.dist.weight, found.dist.temperature) == (5.0, 1.5)
    assert found.hint is None
    with pytest.raises(ValueError, match=r"dist\.weight"):
        tuning.suggest(optuna.trial.FixedTrial({"alpha": 0.3, "kd.temperature": 2.0}), own)


def test_a_search_stops_resumes_and_writes_a_recipe(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def interrupted(*args: object, **more: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("compressor.distillation.trials.fit", interrupted)
    result = compress("tune", "--teacher", "test_resnet", *SMALL, "--trials", "3", "--name", "search")
    assert result.exit_code == 130, result.output
    assert "interrupted" in result.output
    result = compress("tune", "--resume", "runs/search", "--trials", "3", "--json", "--quiet")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    trials = found["trials"]
    assert len(trials) == 3
    assert trials[0]["params"] == found["own"]["params"] == {
        "alpha": 0.1, "kd.temperature": 4.0, "dist.weight": 2.0, "dist.temperature": 1.0, "hint.weight": 4.0,
    }  # fmt: skip
    assert len({json.dumps(t["params"]) for t in trials}) == 3
    complete = [t for t in trials if t["state"] == "complete"]
    assert found["best"]["top1"] == max(t["top1"] for t in complete)
    assert found["best"]["top1"] >= found["own"]["top1"]
    tuned = load_recipe(workdir / "runs/search/tuned.yaml")
    assert tuned.stage.objective.kd
    assert tuned.stage.objective.kd.temperature == pytest.approx(found["best"]["params"]["kd.temperature"], rel=1e-3)
    # What it wrote can be distilled from, without training the teacher again; tuning is not the newest run.
    monkeypatch.setattr(pipeline, "export_run", lambda *a, **k: {})
    monkeypatch.setattr(pipeline, "document", lambda *a, **k: {"rows": [], "host": None})
    assert compress("report").exit_code == 2
    result = compress("distill", "--recipe", "runs/search/tuned.yaml", "--no-baseline", "--name", "after", "--quiet")
    assert result.exit_code == 0, result.output
    card = json.loads(next((workdir / "runs/after").glob("stages/00-*/seed0/model.json")).read_text())
    assert "search" in card["origin"]


def test_a_hopeless_trial_does_not_end_the_search(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from compressor.errors import CompressorError

    calls: list[object] = []

    def diverging(*args: object, **more: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise CompressorError("the loss is no longer finite")
        return fit(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("compressor.distillation.trials.fit", diverging)
    result = compress("tune", "--teacher", "test_resnet", *SMALL, "--trials", "2", "--json")
    assert result.exit_code == 0, result.output
    assert [t["state"] for t in json.loads(result.stdout)["trials"]] == ["complete", "pruned"]


def test_an_override_that_would_overrule_the_search_is_refused(workdir: Path) -> None:
    (workdir / "r.yaml").write_text("overrides: {student: {objective: {ce: {}}}}\n")
    result = compress("tune", "--teacher", "test_resnet", *SMALL, "--recipe", "r.yaml")
    assert result.exit_code == 2
    assert "overrides.student.objective" in result.output


def test_what_was_stopped_is_tried_again_once_and_the_recipes_own_values_come_first() -> None:
    import optuna

    own = {"alpha": 0.1}
    study = optuna.create_study()
    tuning._enqueue_stopped(study, own)
    for _ in range(2):  # stopped twice, in the very first trial
        trial = study.ask()
        assert trial.suggest_float("alpha", 0.02, 0.9) == 0.1
        tuning._enqueue_stopped(study, own)
    tuning._enqueue_stopped(study, own)
    assert len(study.get_trials(states=(optuna.trial.TrialState.WAITING,))) == 1
    trial = study.ask()
    assert trial.suggest_float("alpha", 0.02, 0.9) == 0.1
    study.tell(trial, 1.0)
    tuning._enqueue_stopped(study, own)
    assert not study.get_trials(states=(optuna.trial.TrialState.WAITING,))
