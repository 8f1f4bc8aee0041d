"""Several teachers as one: calibrated each on validation, and mixed in the shares that suit validation best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from compressor.artifact.images import ImagePreprocessing
from compressor.artifact.preprocessing import Preprocessing
from compressor.distillation.acquire import Start
from compressor.distillation.calibration import losses
from compressor.distillation.chain import Result
from compressor.errors import UsageError
from compressor.models import checkpoint, cost, seen
from compressor.models.architecture import Architecture
from compressor.models.family import family_of
from compressor.models.mixture.family import FAMILY, Member, Mixture, MixtureArchitecture
from compressor.models.seen import Seen

STEPS = 500
"""Of EM; each raises the likelihood, and hundreds are nothing."""


def shares(likelihoods: NDArray[np.float64]) -> NDArray[np.float64]:
    """(members,): the weights, summing to 1, of the mixture under which the labels are likeliest. EM; it is concave.

    Args:
        likelihoods: (members, samples), what each gives the labels.
    """
    weights = np.full(len(likelihoods), 1 / len(likelihoods))
    for _ in range(STEPS):
        parts = weights[:, None] * likelihoods
        weights = (parts / parts.sum(axis=0)).mean(axis=1)
    return weights


def mixed(members: Sequence[Result], *, calibrate: bool) -> Start:
    """The finished members as one teacher, ready to be measured; nothing is trained.

    Members that may have learnt the validation samples by heart would draw all the weight: then all weigh the same.

    Raises:
        UsageError: a member that sees no views.
    """
    heats = [member.card.temperature or 1.0 if calibrate else 1.0 for member in members]
    nats = np.stack([losses(m.validation, t) for m, t in zip(members, heats, strict=True)])
    suspects = [member.card.architecture.name for member in members if member.card.suspect]
    weights = np.full(len(members), 1 / len(members)) if suspects else shares(np.exp(-nats))
    best = int(nats.mean(axis=1).argmin())
    parts = [(m.model(), m.card.architecture, m.card.preprocessing) for m in members]
    model, architecture, preprocessing = assembled(parts, best)
    model.weights.copy_(torch.from_numpy(weights))
    model.temperatures.copy_(torch.tensor(heats))
    names = [member.card.architecture.name for member in members]
    said = " + ".join(f"{w:.2f} {name}" for w, name in zip(weights, names, strict=True))
    together = -np.log((weights[:, None] * np.exp(-nats)).sum(axis=0)).mean()
    alone = ", ".join(f"{v:.3f}" for v in nats.mean(axis=1))
    why = (
        f"weighing the same: {suspects[0]} may have seen the validation samples" if suspects else "by EM on validation"
    )
    return Start(
        model=model, architecture=architecture, preprocessing=preprocessing, origin=said, training="none",
        notice=f"teacher: {said} ({why}; NLL {together:.3f}, alone {alone}); features are those of {names[best]}",
        trusted=all(member.card.trusted for member in members), seen=_together(members),
    )  # fmt: skip


def _together(members: Sequence[Result]) -> Seen | None:
    """What any of them was trained on, as far as they say."""
    parts = [seen.read(member.folder / checkpoint.CARD, member.card.dataset) for member in members]
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known else None


def planned(starts: Sequence[Start]) -> Start:
    """Members before they are trained, as one: what it costs can be measured with it."""
    model, architecture, preprocessing = assembled([(s.model, s.architecture, s.preprocessing) for s in starts], 0)
    return Start(model=model, architecture=architecture, preprocessing=preprocessing, origin="mixed", training="none")


def assembled(
    parts: Sequence[tuple[nn.Module, Architecture, Preprocessing]], best: int
) -> tuple[Mixture, MixtureArchitecture, ImagePreprocessing]:
    """Models, what they are and how things reach them as one that sees the views of the largest."""
    members, costs = [], []
    for model, architecture, preprocessing in parts:
        if not isinstance(preprocessing, ImagePreprocessing):
            raise UsageError(f"teacher '{architecture.name}' can't be one of several: only those of images are mixed")
        members.append(
            Member(
                family=FAMILY,
                name=architecture.name,
                classes=architecture.classes,
                own=architecture,
                preprocessing=preprocessing,
            )
        )
        costs.append(cost.known(model, family_of(model).example(preprocessing, 1)))
    architecture = MixtureArchitecture(
        family=FAMILY, name="+".join(m.name for m in members), classes=members[0].classes, members=members, best=best,
        params=_sum([c[0] for c in costs]), macs=_sum([c[1] for c in costs]),
    )  # fmt: skip
    mixture = Mixture(architecture, [model for model, _, _ in parts])
    mixture.__dict__["family"] = FAMILY
    largest = max((m.preprocessing for m in members), key=lambda p: p.size)
    return mixture, architecture, largest


def _sum(values: Sequence[int | None]) -> int | None:
    known = [v for v in values if v is not None]
    return sum(known) if len(known) == len(values) else None
