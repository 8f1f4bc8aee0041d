"""Texts go the whole street: a folder of Hugging Face's and a table in, one file that answers texts out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from compressor.artifact import session
from compressor.recipe import load as load_recipe
from tests.conftest import compress, plain_exporter
from tests.models.text import folders

QUICK = [
    "--quiet", "--epochs", "6", "--set", "teacher.epochs=12", "--set", "stage.optimizer.lr=0.1", "--set", "stage.batch_size=16",
    "--set", "stage.targets.precision=fp32", "--set", "benchmark.processes=1", "--set", "benchmark.samples=16",
    "--set", "benchmark.warmup_seconds=0", "--set", "benchmark.min_seconds=0",
]  # fmt: skip


def write_texts(path: Path, count: int = 240, *, pair: bool = False) -> Path:
    """Words of one letter; what is asked for stands in some of them."""
    rng = np.random.default_rng(0)
    lines = ["text,label" if not pair else "sentence1,sentence2,label"]
    for i in range(count):
        words = list(rng.choice(list("abcdefgh"), 3 + i % 9))
        label = ("loud", "plain", "quiet")[i % 3]
        words[int(rng.integers(len(words)))] = {"loud": "x", "plain": "y", "quiet": "z"}[label]
        lines.append(f"{' '.join(words)},{'a b,' if pair else ''}{label}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a teacher, data and a finished run. Read only."""
    home = tmp_path_factory.mktemp("texts")
    folders.write(home / "encoder")
    write_texts(home / "asked.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        plain_exporter(patch)
        result = compress(
            "distill", *QUICK, "--teacher", "encoder", "--student", "layers:1", "--data", "asked.csv", "--name", "x"
        )
    assert result.exit_code == 0, result.output
    return home


def test_a_student_by_its_teacher_learns_ships_and_is_told_from_its_copy(home: Path) -> None:
    report = json.loads((home / "runs" / "x" / "report.json").read_text())
    models = {model["role"]: model for model in report["models"]}
    assert set(models) == {"teacher", "student", "baseline"}
    assert all(model["top1"] > 0.6 for model in models.values())
    assert models["student"]["weights"] == models["baseline"]["weights"] == "teacher", "both begin as the same copy"
    assert load_recipe(home / "runs" / "x" / "recipe.yaml").student.init == "teacher"
    shipped = next(entry for entry in report["exports"] if entry["role"] == "student")
    assert shipped["parity"]["max_relative_error"] < 1e-3
    assert next(row["file"] for row in report["benchmark"]) == "student.onnx"


def test_the_file_answers_texts_of_any_length_and_in_company(home: Path) -> None:
    artifact = session.load(home / "runs" / "x" / "student.onnx")
    encode = artifact.metadata.preprocessing.encode
    texts = ["x", "a b c x d", " ".join("abcdefgh" * 3)]
    together = artifact.logits(encode(texts))
    alone = np.concatenate([artifact.logits(encode([text])) for text in texts])
    assert together == pytest.approx(alone, abs=1e-5)


def test_predict_takes_texts_files_of_texts_and_says_what_is_neither(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    (home / "lines.txt").write_text("a x b\nc z\n")
    answers = json.loads(compress("predict", "runs/x", "b y c d", "lines.txt", "--json", "--quiet").stdout)
    assert [a["image"] for a in answers] == ["b y c d", "lines.txt:1", "lines.txt:2"]
    assert [a["classes"][0]["class"] for a in answers] == ["plain", "loud", "quiet"]
    missing = compress("predict", "runs/x", "nothing.txt")
    assert missing.exit_code == 2
    assert "no file 'nothing.txt'" in missing.output


def test_the_report_shows_the_texts_that_student_and_teacher_disagree_on(home: Path) -> None:
    examples = json.loads((home / "runs" / "x" / "examples.json").read_text())
    lines = set((home / "asked.csv").read_text().replace(",", "\n").splitlines())
    assert all(example["text"] in lines for example in examples)


def test_a_copied_student_starts_as_its_teachers_layers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    plain_exporter(monkeypatch)
    teacher = home / "runs" / "x" / "stages" / "00-teacher-encoder" / "seed0"
    result = compress("distill", *QUICK, "--teacher", teacher, "--student", "layers:2", "--data", "asked.csv", "--name", "copied",
                      "--set", "stage.optimizer.lr=1e-12", "--no-baseline")  # fmt: skip
    assert result.exit_code == 0, result.output
    one = load_file(teacher / "weights.safetensors")
    other = load_file(home / "runs" / "copied" / "student.safetensors")
    for name in one:
        if not name.startswith("classifier"):
            assert np.allclose(one[name], other[name], atol=1e-6), name


@pytest.mark.parametrize("student", ["resnet18", "layers:3", "layers:0", "bert_tinyy"])
def test_a_student_that_can_not_be_is_refused_before_anything_is_trained(
    home: Path, monkeypatch: pytest.MonkeyPatch, student: str
) -> None:
    monkeypatch.chdir(home)
    result = compress("distill", *QUICK, "--teacher", "encoder", "--student", student, "--data", "asked.csv")
    assert result.exit_code == 2
    assert student in result.output
    assert "Traceback" not in result.output


@pytest.mark.slow
def test_pairs_go_the_same_way(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    plain_exporter(monkeypatch)
    write_texts(home / "pairs.csv", pair=True)
    result = compress(
        "distill", *QUICK, "--teacher", "encoder", "--student", "layers:1", "--data", "pairs.csv", "--name", "pairs"
    )
    assert result.exit_code == 0, result.output
    answers = json.loads(compress("predict", "runs/pairs", "c x\ta b", "--json", "--quiet").stdout)
    assert answers[0]["classes"][0]["class"] == "loud"
