"""Figures by group: small groups stay silent, chance is no loss, and a loss behind a gain is found."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from compressor.evaluation import metrics
from compressor.evaluation.predictions import Predictions
from compressor.evaluation.slices import CALIBRATED, SMALLEST, TOO_FEW, Answers, looked_at, slices, worst


def answers(role: str, right: NDArray[np.bool_], seed: int | None = 0, temperature: float | None = None) -> Answers:
    labels = np.arange(len(right)) % 3
    logits = 4 * np.eye(3, dtype=np.float32)[np.where(right, labels, (labels + 1) % 3)]
    ids = np.arange(len(right)).astype(str)
    return Answers(
        role=role, seed=seed, temperature=temperature, predictions=Predictions(ids=ids, labels=labels, logits=logits)
    )


def test_the_randomisation_test_is_mcnemars_for_one_seed_and_exact_for_several() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 60)) < [[0.8], [0.6]]
    assert metrics.sign_flip(a.astype(int) - b.astype(int)) == pytest.approx(metrics.mcnemar(a, b), rel=1e-9)
    sizes = np.array([3, -1, 2, 0, 2, 1, -1, 3])
    sums = [abs(int(np.dot(signs, np.abs(sizes)))) for signs in product((-1, 1), repeat=len(sizes))]
    assert metrics.sign_flip(sizes) == pytest.approx(np.mean([s >= abs(sizes.sum()) for s in sums]))
    assert metrics.sign_flip(np.zeros(5, dtype=int)) == 1.0


def test_the_randomisation_tests_normal_tail_continues_the_exact_one() -> None:
    for up in (2000, 2040, 2070):
        exact = metrics.sign_flip(np.repeat([1, -1], [up, 4000 - up]))
        assert metrics.sign_flip(np.repeat([1, -1], [up + 1, 4000 - up + 1])) == pytest.approx(exact, rel=0.03)


def test_holms_correction_is_the_textbooks() -> None:
    assert metrics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert metrics.holm([]) == []


def test_a_group_that_lost_what_the_mean_won_is_found() -> None:
    light = ["day"] * 300 + ["night"] * 100
    student = np.concatenate([np.ones(300), np.arange(100) < 60]).astype(bool)
    baseline = np.concatenate([np.arange(300) < 240, np.arange(100) < 90]).astype(bool)
    models = [answers(role, right) for role, right in (("student", student), ("baseline", baseline))]
    day, night = slices({"light": light}, models)
    assert student.mean() > baseline.mean()
    assert day.help is not None
    assert night.help is not None
    assert (day.group, day.samples, day.help.verdict) == ("day", 300, "helped")
    assert night.help.top1_gain == pytest.approx(-0.3)
    assert night.help.low < -0.3 < night.help.high < 0
    assert night.help.p_corrected == pytest.approx(metrics.mcnemar(student[300:], baseline[300:]))  # the larger of two
    assert {role: own.top1 for role, own in night.models.items()} == {"student": 0.6, "baseline": 0.9}
    assert worst([day, night]) == night


def test_the_same_loss_among_many_groups_may_be_chance() -> None:
    """Six samples lost of 40 and none won is p = 0.03: sure when it was the only question, not as one of twenty."""
    groups = [f"g{i:02d}" for i in range(20) for _ in range(40)]
    student = np.ones(800, dtype=bool)
    student[:6] = False
    models = [answers("student", student), answers("baseline", np.ones(800, dtype=bool))]
    many = slices({"camera": groups}, models)
    assert looked_at(many) == 20
    assert many[0].help is not None
    assert many[0].help.p == pytest.approx(2 * 0.5**6)
    assert many[0].help.p_corrected == pytest.approx(20 * many[0].help.p)
    assert worst(many) is None
    alone = slices({"camera": ["g00"] * 40}, [
        Answers(role=one.role, seed=0, temperature=None, predictions=Predictions(
            ids=one.predictions.ids[:40], labels=one.predictions.labels[:40], logits=one.predictions.logits[:40]
        )) for one in models
    ])  # fmt: skip
    assert worst(alone) == alone[0]


def test_a_loss_with_one_seed_only_is_not_sure_with_three() -> None:
    rights = np.ones((3, 60), dtype=bool)
    rights[0, :30] = False
    models = [answers("student", right, seed) for seed, right in enumerate(rights)]
    models += [answers("baseline", np.ones(60, dtype=bool), seed) for seed in range(3)]
    (one,) = slices({"all": ["x"] * 60}, models)
    assert one.help is not None
    assert one.help.p < 1e-6  # over samples, with these seeds
    assert one.help.verdict == "no difference"  # another three seeds may all be like the other two


def test_small_groups_are_pooled_and_calibration_waits_for_enough_samples() -> None:
    groups = ["large"] * CALIBRATED + ["medium"] * SMALLEST + ["small"] * (SMALLEST - 1) + ["tiny"] * 2
    right = np.ones(len(groups), dtype=bool)
    found = slices({"size": groups}, [answers("model", right, None, temperature=2.0)])
    assert [(one.group, one.samples, one.pooled) for one in found] == [
        ("large", CALIBRATED, []), ("medium", SMALLEST, []), (TOO_FEW, SMALLEST + 1, ["small", "tiny"]),
    ]  # fmt: skip
    confidence = np.exp(2) / (np.exp(2) + 2)
    assert found[0].models["model"].ece_calibrated == pytest.approx(1 - confidence, abs=1e-6)
    assert found[1].models["model"].ece_calibrated is None
    assert [one.help for one in found] == [None] * 3
    (few,) = slices({"size": ["a"] * 3}, [answers("model", right[:3])])
    assert (few.models, few.samples) == ({}, 3)
