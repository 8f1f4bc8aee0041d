"""Accuracy under damaged images: the damage itself, and `compress evaluate --shift`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from compressor.artifact.images import ImagePreprocessing
from compressor.data.config import DataConfig
from compressor.data.load import load_dataset
from compressor.evaluation.image_damages import DAMAGES
from compressor.evaluation.shift import STRENGTHS, damaged
from tests.conftest import compress


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_grows_with_strength_and_repeats(kind: str, photos: Path) -> None:
    dataset = load_dataset(DataConfig(source=str(photos)))
    clean = list(dataset.inputs("all", ImagePreprocessing(size=32), 16))

    def hurt(strength: int) -> float:
        pairs = zip(clean, damaged(clean, dataset, kind, strength, DAMAGES[kind]), strict=True)
        return float(
            np.mean([np.abs(a[1]["pixels"].astype(float) - b[1]["pixels"].astype(float)).mean() for a, b in pairs])
        )

    amounts = [hurt(strength) for strength in STRENGTHS]
    assert 1 < amounts[0] < amounts[1] < amounts[2] < 128
    again = list(damaged(dataset.inputs("all", ImagePreprocessing(size=32), 5), dataset, kind, 1, DAMAGES[kind]))
    first = np.concatenate([p["pixels"] for _, p in damaged(clean, dataset, kind, 1, DAMAGES[kind])])
    assert (first == np.concatenate([p["pixels"] for _, p in again])).all()  # whatever the batches
    assert first.dtype == np.uint8


def test_a_run_is_compared_with_its_teacher_and_baseline(run: Path) -> None:
    result = compress("evaluate", run, "--shift", "--json", "--quiet")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [(r["kind"], r["strength"]) for r in found["shift"]] == [
        ("none", 0), *((kind, strength) for kind in DAMAGES for strength in STRENGTHS),
    ]  # fmt: skip
    clean = found["shift"][0]["models"]
    assert set(clean) == {"teacher", "student", "baseline"}
    assert clean["student"]["top1"] == found["top1"]
    assert clean["teacher"]["copied_mistakes"] is None
    report = json.loads((run / "report.json").read_text())
    for model in report["models"]:
        assert clean[model["role"]]["top1"] == pytest.approx(model["top1"])
        if model["role"] != "teacher":
            assert clean[model["role"]]["copied_mistakes"] == model["copied_mistakes"]


def test_a_single_file_on_the_screen(run: Path) -> None:
    result = compress("evaluate", run / "student.onnx", "--shift")
    assert result.exit_code == 0, result.output
    assert "jpeg 3" in result.output
    assert "worst" in result.output
    assert "copies" not in result.output
