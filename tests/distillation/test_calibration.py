"""A temperature is not fitted to what a teacher may have learnt by heart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compressor.data.config import DataConfig
from compressor.data.load import load_dataset
from compressor.distillation import acquire
from compressor.distillation.calibration import calibrate
from compressor.evaluation.metrics import calibration_temperature
from compressor.evaluation.predictions import Predictions
from compressor.models import checkpoint
from compressor.models.checkpoint import CARD
from compressor.models.config import TeacherConfig


def answers(right: float, scale: float, seed: int, count: int = 400) -> Predictions:
    """Ten classes, right in a share `right` of the samples, however sure it says it is."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count)
    said = np.where(rng.random(count) < right, labels, (labels + rng.integers(1, 10, count)) % 10)
    logits = rng.normal(size=(count, 10)) * 0.3
    logits[np.arange(count), said] += scale * rng.uniform(0.5, 1.5, count)
    return Predictions(ids=np.arange(count).astype(str), labels=labels, logits=logits.astype(np.float32))


def test_a_teacher_that_knows_validation_by_heart_is_not_sharpened() -> None:
    train, validation, unseen = answers(0.99, 4, 0), answers(0.99, 4, 1), answers(0.7, 4, 2)
    assert calibration_temperature(validation.labels, validation.logits) < 0.9
    found = calibrate(validation, train)
    assert found.temperature == 1
    assert found.suspect
    assert found.note is not None
    assert "may have seen the validation samples" in found.note
    assert "not applied" in found.note
    assert calibration_temperature(unseen.labels, unseen.logits) > 1, "sharpening would have been the wrong way"


def test_an_unknown_teacher_that_held_validation_out_is_calibrated_like_any_other() -> None:
    train, validation = answers(0.99, 4, 0), answers(0.7, 4, 1)
    found = calibrate(validation, train)
    assert found.temperature == calibration_temperature(validation.labels, validation.logits) > 1
    assert not found.suspect
    assert found.note is None


def test_a_teacher_that_is_known_is_trusted_even_where_it_is_to_be_sharpened() -> None:
    validation = answers(0.99, 4, 1)
    assert calibrate(validation, None).temperature == calibration_temperature(validation.labels, validation.logits) < 1


@pytest.fixture
def digits() -> object:
    return load_dataset(DataConfig(limit=160))


def test_who_is_trusted(run: Path, tmp_path: Path, digits: object) -> None:
    """A run's own teacher on the same split is; the same weights without their card are not, nor what they led to."""
    import torch

    stage = run / "stages" / "00-teacher-test_resnet" / "seed0"

    def trusted(**config: str) -> bool:
        return acquire.acquire_teacher(TeacherConfig(**config), digits, seed=0, device=torch.device("cpu")).trusted  # type: ignore[arg-type]

    assert trusted(model=str(stage))
    assert trusted(model="test_resnet", init="scratch")
    bare = tmp_path / "bare.safetensors"
    bare.write_bytes((stage / "weights.safetensors").read_bytes())
    assert not trusted(model="test_resnet", init=str(bare))
    model, card = checkpoint.load(stage)
    checkpoint.save(tmp_path / "laundered", model, card.model_copy(update={"trusted": False}))
    assert (tmp_path / "laundered" / CARD).is_file()
    assert not trusted(model=str(tmp_path / "laundered"))
