"""Teachers made of teachers: a route over several in turn, and the mean of several at once.

Their parts are stored or live teachers; how the parts are chosen is `recipe.guidance`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from compressor.artifact.preprocessing import Preprocessing
from compressor.data.loaders import Batch
from compressor.distillation.targets import StoredTeacher
from compressor.distillation.teacher import FrozenTeacher
from compressor.errors import UsageError
from compressor.models.outputs import Outputs

Plain = FrozenTeacher | StoredTeacher


class Several:
    """What a route and a mean have in common: parts, and one of them that gives the features."""

    def __init__(self, parts: Sequence[Plain]) -> None:
        """
        Args:
            parts: the earliest first; the last one is what is wired: features are its.

        Raises:
            UsageError: two live parts see views of different sizes.
        """
        self.parts = list(parts)
        seen = {part.wants.view_key for part in parts if part.wants is not None}
        if len(seen) > 1:
            raise UsageError(
                "teachers that see views of different sizes can only teach together from the target store: "
                "let stage.targets.store be true and give it room"
            )

    @property
    def wants(self) -> Preprocessing | None:
        """How the views that its live parts have to see reach them."""
        return next((part.wants for part in self.parts if part.wants is not None), None)

    def to(self, device: torch.device | str) -> Several:
        """Moves every part."""
        for part in self.parts:
            part.to(device)
        return self

    def reach(self, share: float) -> None:
        """Says how far the training has come, 0 … 1."""

    def answer(self, batch: Batch, device: torch.device, **wanted: Any) -> Outputs:
        """What it says about a batch of the training loader, on `device`."""
        raise NotImplementedError


class Route(Several):
    """One part after the other, in equal shares of the training: route-constrained optimisation (Jin et al. 2019)."""

    _now = 0

    def reach(self, share: float) -> None:
        """Chooses the part that teaches from here on."""
        self._now = turn(share, len(self.parts))

    def answer(self, batch: Batch, device: torch.device, **wanted: Any) -> Outputs:
        """What the part says whose turn it is."""
        return self.parts[self._now].answer(batch, device, **wanted)


class Mean(Several):
    """All parts at once: the mean of their calibrated probabilities (Son et al. 2021, DGKD, without its dropout)."""

    def answer(self, batch: Batch, device: torch.device, **wanted: Any) -> Outputs:
        """Logits are the logarithm of the mean; features are the last part's."""
        plain = {key: value for key, value in wanted.items() if key not in ("embedding", "taps")}
        said = [part.answer(batch, device, **plain).logits for part in self.parts[:-1]]
        last = self.parts[-1].answer(batch, device, **wanted)
        logs = torch.stack([logits.log_softmax(dim=1) for logits in (*said, last.logits)])
        mean = logs.logsumexp(dim=0) - float(torch.tensor(float(len(logs))).log())
        return replace(last, logits=mean)


def turn(share: float, parts: int) -> int:
    """Whose turn it is after `share` (0 … 1) of a training: an index below `parts`."""
    return min(int(share * parts + 1e-9), parts - 1)


def wired(teacher: Plain | Several) -> Plain:
    """The teacher that features are read from."""
    return teacher.parts[-1] if isinstance(teacher, Several) else teacher
