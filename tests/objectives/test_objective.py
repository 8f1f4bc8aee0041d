"""The weighted sum: schedules, needs, regressors, half precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from compressor.modalities import UNLABELLED
from compressor.objectives import features, logits
from compressor.objectives.config import KdConfig, ObjectiveConfig
from compressor.objectives.objective import TERMS, Objective, Signals, Widths, needs, scheduled_weight, without_teacher
from compressor.objectives.relations import Relations

ALL: dict[str, dict[str, Any]] = {name: {} for name in TERMS} | {"hint": {"on": "both"}}


def signals(dtype: torch.dtype = torch.float32, scale: float = 1.0) -> Signals:
    torch.manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return (torch.randn(*shape) * scale).to(dtype).requires_grad_()

    return Signals(
        labels=torch.tensor([0, 1, 2, 3, 4, 0]),
        student_logits=random(6, 5), teacher_logits=random(6, 5).detach(),
        student_embedding=random(6, 8), teacher_embedding=random(6, 12).detach(),
        student_maps=(random(6, 4, 8, 8), random(6, 6, 4, 4)),
        teacher_maps=(random(6, 5, 8, 8).detach(), random(6, 7, 2, 2).detach()),
        student_relations=relations(random, 2, 4), teacher_relations=relations(random, 4, 3),
    )  # fmt: skip


def relations(random: Callable[..., torch.Tensor], heads: int, channels: int) -> Relations:
    query, key, value = (random(3, heads, 5, channels) for _ in range(3))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]).bool()
    return Relations(query=query, key=key, value=value, mask=mask)


WIDTHS = Widths(student_embedding=8, teacher_embedding=12, student_maps=(4, 6), teacher_maps=(5, 7))


def test_all_terms_work_together_and_reach_the_student_and_the_regressors() -> None:
    objective = Objective(ObjectiveConfig.model_validate(ALL), WIDTHS)
    given = signals()
    total, parts = objective(given)
    total.backward()
    assert set(parts) == set(TERMS)
    assert given.student_logits.grad is not None
    assert given.student_embedding is not None
    assert given.student_embedding.grad is not None
    assert all(p.grad is not None for p in objective.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", list(TERMS))
def test_terms_stay_finite_in_half_precision_with_extreme_values(name: str, dtype: torch.dtype) -> None:
    objective = Objective(ObjectiveConfig.model_validate({name: ALL[name]}), WIDTHS).to(dtype)
    given = signals(dtype, scale=2000.0)
    total, _ = objective(given)
    total.backward()
    assert torch.isfinite(total)
    assert given.student_relations is not None
    for tensor in (given.student_logits, given.student_embedding, *given.student_maps, given.student_relations.query):
        assert tensor is not None
        assert tensor.grad is None or torch.isfinite(tensor.grad.float()).all()


def test_ce_and_kd_follow_hintons_convention() -> None:
    given = signals()
    config = ObjectiveConfig.model_validate({"ce": {"weight": 0.3}, "kd": {"weight": 0.7, "temperature": 2.0}})
    total, parts = Objective(config)(given)
    assert given.teacher_logits is not None
    teacher = (given.teacher_logits / 2).softmax(1)
    student = (given.student_logits / 2).log_softmax(1)
    kl = (teacher * (teacher.log() - student)).sum(1).mean()
    torch.testing.assert_close(parts["kd"], 4 * kl)
    torch.testing.assert_close(total, 0.3 * parts["ce"] + 0.7 * 4 * kl)


def test_an_unlabelled_sample_has_no_say_in_the_cross_entropy() -> None:
    student = torch.randn(3, 5)
    labels = torch.tensor([1, UNLABELLED, 4])
    torch.testing.assert_close(logits.ce(student, labels), logits.ce(student[[0, 2]], labels[[0, 2]]))
    assert logits.ce(student, torch.full((3,), UNLABELLED)) == 0


def test_a_mixed_view_counts_both_labels_by_their_shares() -> None:
    student, a, b = torch.randn(2, 5), torch.tensor([0, 1]), torch.tensor([2, 3])
    amounts = torch.tensor([1.0, 0.25])
    expected = (
        logits.ce(student[:1], a[:1]) + 0.25 * logits.ce(student[1:], a[1:]) + 0.75 * logits.ce(student[1:], b[1:])
    ) / 2
    torch.testing.assert_close(logits.ce(student, a, partners=b, amounts=amounts), expected)
    given = Signals(labels=a, student_logits=student, partners=b, amounts=amounts)
    assert given.dominant.tolist() == [0, 3]


def test_what_the_objective_needs_decides_whether_the_teacher_must_stay() -> None:
    assert needs(ObjectiveConfig.model_validate({"ce": {}, "kd": {}})) == {"logits"}
    assert needs(ObjectiveConfig.model_validate({"hint": {}, "rkd": {}})) == {"embedding"}
    assert needs(ObjectiveConfig.model_validate({"hint": {"on": "maps"}})) == {"maps"}
    assert needs(ObjectiveConfig.model_validate({"minilm": {}})) == {"relations"}
    assert needs(ObjectiveConfig.model_validate({"hint": {"weight": 0}, "ce": {}})) == set()


def test_without_a_teacher_the_hard_labels_count_fully() -> None:
    config = ObjectiveConfig.model_validate({"ce": {"weight": 0.1, "label_smoothing": 0.05}, "kd": {}})
    alone = without_teacher(config)
    assert alone.ce is not None
    assert (alone.ce.weight, alone.ce.label_smoothing, alone.kd) == (1.0, 0.05, None)


def test_weights_follow_their_schedule() -> None:
    term = KdConfig(weight=2.0, warmup=0.5, decay="linear")
    seen = [scheduled_weight(term, p) for p in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert seen == pytest.approx([0.0, 1.0, 2.0, 1.0, 0.0])
    assert scheduled_weight(KdConfig(weight=2.0), 0.9) == 2.0


def test_a_hint_does_not_care_how_large_the_teachers_features_are() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(4, 8), torch.randn(4, 8)
    # Apart from layer norm's epsilon, which only features near zero feel.
    torch.testing.assert_close(
        features.hint(student, teacher), features.hint(student, 1000 * teacher), rtol=1e-4, atol=0
    )


@pytest.mark.parametrize("on", ["embedding", "maps"])
def test_the_cosine_learns_a_projection_only_where_the_widths_differ(on: str) -> None:
    config = ObjectiveConfig.model_validate({"cosine": {"on": on}})
    given = signals()
    assert list(Objective(config, WIDTHS).parameters())
    Objective(config, WIDTHS)(given)[0].backward()
    same = Widths(student_embedding=8, teacher_embedding=8, student_maps=(4, 6), teacher_maps=(5, 6))
    objective = Objective(config, same)
    assert not list(objective.parameters())
    alike = replace(given, teacher_embedding=given.student_embedding, teacher_maps=given.student_maps)
    assert objective(alike)[0].item() == pytest.approx(0, abs=1e-6)


def test_a_hint_keeps_its_projection_where_the_widths_agree() -> None:
    same = Widths(student_embedding=8, teacher_embedding=8)
    assert list(Objective(ObjectiveConfig.model_validate({"hint": {}}), same).parameters())
