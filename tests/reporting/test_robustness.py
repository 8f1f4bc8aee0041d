"""By group and under damage: stored beside the predictions, shown everywhere, and a hidden loss in the headline."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compressor.data.load import load_dataset
from compressor.evaluation.document import SampleGroups
from compressor.evaluation.predictions import Predictions
from compressor.files import write_json
from compressor.recipe import load as load_recipe
from compressor.reporting import build, robustness, screen
from compressor.runfolder import RunFolder
from tests.conftest import compress, fill

SHIPPED = "stages/01-student-mobilenetv3_small_050/seed0/predictions.npz"
BASELINE = "stages/02-baseline-mobilenetv3_small_050/seed0/predictions.npz"


@pytest.fixture
def own(run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may change."""
    return Path(shutil.copytree(run, tmp_path / "own"))


def grouped(own: Path, night: int) -> None:
    """Writes down that the first `night` test samples were taken at night."""
    ids = [str(i) for i in Predictions.load(own / SHIPPED).ids]
    light = ["night" if i < night else "day" for i in range(len(ids))]
    write_json(own / "groups.json", SampleGroups(ids=ids, columns={"light": light}))


def answer(own: Path, stage: str, wrong: list[int]) -> None:
    """Lets a model be right on all test samples but these."""
    seen = Predictions.load(own / stage)
    said = seen.labels.copy()
    said[wrong] = (said[wrong] + 1) % 10
    Predictions(ids=seen.ids, labels=seen.labels, logits=np.eye(10, dtype=np.float32)[said]).save(own / stage)


def test_the_groups_are_stored_with_the_run_and_a_report_without_data_has_them(own: Path) -> None:
    dataset = load_dataset(load_recipe(own / "recipe.yaml").data)
    parity = ["even" if label % 2 == 0 else "odd" for label in dataset.labels]
    first = build.write(RunFolder(own), replace(dataset, groups={"parity": parity}))
    assert sorted((one.group, set(one.models)) for one in first.slices) == [
        ("even", {"teacher", "student", "baseline"}), ("odd", {"teacher", "student", "baseline"}),
    ]  # fmt: skip
    assert sum(one.samples for one in first.slices) == first.dataset.test
    assert all(one.help for one in first.slices)
    student = next(m for m in first.models if m.role == "student")
    parts = [one.samples * (one.models["student"].top1 or 0.0) for one in first.slices]
    assert sum(parts) == pytest.approx(first.dataset.test * (student.top1 or 0.0))
    again = build.build(RunFolder(own))
    assert again.slices == first.slices
    assert "## By group" in (own / "report.md").read_text()
    assert "parity = even" in (own / "report.html").read_text()


def test_a_loss_behind_a_gain_stands_in_the_headline(own: Path) -> None:
    grouped(own, night=60)
    answer(own, SHIPPED, wrong=list(range(30)))
    answer(own, BASELINE, wrong=list(range(60, 120)))
    report = build.write(RunFolder(own))
    assert report.help is not None
    assert report.help.top1_gain_mean > 0
    line = robustness.slice_line(report)
    assert line is not None
    assert line.startswith("But where light = night (60 samples) it cost 50.0 points (95 % interval -")
    assert "correcting for 2 groups" in line
    assert line in screen.report(RunFolder(own), report)
    assert f"**{line}**" in (own / "report.md").read_text()
    assert line in (own / "report.html").read_text()

    answer(own, BASELINE, wrong=[])  # where the mean lost, too, nothing is hidden
    assert robustness.slice_line(build.build(RunFolder(own))) is None


def test_groups_too_small_have_no_figures(own: Path) -> None:
    grouped(own, night=10)
    report = build.build(RunFolder(own))
    header, lines = robustness.slice_table(report.slices)
    assert header[:2] == ("group", "samples")
    assert lines[1][:3] == ("light = night (each below 30: too few)", "10", "–")
    assert lines[1][-1] == "too few"
    assert robustness.slice_line(report) is None


def test_evaluate_tells_the_groups_of_other_images(run: Path, tmp_path: Path) -> None:
    photos = fill(tmp_path / "photos", tuple("0123456789"), count=7)
    assert "light" not in compress("evaluate", run / "student.onnx", "--data", photos).output
    rows = "".join(f"{label}/{i:03d}.png,{'day' if i else 'night'}\n" for label in range(10) for i in range(7))
    (photos / "metadata.csv").write_text("file,light\n" + rows)
    result = compress("evaluate", run / "student.onnx", "--data", photos, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [(s["group"], s["samples"], s["pooled"]) for s in found["slices"]] == [
        ("day", 60, []), ("too few samples", 10, ["night"]),
    ]  # fmt: skip
    assert 0 <= found["slices"][0]["models"]["model"]["top1"] <= 1
    assert "light = day" in compress("evaluate", run / "student.onnx", "--data", photos).output


def test_report_measures_under_damage_once(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from compressor.workflows import evaluate as evaluating

    damages = {"dark": lambda inputs, strength, seed: {"pixels": inputs["pixels"] // 2**strength}}
    monkeypatch.setattr("compressor.evaluation.shift.damages_of", lambda modality: damages)
    assert json.loads((own / "report.json").read_text())["shift"] is None
    done = compress("report", own, "--shift", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    rows, mean = report["shift"]["rows"], report["shift"]["mean"]
    assert [(row["kind"], row["strength"]) for row in rows] == [("none", 0), ("dark", 1), ("dark", 2), ("dark", 3)]
    for model in report["models"]:
        top1 = [row["models"][model["role"]]["top1"] for row in rows]
        assert top1[0] == pytest.approx(model["top1"])
        assert mean["top1"][model["role"]] == pytest.approx(np.mean(top1[1:]))
    assert mean["top1_gain"] == pytest.approx(mean["top1"]["student"] - mean["top1"]["baseline"])
    assert mean["low"] <= mean["top1_gain"] <= mean["high"]
    text = (own / "report.md").read_text()
    assert "## Under damage" in text
    assert "mean over damages" in text
    assert "Under damage (mean over 3 kinds and strengths" in text
    assert "dark 3" in (own / "report.html").read_text()

    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(evaluating, "_under_shift", never)
    assert json.loads(compress("report", own, "--shift", "--json").stdout)["shift"] == report["shift"]
    several = compress("report", own, own, "--shift")
    assert several.exit_code == 2
    assert "--shift measures one run" in several.output


def test_damage_is_not_measured_on_other_samples(own: Path) -> None:
    recipe = load_recipe(own / "recipe.yaml", None, {"data.seed": 1})
    (own / "recipe.yaml").write_text(recipe.to_yaml())
    done = compress("report", own, "--shift")
    assert done.exit_code == 2
    assert "have changed since run" in done.output
    assert not (own / "shift.json").exists()
