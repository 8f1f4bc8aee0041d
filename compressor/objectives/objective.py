"""The table of terms and the weighted sum of them that a stage minimises.

A new term is a pure function, a configuration in `config.py`, an entry in `TERMS`, and its test.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from compressor.objectives import features, logits
from compressor.objectives.config import ObjectiveConfig, TermConfig
from compressor.objectives.relations import Relations, minilm

Had = TypeVar("Had")


@dataclass(frozen=True, kw_only=True)
class Signals:
    """What the terms read: one batch, seen by student and teacher."""

    labels: Tensor
    """(rows,) int64; −1 marks a row without a label."""
    student_logits: Tensor
    """(rows, classes)"""
    partners: Tensor | None = None
    """(rows,) int64: the labels of what was mixed into the views, or None."""
    amounts: Tensor | None = None
    """(rows,): the share of the own label where views are mixed, or None."""
    teacher_logits: Tensor | None = None
    student_embedding: Tensor | None = None
    """(rows, channels)"""
    teacher_embedding: Tensor | None = None
    student_maps: tuple[Tensor, ...] = ()
    """(batch, channels, height, width) each; entry i pairs with entry i of the teacher's."""
    teacher_maps: tuple[Tensor, ...] = ()
    teacher_attention: tuple[Tensor, ...] = ()
    """(batch, height, width) each, of the same pairs, where a teacher is stored as its attention maps."""
    student_relations: Relations | None = None
    teacher_relations: Relations | None = None

    @property
    def dominant(self) -> Tensor:
        """(rows,): the label with the larger share of each view."""
        if self.partners is None or self.amounts is None:
            return self.labels
        return torch.where(self.amounts >= 0.5, self.labels, self.partners)


@dataclass(frozen=True, kw_only=True)
class Widths:
    """Channels of what can be regressed, for building the regressors."""

    student_embedding: int
    teacher_embedding: int
    student_maps: tuple[int, ...] = ()
    teacher_maps: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Term:
    """One row of the table."""

    loss: Callable[[Any, Signals, nn.ModuleDict], Tensor]
    """(its configuration, signals, its regressors) → scalar."""
    reads: Callable[[Any], set[str]]
    """Of the teacher: `logits`, `embedding`, `attention`, `maps`, `relations`."""
    regressed: Callable[[Any], set[str]] = lambda c: set()
    """Which of them reach the loss through a learned projection; `deepest`: the last pair of maps alone."""
    plain: bool = False
    """Whether features of equal width meet without one."""
    sided: Callable[[Any], bool] = lambda c: False
    """Whether maps need height and width: a text's have none."""
    dense: Callable[[Any], bool] = lambda c: False
    """Whether it needs the teacher's logits of all classes: a uniform tail would mislead it."""
    power: Callable[[Any], float | None] = lambda c: None
    """Exponent of the attention maps that it reads."""


def _hint(c: Any, s: Signals, regressors: nn.ModuleDict) -> Tensor:
    losses = []
    if "embedding" in regressors:
        losses.append(features.hint(regressors["embedding"](s.student_embedding), _have(s.teacher_embedding)))
    if "map0" in regressors:
        pairs = zip(s.student_maps, s.teacher_maps, strict=True)
        losses += [features.hint(regressors[f"map{i}"](a), b) for i, (a, b) in enumerate(pairs)]
    return torch.stack(losses).mean()


def _cosine(c: Any, s: Signals, regressors: nn.ModuleDict) -> Tensor:
    if c.on == "maps":
        student, teacher = s.student_maps[-1], s.teacher_maps[-1]
    else:
        student, teacher = _have(s.student_embedding), _have(s.teacher_embedding)
    for regressor in regressors.values():
        student = regressor(student)
    return features.cosine(features.resized(student, teacher) if c.on == "maps" else student, teacher)


