"""Encoders are distilled on running text by masked words, and the result begins a classifier, by the same command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from compressor.data.loaders import training_loader
from compressor.distillation import chain
from compressor.distillation.targets import StoredTeacher
from compressor.errors import UsageError
from compressor.evaluation import metrics
from compressor.models.text.masked import HEAD
from compressor.progress import Silent
from compressor.recipe import load as load_recipe
from compressor.workflows import distill as pipeline
from compressor.workflows.plan import Plan, begin, make_plan
from tests.conftest import compress, plain_exporter
from tests.data.language.corpora import WORDS, write
from tests.models.text import folders

SETTINGS: dict[str, Any] = {
    "data.task": "mlm", "teacher.model": "layers:2,hidden:32", "student.model": "layers:1", "data.options.length": 16,
    "data.options.vocabulary": 300, "teacher.epochs": 5, "stage.epochs": 2, "stage.optimizer.lr": 0.005, "threads": 1,
    "stage.targets.precision": "fp32", "stage.batch_size": 8,
}  # fmt: skip
QUICK = ["distill", "--quiet", *(part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}"))]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, a run `whole` on it, and texts to classify. Read only."""
    home = tmp_path_factory.mktemp("masked")
    write(home / "corpus.txt", 2500)
    rng = np.random.default_rng(0)
    lines = [
        f"{' '.join([*rng.choice(WORDS[:-1], 4), ('rains', 'some')[i % 2]])},{('wet', 'dry')[i % 2]}"
        for i in range(120)
    ]
    (home / "asked.csv").write_text("\n".join(["text,label", *lines]) + "\n")
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


def blind(home: Path, labels: np.ndarray[Any, Any]) -> float:
    """The NLL of who knows how frequent each token is, and nothing else."""
    dataset = planned(home).dataset
    counts = np.bincount(dataset.setup.corpus.stream("train"), minlength=len(dataset.classes)) + 1
    return float(-np.log(counts[labels] / counts.sum()).mean())


def test_teacher_student_and_baseline_learn_what_is_hidden(home: Path) -> None:
    results = {role: chain.finished(stage(home, role)) for role in ("teacher", "student", "baseline")}
    for role, result in results.items():
        assert result is not None
        seen = result.validation
        assert metrics.nll(seen.labels, seen.logits) < 1.2 * blind(home, seen.labels), role
        assert result.card.origin == ("scratch" if role == "teacher" else "teacher"), "both begin as the same copy"
        assert result.card.modality == "masked"
        told = result.card.language["validation"]
        assert told.masked
        assert told.tokens == len(seen.labels), "all windows are kept of so short a text"
        assert told.nll == pytest.approx(metrics.nll(seen.labels, seen.logits), rel=1e-5)
    recipe = load_recipe(home / "runs" / "whole" / "recipe.yaml")
    assert {name: term.weight for name, term in recipe.stage.objective.weighted().items()} == {
        "ce": 2, "kd": 5, "cosine": 1
    }  # fmt: skip
    assert recipe.stage.objective.kd is not None
    assert recipe.stage.objective.kd.temperature == 2
    report = json.loads((home / "runs" / "whole" / "report.json").read_text())
    assert {model["role"] for model in report["models"] if model["language"]["test"]["nll"]} == set(results)
    assert report["foretold"]["difference_mean"] == pytest.approx(nll(report, "student") - nll(report, "baseline"))
    page = (home / "runs" / "whole" / "report.md").read_text()
    assert "hidden in windows of 16" in page
    assert "generate" not in page


def nll(report: dict[str, Any], role: str) -> float:
    found: float = next(model["language"]["test"]["nll"] for model in report["models"] if model["role"] == role)
    return found


def test_stored_answers_are_the_live_ones_row_by_row(home: Path) -> None:
    objective = {"ce": {}, "kd": {"temperature": 2}}
    plan = planned(
        home, stage__objective=objective, stage__targets={"views": 2, "dtype": "float32", "dense_up_to": 1000}
    )
    taught = next(stage for stage in plan.stages if stage.role == "student")
    result = chain.finished(stage(home, "teacher"))
    assert result is not None
    live = result.as_teacher(calibrate=True)
    first = begin(plan, taught, 0, torch.device("cpu"), teacher=result.known)
    stored = chain.prepare_teacher(
        live, first, plan.dataset, taught.config, views=range(2), label="x", device=torch.device("cpu"),
        progress=Silent(),
    )  # fmt: skip
    assert isinstance(stored, StoredTeacher)
    loader, order = training_loader(plan.dataset, preprocessings=[live.preprocessing], batch_size=8, seed=0, views=2)
    for order.epoch in (0, 1):
        batch = next(iter(loader))
        said = (teacher.answer(batch, torch.device("cpu")).logits for teacher in (stored, live))
        assert next(said).numpy() == pytest.approx(next(said).numpy(), abs=1e-4)
        assert batch["label"].shape == (8 * plan.dataset.rows,)


