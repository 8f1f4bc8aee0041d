"""Language models are taught in the house as it is: a corpus in; teacher, student and baseline out, from the same command."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from compressor.data.language import read
from compressor.data.loaders import training_loader
from compressor.distillation import chain
from compressor.distillation import fit as loop
from compressor.distillation import step as stepping
from compressor.distillation.targets import StoredTeacher
from compressor.errors import UsageError
from compressor.evaluation import metrics
from compressor.progress import Silent
from compressor.recipe import load as load_recipe
from compressor.workflows import distill as pipeline
from compressor.workflows.plan import Plan, begin, make_plan
from tests.conftest import compress
from tests.data.language.corpora import write
from tests.models.text import gpt2s

SETTINGS: dict[str, Any] = {
    "data.task": "lm", "teacher.model": "layers:2,hidden:32", "student.model": "layers:1", "data.options.length": 16,
    "data.options.vocabulary": 300, "teacher.epochs": 6, "stage.epochs": 2, "stage.optimizer.lr": 0.01, "threads": 1,
    "stage.targets.precision": "fp32", "stage.batch_size": 16,
}  # fmt: skip
QUICK = ["distill", "--quiet", *(part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}"))]


@pytest.fixture
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out export and benchmark, which train nothing."""
    monkeypatch.setattr(pipeline, "export_run", lambda *a, **k: {})
    monkeypatch.setattr(pipeline, "document", lambda *a, **k: {"rows": [], "host": None})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus and a run `whole` on it. Read only."""
    home = tmp_path_factory.mktemp("language")
    write(home / "corpus.txt")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setattr(pipeline, "export_run", lambda *a, **k: {})
        patch.setattr(pipeline, "document", lambda *a, **k: {"rows": [], "host": None})
        result = compress(*QUICK, "--data", "corpus.txt", "--name", "whole")
    assert result.exit_code == 0, result.output
    return home


def stage(home: Path, role: str, name: str = "whole") -> Path:
    return next((home / "runs" / name / "stages").glob(f"*-{role}-*")) / "seed0"


def planned(home: Path, **given: Any) -> Plan:
    own = {key.replace("__", "."): value for key, value in given.items()}
    return make_plan(load_recipe(None, SETTINGS | {"data.source": str(home / "corpus.txt")} | own), Silent())


def test_teacher_student_and_baseline_learn_what_comes_next(home: Path) -> None:
    results = {role: chain.finished(stage(home, role)) for role in ("teacher", "student", "baseline")}
    for role, result in results.items():
        assert result is not None
        seen = result.validation
        frequent = np.bincount(seen.labels)[seen.labels] / len(seen.labels)
        assert metrics.nll(seen.labels, seen.logits) < 0.8 * -np.log(frequent).mean(), role
        assert seen.logits.shape == (len(seen.labels), len(result.card.classes))
        assert result.card.origin == ("scratch" if role == "teacher" else "teacher"), "both begin as the same copy"
        assert result.card.calibration is None
    recipe = load_recipe(home / "runs" / "whole" / "recipe.yaml")
    assert (recipe.data.task, recipe.student.init) == ("lm", "teacher")
    assert (home / "runs" / "whole" / "report.html").is_file()


def test_copied_layers_learn_at_the_full_rate(home: Path) -> None:
    first = json.loads((stage(home, "student") / "metrics.jsonl").read_text().splitlines()[0])
    assert 0.002 < first["lr"] < 0.01, "about half of 0.01 after one of two epochs"


def test_the_best_epoch_is_the_one_that_is_surest(home: Path) -> None:
    lines = (stage(home, "teacher") / "metrics.jsonl").read_text().splitlines()
    nlls = [json.loads(line)["validation_nll"] for line in lines]
    seen = chain.finished(stage(home, "teacher"))
    assert seen is not None
    assert metrics.nll(seen.validation.labels, seen.validation.logits) == pytest.approx(min(nlls), rel=1e-6)


@pytest.mark.usefixtures("untold")
def test_a_run_that_was_stopped_goes_on_to_the_very_weights(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    step = stepping.step

    def watched(run: Any, batch: Any, position: int, **kwargs: Any) -> Any:
        if run.job.label.startswith("student") and position == 5:
            monkeypatch.setattr(loop, "step", step)
            os.kill(os.getpid(), signal.SIGTERM)
        return step(run, batch, position, **kwargs)

    monkeypatch.setattr(loop, "step", watched)
    assert compress(*QUICK, "--data", "corpus.txt", "--no-baseline", "--name", "parts").exit_code == 130
    resumed = compress("distill", "--resume", "parts", "--quiet")
    assert resumed.exit_code == 0, resumed.output
    whole, parts = (load_file(stage(home, "student", name) / "weights.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_stored_answers_are_the_live_ones_view_by_view(home: Path) -> None:
    plan = planned(home, stage__targets={"views": 2, "dtype": "float32", "dense_up_to": 1000})
    taught = next(stage for stage in plan.stages if stage.role == "student")
    result = chain.finished(stage(home, "teacher"))
    assert result is not None
    assert taught.config.targets.store
    live = result.as_teacher(calibrate=True)
    first = begin(plan, taught, 0, torch.device("cpu"), teacher=result.known)
    stored = chain.prepare_teacher(
        live,
        first,
        plan.dataset,
        taught.config,
        views=range(2),
        label="x",
        device=torch.device("cpu"),
        progress=Silent(),
    )
    assert isinstance(stored, StoredTeacher)
    loader, order = training_loader(plan.dataset, preprocessings=[live.preprocessing], batch_size=16, seed=0, views=2)
    for order.epoch in (0, 1):
        batch = next(iter(loader))
        said = (teacher.answer(batch, torch.device("cpu")).logits for teacher in (stored, live))
        assert next(said).numpy() == pytest.approx(next(said).numpy(), abs=1e-4)
        assert batch["label"].shape == (16 * 16,)


def test_defaults_are_what_suits_tokens_and_what_was_given_stays(home: Path) -> None:
    plain = planned(home, stage__batch_size=64).recipe.stage
    assert {name: term.weight for name, term in plain.objective.weighted().items()} == {"ce": 0.5, "kd": 0.5}
    assert plain.objective.kd is not None
    assert plain.objective.kd.temperature == 2
    assert (plain.batch_size, plain.targets.store) == (64, False), "64 windows of 16 tokens are 1024"
    own = planned(home, stage__objective={"ce": {}, "dist": {}}, stage__targets__views=3).recipe.stage
    assert set(own.objective.weighted()) == {"ce", "dist"}
    assert (own.targets.views, own.targets.store) == (3, True)
    longer = planned(home, stage__batch_size=64, data__options__length=64).recipe
    assert longer.stage.batch_size == 32
    assert longer.data.options["length"] == 64
    with pytest.raises(UsageError, match="rkd compares all rows of a batch"):
        planned(home, stage__objective={"ce": {}, "rkd": {}}, stage__batch_size=64)


def test_a_step_is_taken_in_parts_whose_logits_have_room(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert planned(home).recipe.stage.micro_batch is None
    classes = len(planned(home).dataset.classes)
    monkeypatch.setattr(read, "STEP", 5 * 16 * 4 * classes)
    found = planned(home).recipe.stage
    assert (found.batch_size, found.micro_batch, found.targets.batch_size) == (16, 5, 5)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert planned(home).recipe.stage.micro_batch is None, "a GPU has room for more"


def test_a_teacher_of_an_earlier_run_brings_its_tokens_and_windows(home: Path) -> None:
    settings = {"teacher.model": str(stage(home, "teacher")), "data.options": {"vocabulary": 999}}
    plan = planned(home, **{key.replace(".", "__"): value for key, value in settings.items()})
    card = chain.finished(stage(home, "teacher"))
    assert card is not None
    assert plan.dataset.classes == card.card.classes
    assert plan.recipe.data.options["length"] == 16
    first = begin(plan, plan.stages[0], 0, torch.device("cpu"))
    assert (first.training, first.trusted) == ("none", True)


def test_a_teacher_in_a_folder_is_taken_as_it_is_and_a_student_of_other_tokens_refused(
    home: Path, tmp_path: Path
) -> None:
    folder = gpt2s.write(tmp_path / "gpt2")
    plan = planned(home, teacher__model=str(folder))
    assert len(plan.dataset.classes) == len(gpt2s.TOKENS)
    assert plan.recipe.data.options["tokenizer"] == str(folder)
    other = gpt2s.write(tmp_path / "other", tokens=[*gpt2s.TOKENS[:-1], "zz", gpt2s.END])
    with pytest.raises(UsageError, match=f"{len(gpt2s.TOKENS) + 1} tokens, and the data .* {len(gpt2s.TOKENS)}"):
        planned(home, teacher__model=str(folder), student__model=str(other))
    with pytest.raises(UsageError, match="has no head of its own"):
        begin(planned(home, teacher__model=str(folder), teacher__tune="head"), plan.stages[0], 0, torch.device("cpu"))


def test_a_dry_run_names_a_student_that_has_too_many_layers(home: Path) -> None:
    result = compress(*QUICK, "--data", home / "corpus.txt", "--set", "student.model=layers:3", "--dry-run")
    assert result.exit_code == 2
    assert "more layers than its teacher" in result.output


@pytest.mark.slow
def test_trials_of_tokens_are_told_by_their_likelihood(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    result = compress("tune", *QUICK[1:], "--data", "corpus.txt", "--teacher", stage(home, "teacher"), "--trials", "3",
                      "--epochs", "1", "--name", "tuned")  # fmt: skip
    assert result.exit_code == 0, result.output
    found = json.loads((home / "runs" / "tuned" / "tune.json").read_text())
    ended = [json.loads(path.read_text()) for path in (home / "runs" / "tuned" / "trials").glob("*/trial.json")]
    assert found["best"]["nll"] == min(one["nll"] for one in ended)
    assert len({one["nll"] for one in ended}) > 1
