"""What ships: the taught student, or the one without a teacher where validation says that it is better."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from compressor.data.config import DataConfig
from compressor.data.load import load_dataset
from compressor.evaluation.predictions import Predictions
from compressor.workflows import distill as pipeline
from compressor.workflows import ship
from tests.conftest import TINY, compress, fill

LABELS = np.array([0, 1, 2, 0])


def result(right: int, sure: float = 4.0) -> Any:
    """A finished stage that is right on so many of four validation rows."""
    logits = np.zeros((4, 3), np.float32)
    logits[np.arange(4), [label if i < right else (label + 1) % 3 for i, label in enumerate(LABELS)]] = sure
    seen = Predictions(ids=np.array([str(i) for i in range(4)]), labels=LABELS, logits=logits)
    return SimpleNamespace(card=SimpleNamespace(temperature=None, validation=None, language={}), validation=seen)


def chosen(student: list[Any], baseline: list[Any], wanted: Any = "better") -> str | None:
    found = {("student", i): [one] for i, one in enumerate(student)}
    found |= {("baseline", i): [one] for i, one in enumerate(baseline)}
    choice = ship.choose(found, wanted)
    return choice.role if choice else None


def test_the_better_one_on_validation_ships_over_all_seeds_and_a_tie_is_the_surer_ones() -> None:
    assert chosen([result(3)], [result(2)]) == "student"
    assert chosen([result(2)], [result(3)]) == "baseline"
    assert chosen([result(4), result(1)], [result(3), result(3)]) == "baseline", "the mean decides, not the best seed"
    assert chosen([result(4), result(2)], [result(3), result(3)]) == "student", "equal in all: the taught one"
    assert chosen([result(4, sure=1)], [result(4, sure=3)]) == "baseline", "as right, and surer of it"
    assert chosen([result(4, sure=3)], [result(4, sure=1)]) == "student"
    assert chosen([result(1)], [result(4)], "student") == "student", "the recipe asks for it"
    assert chosen([result(1)], []) is None
    assert chosen([result(1), result(4)], [result(3)]) == "baseline", "only seeds that both have are compared"


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose teacher is sure of the wrong class of every image."""
    from tests.conftest import plain_exporter

    home = tmp_path_factory.mktemp("noise")
    photos = fill(home / "photos", count=20)
    data = load_dataset(DataConfig(source=str(photos), image_size=32))
    wrong = np.roll(np.eye(3), 1, axis=1)[data.labels]
    np.savez(home / "noise.npz", files=np.array(data.ids), probabilities=wrong, classes=np.array(data.classes))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        plain_exporter(patch)
        patch.setattr(pipeline, "document", lambda *a, **k: {"rows": [], "host": None})
        done = compress("distill", "--teacher", home / "noise.npz", "--student", "test_resnet", "--data", photos,
                        "--name", "noise", *TINY, "--set", "data.image_size=32", "--set", "stage.epochs=4",
                        "--set", "stage.batch_size=8", "--set", "stage.objective={kd: {temperature: 1}}")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "What ships is the student without a teacher" in " ".join(done.output.split())
    return home / "runs" / "noise"


def test_a_teacher_of_noise_ends_with_the_untaught_student_shipping_and_the_report_says_so(noise: Path) -> None:
    stages = {path.parent.name.split("-")[1]: path for path in noise.glob("stages/*/seed0")}
    report = json.loads((noise / "report.json").read_text())
    shipped, alone = (load_file(path) for path in (noise / "student.safetensors",
                                                   stages["baseline"] / "weights.safetensors"))  # fmt: skip
    assert all((shipped[key] == alone[key]).all() for key in alone)
    choice = report["choice"]
    assert (report["shipped_role"], choice["role"]) == ("baseline", "baseline")
    assert choice["baseline_top1"] > choice["student_top1"]
    sentence = f"on validation it is right on {100 * choice['baseline_top1']:.2f} %"
    assert all(sentence in (noise / name).read_text() for name in ("report.md", "report.html"))
    by_role = {m["role"]: m for m in report["models"]}
    gain = by_role["student"]["top1"] - by_role["baseline"]["top1"]
    assert report["help"]["top1_gain_mean"] == pytest.approx(gain)
    assert gain < 0
    assert [e["top1"] for e in report["exports"] if e["file"] == "student.onnx"] == [by_role["baseline"]["top1"]]
    evaluated = json.loads(compress("evaluate", noise, "--json", "--split", "test").stdout)
    assert evaluated["top1"] == by_role["baseline"]["top1"]
    compared = json.loads(compress("report", noise, noise, "--output", noise.parent, "--json").stdout)
    assert compared["runs"][0]["top1"] == by_role["baseline"]["top1"]
    assert compared["runs"][0]["against_first"] is None


@pytest.mark.slow
@pytest.mark.usefixtures("torchscript")
def test_the_shipped_baseline_becomes_int8_under_the_teacher_of_the_run(noise: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(noise, tmp_path / "copy"))
    done = compress("export", copy, "--precision", "fp32,int8", "--qat", "--max-drop", "100", "--json")
    assert done.exit_code == 0, done.output
    entries = json.loads(done.stdout)
    assert [(e["role"], e["precision"]) for e in entries] == [("student", "fp32"), ("student", "int8")]
    report = json.loads((copy / "report.json").read_text())
    assert report["shipped_role"] == "baseline"