def test_what_was_learnt_of_running_text_begins_a_classifier(home: Path) -> None:
    run = str(home / "runs" / "whole")
    settings = {"data.source": str(home / "asked.csv"), "teacher.model": run, "student.model": run}
    plan = make_plan(load_recipe(None, settings), Silent())
    own = load_file(home / "runs" / "whole" / "student.safetensors")
    for role in ("teacher", "student"):
        first = begin(plan, next(s for s in plan.stages if s.role == role), 0, torch.device("cpu"))
        state = first.model.state_dict()
        assert (first.origin, first.fresh_head, first.training) == ("pretrained", True, "finetune")
        assert first.preprocessing.view_key.startswith(plan_tokens(home))
        assert set(own) - set(state) == set(HEAD)
        assert all(torch.equal(state[name], own[name]) for name in own if name not in HEAD)
        assert state["classifier.weight"].shape == (2, 32)
        assert set(state) - set(own) == {"pooler.weight", "pooler.bias", "classifier.weight", "classifier.bias"}


def plan_tokens(home: Path) -> str:
    card = json.loads((home / "runs" / "whole" / "student.json").read_text())
    result = chain.finished(stage(home, "teacher"))
    assert result is not None
    tokenizer = result.card.preprocessing.tokenizer  # type: ignore[attr-defined]
    assert card["preprocessing"]["tokenizer"]["vocabulary"] == tokenizer.vocabulary
    return str(tokenizer.digest)


def test_an_encoder_without_a_head_is_trained_here_with_a_fresh_one(home: Path, tmp_path: Path) -> None:
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "."]
    folder = folders.write(tmp_path / "encoder", folders.weights(folders.CONFIG | {"vocab_size": len(tokens)}),
                           vocab_size=len(tokens))  # fmt: skip
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    plan = planned(home, teacher__model=str(folder))
    assert plan.dataset.classes == tokens
    assert plan.recipe.data.options["tokenizer"] == str(folder)
    first = begin(plan, plan.stages[0], 0, torch.device("cpu"))
    assert (first.origin, first.fresh_head, first.training) == ("pretrained", True, "finetune")
    said: list[str] = []
    progress = Silent()
    progress.say = said.append  # type: ignore[method-assign,assignment]
    stage = plan.stages[0]
    taken = chain.taken_up(
        first, plan.dataset, stage.config, None, label="teacher", device=torch.device("cpu"), progress=progress
    )
    assert taken.fresh_head
    assert "without a head" in said[0]


def test_models_of_another_task_or_other_tokens_are_refused_in_a_sentence(home: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'layers:1' is a student by its teacher, and .* is no language model"):
        planned(home, data__task="lm", teacher__model=str(stage(home, "teacher")))
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "."]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n")
    options = {"length": 16, "tokenizer": str(tmp_path)}
    plan = planned(home, teacher__model=str(stage(home, "teacher")), data__options=options)
    with pytest.raises(UsageError, match=f"and the data has {len(tokens)}: its embedding is its head"):
        begin(plan, plan.stages[0], 0, torch.device("cpu"))


@pytest.mark.slow
def test_the_whole_street_ends_with_a_report_and_so_does_the_classifiers(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain_exporter(monkeypatch)
    brief = [
        "--set", "benchmark.processes=1", "--set", "benchmark.samples=16", "--set", "benchmark.warmup_seconds=0",
        "--set", "benchmark.min_seconds=0",
    ]  # fmt: skip
    result = compress(
        *QUICK, *brief, "--set", "teacher.epochs=40", "--data", home / "corpus.txt", "--name", "masked"
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    run = tmp_path / "runs" / "masked"
    assert (run / "report.html").is_file()
    student = chain.finished(next((run / "stages").glob("*-student-*")) / "seed0")
    assert student is not None
    seen = student.validation
    assert metrics.nll(seen.labels, seen.logits) < 0.9 * blind(home, seen.labels), (
        "the words around tell more than chance"
    )
    exported = json.loads((run / "exports.json").read_text())
    assert exported["exports"][0]["parity"]["max_relative_error"] < 1e-3
    teacher = next((run / "stages").glob("00-teacher-*")) / "seed0"
    result = compress(
        "distill", "--quiet", *brief, "--teacher", teacher, "--student", run, "--data", home / "asked.csv", "--epochs", "8",
        "--set", "teacher.epochs=8", "--set", "stage.optimizer.lr=0.05", "--set", "stage.batch_size=16", "--name", "fine",
        "--seeds", "1",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "runs" / "fine" / "report.json").read_text())
    assert all(model["top1"] > 0.8 for model in report["models"]), report["models"]