def _similarity(c: Any, s: Signals, _: nn.ModuleDict) -> Tensor:
    if c.on == "maps":
        return features.similarity(s.student_maps[-1], s.teacher_maps[-1])
    return features.similarity(_have(s.student_embedding), _have(s.teacher_embedding))


def _attention(c: Any, s: Signals, _: nn.ModuleDict) -> Tensor:
    targets = s.teacher_attention or tuple(features.attention_map(m, power=c.power) for m in s.teacher_maps)
    pairs = zip(s.student_maps, targets, strict=True)
    # A 1 × 1 map has one place to look: its attention is always 1 and teaches nothing.
    losses = [features.attention_towards(a, b, power=c.power) for a, b in pairs if min(b.shape[-2:]) > 1]
    return torch.stack(losses).mean() if losses else s.student_logits.new_zeros(())


def _hint_reads(c: Any) -> set[str]:
    return {"embedding", "maps"} if c.on == "both" else {c.on}


TERMS: dict[str, Term] = {
    "ce": Term(
        loss=lambda c, s, _: logits.ce(
            s.student_logits, s.labels, label_smoothing=c.label_smoothing, partners=s.partners, amounts=s.amounts
        ),
        reads=lambda c: set(),
    ),
    "kd": Term(
        loss=lambda c, s, _: logits.kd(
            s.student_logits, _have(s.teacher_logits), temperature=c.temperature, standardize=c.standardize
        ),
        reads=lambda c: {"logits"},
        dense=lambda c: c.standardize,
    ),
    "dkd": Term(
        loss=lambda c, s, _: logits.dkd(
            s.student_logits, _have(s.teacher_logits), s.dominant,
            temperature=c.temperature, alpha=c.alpha, beta=c.beta,
        ),
        reads=lambda c: {"logits"},
    ),
    "dist": Term(
        loss=lambda c, s, _: logits.dist(
            s.student_logits, _have(s.teacher_logits), temperature=c.temperature, beta=c.beta, gamma=c.gamma
        ),
        reads=lambda c: {"logits"},
        dense=lambda c: True,
    ),
    "hint": Term(loss=_hint, reads=_hint_reads, regressed=_hint_reads),
    "attention": Term(
        loss=_attention, reads=lambda c: {"attention"}, power=lambda c: c.power, sided=lambda c: True
    ),
    "rkd": Term(
        loss=lambda c, s, _: features.rkd(
            _have(s.student_embedding), _have(s.teacher_embedding), distance=c.distance, angle=c.angle
        ),
        reads=lambda c: {"embedding"},
    ),
    "similarity": Term(loss=_similarity, reads=lambda c: {c.on}, sided=lambda c: c.on == "maps"),
    "cosine": Term(
        loss=_cosine, reads=lambda c: {c.on}, regressed=lambda c: {"deepest" if c.on == "maps" else c.on}, plain=True
    ),
    "minilm": Term(
        loss=lambda c, s, _: minilm(_have(s.student_relations), _have(s.teacher_relations), heads=c.heads),
        reads=lambda c: {"relations"},
    ),
}  # fmt: skip

STORABLE = {"logits", "embedding", "attention"}
"""What of a teacher is small enough to be kept on disk; a term that reads more keeps the teacher live."""


def active(config: ObjectiveConfig) -> dict[str, TermConfig]:
    """The terms that take part, by name, in the table's order."""
    terms = {name: getattr(config, name) for name in TERMS}
    return {name: term for name, term in terms.items() if term is not None and term.weight > 0}


def needs(config: ObjectiveConfig) -> set[str]:
    """What the objective reads of a teacher: a subset of `logits`, `embedding`, `attention`, `maps`, `relations`."""
    return set().union(*(TERMS[name].reads(term) for name, term in active(config).items()))


def reading_features(config: ObjectiveConfig) -> list[str]:
    """The terms that a teacher which gives logits alone can't serve."""
    return [name for name, term in active(config).items() if TERMS[name].reads(term) - {"logits"}]


