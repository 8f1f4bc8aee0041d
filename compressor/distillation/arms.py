"""The pilot's arms: what may be tried, in which order, and for how long. Arms are data; nothing is trained here."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from compressor.distillation.config import Guidance
from compressor.distillation.document import PastPilot
from compressor.files import cache_dir
from compressor.objectives.config import ObjectiveConfig
from compressor.objectives.objective import active, reading_features, without_teacher


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to train the student."""

    name: str
    objective: ObjectiveConfig
    guidance: Guidance = "last"
    taught: bool = True
    """False for the control."""


def _terms(**terms: dict[str, float]) -> ObjectiveConfig:
    return ObjectiveConfig.model_validate(terms)


_CE, _LITTLE = {"weight": 1.0}, {"weight": 0.1}
OBJECTIVES: dict[str, ObjectiveConfig] = {
    "kd T=4 + hint": _terms(ce=_LITTLE, kd={"weight": 0.9, "temperature": 4}, hint={"weight": 2}),
    "dist + hint": _terms(ce=_CE, dist={"weight": 2, "temperature": 1}, hint={"weight": 0.5}),
    "dkd + hint": _terms(ce=_CE, dkd={"weight": 1, "temperature": 2, "beta": 2}, hint={"weight": 0.5}),
    "kd T=1 + hint": _terms(ce=_LITTLE, kd={"weight": 0.9, "temperature": 1}, hint={"weight": 2}),
    "dist": _terms(ce=_CE, dist={"weight": 2, "temperature": 1}),
    "kd T=1": _terms(ce=_LITTLE, kd={"weight": 0.9, "temperature": 1}),
    "kd T=2": _terms(ce=_LITTLE, kd={"weight": 0.9, "temperature": 2}),
    "kd T=4": _terms(ce=_LITTLE, kd={"weight": 0.9, "temperature": 4}),
}
"""What stood its ground in docs/objectives.md. A new arm is an entry here, or a guidance below."""
OWN, CONTROL = "the recipe's own", "no teacher"
GUIDANCES: tuple[Guidance, ...] = ("route", "snapshots")
"""Ways over the teacher's earlier weights, with the recipe's own objective."""


def candidates(own: ObjectiveConfig, *, features: bool, stones: bool) -> list[Arm]:
    """All arms, the recipe's own objective first; no two of them the same.

    Args:
        own: the recipe's objective.
        features: whether the teacher has features; without, the terms that read them are left out.
        stones: whether weights from earlier in the teacher's training are there.
    """
    own = own.model_copy(update={"auto": False})
    found = [Arm(name=OWN, objective=own)]
    for name, objective in OBJECTIVES.items():
        kept = objective if features else _blind(objective)
        if kept is not None and all(kept != arm.objective for arm in found):
            found.append(Arm(name=name if features else name.removesuffix(" + hint"), objective=kept))
    if stones:
        found += [Arm(name=guidance, objective=own, guidance=guidance) for guidance in GUIDANCES]
    return found


def control(own: ObjectiveConfig) -> Arm:
    """The arm without a teacher."""
    return Arm(name=CONTROL, objective=without_teacher(own), taught=False)


def _blind(objective: ObjectiveConfig) -> ObjectiveConfig | None:
    blind = reading_features(objective)
    left = {name: term.model_dump() for name, term in active(objective).items() if name not in blind}
    return ObjectiveConfig.model_validate(left) if set(left) - {"ce"} else None


@dataclass(frozen=True, kw_only=True)
class Rungs:
    """Successive halving: how many arms begin, how long each of the first rung trains, and what is left at the end."""

    arms: int
    epochs: tuple[int, ...]
    """Of a trial on each rung; each rung's is twice that of the one before."""
    control: bool = True
    """Whether the control joins the last rung."""

    def width(self, rung: int) -> int:
        """Arms on a rung, without the control."""
        return self.arms if rung == 0 else max(2, self.arms >> rung)

    @property
    def cost(self) -> int:
        """Epochs of all its trials, one seed each: a second one tells less than trials of twice the length."""
        widths = [self.width(k) for k in range(len(self.epochs))]
        return sum(w * e for w, e in zip(widths, self.epochs, strict=True)) + self.control * self.epochs[-1]


LEAST, LEAST_SHARE = 2, 0.03
"""Epochs, and share of the student's, below which a trial of the last rung says too little."""


def rungs(budget: float, epochs: int, arms: int) -> Rungs | None:
    """What `budget` epochs are spent on: as many arms as the last rung's length leaves room for; None for too few.

    Args:
        budget: epochs of the student that all trials together may cost.
        epochs: of the student's full training.
        arms: how many there are.
    """
    least = max(LEAST, LEAST_SHARE * epochs)
    for count in range(arms, 1, -1):
        lengths = tuple(2**rung for rung in range(1 + int(math.log2(count / 2))))
        first = int(budget / Rungs(arms=count, epochs=lengths).cost)
        if first * lengths[-1] >= least:
            return Rungs(arms=count, epochs=tuple(first * length for length in lengths))
    if budget >= 2 and arms >= 2:
        return Rungs(arms=2, epochs=(int(budget / 2),), control=False)
    return None


def ordered(arms: Sequence[Arm], past: Sequence[PastPilot], *, gap: float, views: float, pretrained: bool) -> list[Arm]:
    """The recipe's own arm first, then the others by what they gained over it in past pilots like this one.

    Args:
        gap: logarithm of the teacher's parameters over the student's.
        views: logarithm of the samples that the student will see in all.
        pretrained: whether the student starts from trained weights.
    """

    def expected(arm: Arm) -> float:
        total, weight = 0.0, 1.0  # a pilot's worth of doubt: an arm never tried is expected to gain nothing
        for one in past:
            if arm.name in one.gains:
                near = math.exp(-abs(one.gap - gap) - abs(one.views - views) - (one.pretrained != pretrained))
                total += near * one.gains[arm.name]
                weight += near
        return total / weight

    return [*arms[:1], *sorted(arms[1:], key=expected, reverse=True)]


def remembered() -> list[PastPilot]:
    """Past pilots: those that come with the package and this user's own."""
    found = []
    shipped = files("compressor.distillation") / "pilots.jsonl"
    texts = [shipped.read_text(encoding="utf-8")] if shipped.is_file() else []
    texts += [_memory().read_text(encoding="utf-8", errors="replace")] if _memory().is_file() else []
    for line in "\n".join(texts).splitlines():
        try:
            found.append(PastPilot.model_validate(json.loads(line)))
        except (ValueError, ValidationError):
            continue  # a torn line orders nothing
    return found


def remember(pilot: PastPilot) -> None:
    """Adds a pilot to the user's own."""
    _memory().parent.mkdir(parents=True, exist_ok=True)
    with _memory().open("a", encoding="utf-8") as file:
        file.write(json.dumps(pilot.model_dump(mode="json")) + "\n")


def _memory() -> Path:
    return cache_dir() / "pilots.jsonl"
