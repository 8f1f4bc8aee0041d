"""The street under teachers that come as files: said, stored, resumed, reported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from compressor.data.config import DataConfig
from compressor.data.load import load_dataset
from compressor.distillation import chain, targets
from compressor.recipe import load as load_recipe
from compressor.workflows import distill as pipeline
from tests.conftest import TINY, compress, paint
from tests.distillation.test_sources import file, listing

STUDENT = ["--student", "mobilenetv3_small_050", *TINY, "--set", "data.image_size=32", "--set", "stage.batch_size=8"]


def distill(photos: Path, teacher: str | Path, *more: str | Path, code: int = 0) -> str:
    done = compress("distill", "--teacher", teacher, "--data", photos, *STUDENT, *more)
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out export and benchmark."""
    monkeypatch.setattr(pipeline, "export_run", lambda *a, **k: {})
    monkeypatch.setattr(pipeline, "document", lambda *a, **k: {"rows": [], "host": None})


@pytest.mark.usefixtures("torchscript")
def test_a_foreign_file_teaches_and_is_measured_and_reported(workdir: Path, photos: Path) -> None:
    path = file(workdir / "theirs.onnx", softmax=True)
    said = " ".join(distill(photos, path, "--name", "given", "--no-baseline").split())
    assert "theirs.onnx: 24 px, its rows sum to 1: probabilities" in said
    assert "gives logits alone: hint of the default objective has nothing to read" in said
    run = Path("runs/given")
    assert sorted(load_recipe(run / "recipe.yaml").stage_for("student", "x").objective.weighted()) == [
        "ce",
        "dist",
        "kd",
    ]
    report = json.loads((run / "report.json").read_text())
    teacher = report["models"][0]
    assert (teacher["role"], teacher["name"], teacher["params"], teacher["macs"]) == ("teacher", "theirs", 9, None)
    assert teacher["top1"] == 1
    assert any("Nothing says what the teacher was trained on" in warning for warning in report["warnings"])
    exported = next(e for e in report["exports"] if e["role"] == "teacher")
    assert exported["top1"] == 1
    assert any(row["file"] == exported["file"] for row in report["benchmark"])
    assert list(targets.root().glob("*/about.json")), "asked once, and stored"


@pytest.mark.usefixtures("quick")
def test_a_table_teaches_through_mixup_and_a_stop(workdir: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = load_dataset(DataConfig(source=str(photos), image_size=32))
    path = listing(workdir / "api.csv", dataset, without="test")
    run_stage = chain.run_stage

    def stopping(*args: object, role: str, **kwargs: object) -> object:
        if role == "student":
            raise KeyboardInterrupt
        return run_stage(*args, role=role, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(chain, "run_stage", stopping)
    assert "test samples are not in it" in distill(
        photos, path, "--set", "data.augment={mixup: 0.5}", "--name", "table", code=130
    )
    monkeypatch.setattr(chain, "run_stage", run_stage)
    done = compress("distill", "--resume", "runs/table")
    assert done.exit_code == 0, done.output
    assert "teacher api · seed 0: already finished" in done.output
    report = json.loads(Path("runs/table/report.json").read_text())
    teacher, student = report["models"][0], report["models"][1]
    for key in ("params", "macs", "bytes", "top1", "ece"):
        assert teacher[key] is None, key
    assert teacher["validation"]["top1"] == 1
    assert student["top1"] is not None
    assert student["teacher_agreement"] is None
    assert "| teacher | api |" in Path("runs/table/report.md").read_text()


def test_terms_that_a_person_asked_for_are_refused_under_a_teacher_without_features(
    workdir: Path, photos: Path
) -> None:
    path = file(workdir / "theirs.onnx")
    said = distill(photos, path, "--set", "stage.objective={ce: {}, kd: {}, rkd: {}}", code=2)
    assert "gives logits alone, and rkd of the objective would read its features" in " ".join(said.split())


def test_a_dry_run_plans_with_a_table(workdir: Path, photos: Path) -> None:
    path = listing(workdir / "api.csv", load_dataset(DataConfig(source=str(photos), image_size=32)))
    found = compress("distill", "--teacher", path, "--data", photos, *STUDENT, "--dry-run", "--json")
    assert found.exit_code == 0, found.output
    stages = json.loads(found.stdout)["stages"]
    assert (stages[0]["model"], stages[0]["params"], stages[0]["seconds"]) == ("api", None, 0)
    assert "hint" not in stages[1]["objective"]
    assert np.isfinite(stages[1]["seconds"])


@pytest.mark.usefixtures("quick")
def test_a_table_speaks_to_unlabelled_images_by_their_own_names(workdir: Path, photos: Path) -> None:
    for i in range(6):
        paint(workdir / "more" / "any" / f"{i:03d}.png", 0, 100 + i)
    dataset = load_dataset(DataConfig(source=str(photos), image_size=32))
    path = listing(workdir / "api.csv", dataset)
    with path.open("a") as table:
        for i, sure in enumerate((0.98, 0.98, 0.98, 0.4)):  # two of six it doesn't know, of one it isn't sure
            table.write(f"any/{i:03d}.png,{sure},0,{1 - sure},0\n")
    said = distill(
        photos, path, "--unlabeled", workdir / "more", "--set", "data.unlabeled_confidence=0.9", "--no-baseline",
        "--set", "teacher.calibrate=false", "--name", "more",
    )  # fmt: skip
    assert "2 of 6 unlabeled samples are not in it" in " ".join(said.split())
    assert "student: learns from 3 unlabelled samples too" in said
    shifted = compress("evaluate", "runs/more", "--shift", "--json", "--quiet")
    assert shifted.exit_code == 0, shifted.output
    assert set(json.loads(shifted.stdout)["shift"][0]["models"]) == {"student"}


def test_a_table_among_several_is_refused_before_anything_is_trained(workdir: Path, photos: Path) -> None:
    path = listing(workdir / "api.csv", load_dataset(DataConfig(source=str(photos), image_size=32)))
    said = distill(photos, f"test_resnet,{path}", code=2)
    assert "can't be one of several" in said
    assert not Path("runs").exists()
