"""Metrics against definitions written out, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, log_loss, top_k_accuracy_score

from compressor.artifact.session import softmax
from compressor.evaluation import metrics
from compressor.evaluation.predictions import Predictions

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 7, 400)
LOGITS = (RNG.normal(size=(400, 7)) + 1.5 * np.eye(7)[LABELS]).astype(np.float32)


def test_accuracy_and_likelihood_equal_scikit_learns() -> None:
    found = metrics.summary(LABELS, LOGITS)
    assert found["top1"] == pytest.approx((LOGITS.argmax(1) == LABELS).mean())
    assert found["top5"] == pytest.approx(top_k_accuracy_score(LABELS, LOGITS, k=5))
    assert found["nll"] == pytest.approx(log_loss(LABELS, softmax(LOGITS)), abs=1e-6)
    assert metrics.balanced_accuracy(LABELS, LOGITS) == pytest.approx(balanced_accuracy_score(LABELS, LOGITS.argmax(1)))


def test_ece_is_the_weighted_gap_over_fifteen_equal_bins() -> None:
    confidence, correct = softmax(LOGITS).max(1), LOGITS.argmax(1) == LABELS
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert metrics.ece(LABELS, LOGITS) == pytest.approx(expected, abs=1e-9)


def test_ece_of_a_sure_and_always_wrong_model_is_one() -> None:
    logits = np.zeros((10, 2), np.float32)
    logits[:, 0] = 100
    assert metrics.ece(np.ones(10, np.int64), logits) == pytest.approx(1.0)
    assert metrics.ece(np.zeros(10, np.int64), logits) == pytest.approx(0.0)


@pytest.mark.parametrize("factor", [0.5, 1.0, 4.0])
def test_the_calibration_temperature_undoes_a_scaling(factor: float) -> None:
    base = metrics.calibration_temperature(LABELS, LOGITS)
    assert metrics.calibration_temperature(LABELS, LOGITS * factor) == pytest.approx(base * factor, rel=1e-3)


def test_the_calibration_temperature_all_but_minimises_the_likelihood() -> None:
    found = metrics.calibration_temperature(LABELS, LOGITS)
    grid = np.exp(np.linspace(-2, 2, 400))
    best = min(metrics.nll(LABELS, LOGITS, temperature=t) for t in grid)
    assert metrics.nll(LABELS, LOGITS, temperature=found) <= best + 1e-3


def test_a_model_without_a_mistake_is_not_made_infinitely_sure() -> None:
    """Found on a teacher that had all of 180 validation images right: T fell to the search's bound."""
    labels = np.arange(180) % 10
    logits = (6 * np.eye(10)[labels] + RNG.normal(size=(180, 10))).astype(np.float32)
    assert (logits.argmax(1) == labels).all()
    temperature = metrics.calibration_temperature(labels, logits)
    confidence = softmax(logits, temperature).max(1).mean()
    assert 0.3 < temperature < 3
    assert 1 - 3 / 180 < confidence < 1


def test_a_model_that_is_rightly_sure_is_not_made_unsure() -> None:
    """Found on the digits: of 180 validation images all were right, and T of 1.4 doubled the ECE on test."""
    labels = np.arange(4000) % 10
    logits = (9 * np.eye(10)[labels] + np.random.default_rng(1).normal(size=(4000, 10))).astype(np.float32)
    few, rest = slice(0, 180), slice(180, None)
    temperature = metrics.calibration_temperature(labels[few], logits[few])
    assert temperature <= 1
    shipped = metrics.nll(labels[rest], logits[rest], temperature=temperature)
    assert shipped <= metrics.nll(labels[rest], logits[rest])
    # One that is wrong as surely is still softened.
    wrong = logits.copy()
    wrong[::10] = np.roll(wrong[::10], 1, axis=1)
    assert metrics.calibration_temperature(labels[few], wrong[few]) > 1.5


def test_copied_mistakes_are_those_with_the_same_wrong_class() -> None:
    labels = np.array([0, 0, 1, 2])
    teacher = np.eye(3, dtype=np.float32)[[1, 1, 1, 0]]
    student = np.eye(3, dtype=np.float32)[[1, 2, 1, 0]]
    assert metrics.copied_mistakes(labels, teacher, student) == {"teacher_mistakes": 3, "copied": 2, "share": 2 / 3}


def test_a_class_without_samples_has_no_accuracy() -> None:
    assert metrics.per_class(np.array([0, 0]), np.eye(3, dtype=np.float32)[[0, 1]], 3) == [0.5, None, None]


def test_predictions_survive_the_disk(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "deep" / "predictions.npz"
    ids = np.array([f"a/{i}" for i in range(400)])
    Predictions(ids=ids, labels=LABELS, logits=LOGITS).save(path)
    again = Predictions.load(path)
    assert (again.ids == ids).all()
    assert again.logits.dtype == np.float32
    assert (again.logits == LOGITS).all()


def test_mcnemar_is_the_exact_binomial_test_on_discordant_pairs() -> None:
    from scipy.stats import binomtest

    rng = np.random.default_rng(1)
    for share in (0.5, 0.3, 0.1):
        a, b = rng.random(300) < 0.8, rng.random(300) < 0.8 * (1 - share / 4)
        only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
        assert metrics.mcnemar(a, b) == pytest.approx(binomtest(min(only_a, only_b), only_a + only_b).pvalue)
    assert metrics.mcnemar(a, a) == 1.0


def test_a_gain_and_its_interval_shrink_with_more_samples() -> None:
    rng = np.random.default_rng(2)

    def width(samples: int) -> float:
        a, b = rng.random(samples) < 0.9, rng.random(samples) < 0.8
        found = metrics.paired_gain(a, b)
        assert found["low"] < 0.1 < found["high"] or samples < 500
        return found["high"] - found["low"]

    assert width(4000) < 0.5 * width(200)


def test_rows_are_told_the_same_whether_few_or_all_are_looked_at_together(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    logits = 2 * rng.standard_normal((50, 7)).astype(np.float32)
    labels = np.where(rng.random(50) < 0.6, logits.argmax(axis=1), rng.integers(7, size=50))
    whole = metrics.nll(labels, logits, temperature=1.3), metrics.calibration_temperature(labels, logits)
    monkeypatch.setattr(metrics, "TOGETHER", 24)
    assert (metrics.nll(labels, logits, temperature=1.3), metrics.calibration_temperature(labels, logits)) == whole


def test_of_equal_logits_the_first_is_named_and_what_is_no_number_comes_last() -> None:
    logits = np.array([[1.0, 1.0, 0.0], [np.nan, 1.0, 0.0], [np.nan, np.nan, 2.0]], dtype=np.float32)
    for label, hits in ((0, (1, 0, 0)), (1, (0, 1, 0)), (2, (0, 0, 1))):
        for row, hit in enumerate(hits):
            assert metrics.top_k(np.array([label]), logits[row : row + 1], 1) == hit
    assert metrics.top_k(np.array([0]), logits[2:], 2) == 1, "of two that are none the first"