def dense(config: ObjectiveConfig) -> bool:
    """Whether some term needs the teacher's logits of all classes."""
    return any(TERMS[name].dense(term) for name, term in active(config).items())


def sided(config: ObjectiveConfig) -> list[str]:
    """The terms that read maps with height and width."""
    return [name for name, term in active(config).items() if TERMS[name].sided(term)]


def power(config: ObjectiveConfig) -> float | None:
    """Exponent of the attention maps that are read; None where none are."""
    found = (TERMS[name].power(term) for name, term in active(config).items())
    return next((value for value in found if value is not None), None)


def chosen_taps(config: ObjectiveConfig) -> list[tuple[int, int]] | None:
    """The (student, teacher) taps that a term names; None for the automatic pairing."""
    named = (getattr(term, "taps", None) for term in active(config).values())
    return next((taps for taps in named if taps is not None), None)


def without_teacher(config: ObjectiveConfig) -> ObjectiveConfig:
    """The objective of a teacher being trained or of a baseline: the hard labels alone, at full weight."""
    ce = active(config).get("ce")
    settings = ce.model_dump() if ce else {}
    return ObjectiveConfig.model_validate({"ce": settings | {"weight": 1.0, "warmup": 0.0, "decay": "none"}})


def scheduled_weight(term: TermConfig, progress: float) -> float:
    """The term's weight at `progress` (0 … 1) through training."""
    if progress < term.warmup:
        return term.weight * progress / term.warmup
    left = 1 - (progress - term.warmup) / (1 - term.warmup) if term.warmup < 1 else 1.0
    if term.decay == "linear":
        return term.weight * left
    if term.decay == "cosine":
        return term.weight * 0.5 * (1 - math.cos(math.pi * left))
    return term.weight


class Objective(nn.Module):
    """The weighted sum, with the regressors that some terms learn beside the student."""

    def __init__(self, config: ObjectiveConfig, widths: Widths | None = None) -> None:
        """
        Args:
            config: terms and weights.
            widths: channels of student and teacher features; needed when a term learns a regressor.
        """
        super().__init__()
        self.terms = active(config)
        self.needs = needs(config)
        self.regressors = nn.ModuleDict()
        for name, term in self.terms.items():
            kinds = TERMS[name].regressed(term)
            if not kinds:
                continue
            assert widths is not None
            learned = nn.ModuleDict()
            for key, (a, b) in _regressed(kinds, widths).items():
                if a != b or not TERMS[name].plain:
                    learned[key] = features.regressor(a, b, maps=key != "embedding")
            self.regressors[name] = learned

    def forward(self, signals: Signals, progress: float = 0.0) -> tuple[Tensor, dict[str, Tensor]]:
        """(weighted sum, each term unweighted and detached) at `progress` (0 … 1) through training."""
        total = signals.student_logits.new_zeros((), dtype=torch.float32)
        parts: dict[str, Tensor] = {}
        none = nn.ModuleDict()
        for name, term in self.terms.items():
            learned = self.regressors[name] if name in self.regressors else none  # noqa: SIM401 (no .get)
            assert isinstance(learned, nn.ModuleDict)
            value = TERMS[name].loss(term, signals, learned)
            total = total + scheduled_weight(term, progress) * value
            parts[name] = value.detach()
        return total, parts


def _regressed(kinds: set[str], widths: Widths) -> dict[str, tuple[int, int]]:
    """The student's and the teacher's channels of each regressor that a term wants, by its name."""
    maps = [(f"map{i}", pair) for i, pair in enumerate(zip(widths.student_maps, widths.teacher_maps, strict=True))]
    found = {"embedding": (widths.student_embedding, widths.teacher_embedding)} if "embedding" in kinds else {}
    if "deepest" in kinds:
        maps = maps[-1:]
    return found | dict(maps) if kinds & {"maps", "deepest"} else found


def _have(value: Had | None) -> Had:
    assert value is not None, "the objective's needs were not met"
    return value
