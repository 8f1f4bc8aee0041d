"""A run on running text: exported, timed token by token, reported by perplexity, and evaluated afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import compressor
from compressor.artifact.session import softmax
from compressor.artifact.text import language
from compressor.data.language.corpus import read_corpus
from compressor.data.language.options import Options
from compressor.errors import CompressorError, UsageError
from compressor.evaluation.document import LanguageEvaluation
from compressor.evaluation.predictions import Predictions
from compressor.files import read_document
from compressor.models import checkpoint
from compressor.progress import Silent
from compressor.quantization import language as integers
from compressor.recipe import load as load_recipe
from compressor.reporting.document import Report
from compressor.runnote import LanguageFigures
from compressor.workflows import ship
from tests.conftest import compress
from tests.data.language import corpora

LENGTH = 16


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run. Read only."""
    home = tmp_path_factory.mktemp("language")
    corpora.write(home / "corpus.txt")
    settings = [
        "seeds=1", "teacher.epochs=2", "stage.epochs=1", f"data.options.length={LENGTH}", "data.options.vocabulary=280",
        "data.limit=300", "benchmark.processes=1", "benchmark.samples=64", "benchmark.warmup_seconds=0",
        "benchmark.min_seconds=0", "benchmark.max_processes=1", "ship=student",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        done = compress(
            "distill", "--task", "lm", "--data", "corpus.txt", "--teacher", "layers:2,hidden:32", "--student", "layers:1",
            "--name", "run", "--quiet", *(part for setting in settings for part in ("--set", setting)),
        )  # fmt: skip
    assert done.exit_code == 0, done.output
    (home / "shown.txt").write_text(done.output)
    return home / "runs" / "run"


@pytest.fixture(scope="module")
def report(run: Path) -> Report:
    return read_document(run / "report.json", Report)


def by_hand(folder: Path, tokens: np.ndarray, stride: int) -> float:
    """Mean NLL of each token after the first, from a forward of its own in the first window that reaches it."""
    model, _ = checkpoint.load(folder)
    total = 0.0
    for place in range(1, len(tokens)):
        start = max(0, -(-(place - LENGTH) // stride)) * stride
        with torch.no_grad():
            logits = model(torch.tensor(tokens[None, start:place], dtype=torch.long))[0, -1].numpy()
        total -= np.log(softmax(logits)[tokens[place]])
    return total / (len(tokens) - 1)


def test_the_report_has_the_perplexity_of_the_whole_test_text(run: Path, report: Report) -> None:
    recipe = load_recipe(run / "recipe.yaml")
    corpus = read_corpus(recipe.data, Options(length=LENGTH))
    tokenizer = language.load(run / "student.onnx").about.tokenizer
    tokens = np.array(tokenizer.ids(corpus.texts["test"][0]))
    for model in report.models:
        folder = run / "stages" / model.stage / "seed0"
        test = model.language["test"]
        assert test.nll == pytest.approx(by_hand(folder, tokens, LENGTH // 2), rel=1e-4)
        assert test.nll is not None
        assert test.bits_per_byte is not None
        bytes_scored = corpus.bytes("test") - len(tokenizer.spelled(tokens[:1].tolist()))
        assert test.bits_per_byte == pytest.approx(test.nll * test.tokens / np.log(2) / bytes_scored)
        assert test.tokens == len(tokens) - 1
        assert model.language["validation"].nll != test.nll


def test_the_files_foretell_as_the_models_do_and_are_timed_token_by_token(run: Path, report: Report) -> None:
    told = {model.role: model.language["test"].nll for model in report.models}
    assert {entry.role: entry.language.nll for entry in report.exports if entry.language} == pytest.approx(
        {role: told[role] for role in ("student", "teacher")}, rel=1e-5
    )
    assert {row.file for row in report.benchmark} == {entry.file for entry in report.exports}
    assert all(row.batch == 1 and row.samples >= 64 for row in report.benchmark)
    (verdict,) = report.verdicts
    assert "perplexity" in verdict.text
    facts = json.loads((run / "benchmark.json").read_text())
    assert "time for a token, with a cache" in facts["warnings"][0]
    assert {one["task"] for one in facts["models"].values()} == {"lm"}


def test_the_help_is_in_nats_a_token_and_one_training_tells_nothing(report: Report) -> None:
    found = report.foretold
    assert found is not None
    told = {model.role: model.language["test"] for model in report.models}
    assert told["student"].nll is not None
    assert told["baseline"].nll is not None
    assert found.difference_mean == pytest.approx(told["student"].nll - told["baseline"].nll)
    assert found.interval is not None
    assert found.interval[0] < found.difference_mean < found.interval[1]
    assert (found.verdict, report.help) == ("one training", None)


def test_pages_and_screen_speak_of_perplexity_and_not_of_classes(run: Path, report: Report) -> None:
    shown = (run.parents[1] / "shown.txt").read_text()
    pages = [(run / f"report.{kind}").read_text() for kind in ("md", "html")]
    for text in (*pages, shown):
        assert "nats a token" in text
        assert "bits per byte" in text
        assert "top-1 on" not in text.lower()
        assert "Worst classes" not in text
    assert f"compress generate {Path('runs/run/student.onnx')}" in shown
    assert "compress speculate" in shown
    assert (report.errors.models, report.reliability, report.confusion, report.examples) == ([], [], None, [])
    assert len(report.continuations) == 3
    for one in report.continuations:
        assert set(one.texts) == {"text", "teacher", "baseline", "student"}
        assert "Written on" in pages[0]
    rebuilt = compressor.report(run, progress=Silent()).document
    assert isinstance(rebuilt, Report)
    assert rebuilt.foretold == report.foretold


def evaluated(named: Path, **settings: Any) -> LanguageEvaluation:
    found = compressor.evaluate(named, progress=Silent(), **settings).document
    assert isinstance(found, LanguageEvaluation)
    return found


def test_a_run_and_its_file_are_evaluated_on_their_own_test_text(run: Path, report: Report) -> None:
    own = next(model.language["test"] for model in report.models if model.role == "student")
    for named in (run / "student.onnx", run):
        found = evaluated(named)
        assert found.split == "test"
        assert found.language.nll == pytest.approx(own.nll, rel=1e-5)
        assert found.language.bits_per_byte == pytest.approx(own.bits_per_byte, rel=1e-5)
    other = evaluated(run / "student.onnx", split="validation")
    assert other.language.nll != pytest.approx(own.nll, rel=1e-3)


def test_another_text_is_read_whole_and_a_file_from_a_run_can_go_anywhere(run: Path, tmp_path: Path) -> None:
    text = corpora.prose(300, seed=5)
    (tmp_path / "other.txt").write_text(text)
    (tmp_path / "alone.onnx").write_bytes((run / "student.onnx").read_bytes())
    done = compress("evaluate", tmp_path / "alone.onnx", "--data", tmp_path / "other.txt", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    model = language.load(run / "student.onnx")
    tokens = np.array(model.about.tokenizer.ids(text))
    assert found["split"] == "all"
    assert found["language"]["tokens"] == len(tokens) - 1
    assert found["language"]["nll"] == pytest.approx(by_hand(run, tokens, LENGTH // 2), rel=1e-4)


def test_what_cant_be_evaluated_is_one_sentence(run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "alone.onnx").write_bytes((run / "student.onnx").read_bytes())
    for settings, message in (
        ({"data": tmp_path / "empty.txt"}, "has 0 characters"),
        ({"data": tmp_path}, r"no running text|characters"),
        ({"data": tmp_path / "nowhere.txt"}, "there is nothing there"),
        ({}, r"was trained on 'corpus', which is not here.\nName the text: --data corpus.txt"),
        ({"data": tmp_path / "empty.txt", "split": "dev"}, "unknown split 'dev'"),
        ({"data": tmp_path / "empty.txt", "shift": True}, "--shift damages things that have a class"),
    ):
        with pytest.raises(CompressorError, match=message):
            compressor.evaluate(tmp_path / "alone.onnx", progress=Silent(), **settings)
    with pytest.raises(UsageError, match="compress evaluate FILE --data TEXT"):
        compressor.benchmark(tmp_path / "alone.onnx", data=tmp_path / "empty.txt", progress=Silent())


def test_a_runs_model_is_exported_again_and_in_int8_as_far_as_perplexity_allows(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = compressor.export(run / "student.safetensors", data=run.parents[1] / "corpus.txt", output=tmp_path / "a.onnx",
                              progress=Silent())  # fmt: skip
    again = language.load(found.files["fp32"])
    assert again.about.generation.window == LENGTH
    assert again.about.tokenizer == language.load(run / "student.onnx").about.tokenizer
    given: Any = {"precision": "int8", "data": run.parents[1] / "corpus.txt", "output": tmp_path / "b.onnx"}
    (entry,) = compressor.export(run / "student.safetensors", **given, progress=Silent()).document
    smaller = language.load(tmp_path / "b.onnx")
    assert (entry.precision, smaller.about.precision) == ("int8", "int8")
    assert (tmp_path / "b.onnx").stat().st_size < 0.8 * (tmp_path / "a.onnx").stat().st_size
    whole = compressor.evaluate(tmp_path / "b.onnx", data=given["data"], split="test", progress=Silent()).document
    assert isinstance(whole, LanguageEvaluation)
    assert entry.language is not None
    assert whole.language.nll == pytest.approx(entry.language.nll)
    told = (smaller.about.int8 or {})["added_perplexity"]
    assert told != 0
    assert told < 0.01
    assert entry.parity is not None
    assert 1e-5 < entry.parity.max_relative_error < 0.2
    teacher = next((run / "stages").glob("00-teacher-*")) / "seed0" / "weights.safetensors"
    (entry,) = compressor.export(teacher, **given | {"output": tmp_path / "t.onnx"}, progress=Silent()).document
    whole = compressor.evaluate(tmp_path / "t.onnx", data=given["data"], split="test", progress=Silent()).document
    assert isinstance(whole, LanguageEvaluation)
    assert entry.language is not None
    assert whole.language.nll == pytest.approx(entry.language.nll), "the figures of the file, not of the model"
    monkeypatch.setattr(integers, "LOSS", -1.0)
    with pytest.raises(CompressorError, match=r"int8 adds .* to the perplexity .*: fp32 stays"):
        compressor.export(run / "student.safetensors", **given, progress=Silent())
    assert not (tmp_path / "b.onnx").exists(), "one that is refused leaves none of an earlier export"
    with pytest.raises(UsageError, match="exported in fp32 or int8"):
        compressor.export(run / "student.safetensors", **given | {"precision": "fp16"}, progress=Silent())


def stage(top1: float, nll: float) -> Any:
    """A finished language model's stage that names so many of four tokens first."""
    logits = np.zeros((4, 3), np.float32)
    logits[np.arange(4), [1 if i < 4 * top1 else 2 for i in range(4)]] = 1
    seen = Predictions(ids=np.array(list("abcd")), labels=np.ones(4, np.int64), logits=logits)
    told = LanguageFigures(nll=nll, perplexity=None, tokens=100, length=8, stride=4)
    return SimpleNamespace(card=SimpleNamespace(temperature=None, language={"validation": told}), validation=seen)


def test_what_ships_of_language_models_goes_by_the_whole_validation_text() -> None:
    results: Any = {
        ("student", 0): [stage(1.0, 3.2)], ("student", 1): [stage(1.0, 3.0)],
        ("baseline", 0): [stage(0.5, 3.0)], ("baseline", 1): [stage(0.5, 3.1)],
    }  # fmt: skip
    choice = ship.choose(results, "better")
    assert choice is not None
    assert (choice.role, choice.by) == ("baseline", "nll")
    assert choice.student_nll == pytest.approx(3.1)
    assert [ship.best_seed(results, role) for role in ("student", "baseline")] == [1, 0]
    results["student", 0] = [stage(0.0, 3.09)]
    choice = ship.choose(results, "better")
    assert choice is not None
    assert choice.role == "student"
