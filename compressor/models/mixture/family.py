"""A mixture of teachers as a family: see `models/family.py` for what each function is.

What it says is the logarithm of the weighted mean of its members' calibrated probabilities. Features are those of one
member, the best.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import SerializeAsAny, field_validator
from torch import Tensor, nn
from torch.nn import functional

from compressor.artifact.images import ImagePreprocessing
from compressor.artifact.preprocessing import Preprocessing
from compressor.models.architecture import Architecture
from compressor.models.family import Prepared, family, family_of
from compressor.models.given import Given, GivenFamily
from compressor.models.outputs import Outputs, Tap
from compressor.models.weights import build

FAMILY = "mixture"


class Member(Architecture):
    """One of several, and how images reach it."""

    own: SerializeAsAny[Architecture]
    preprocessing: ImagePreprocessing

    @field_validator("own", mode="before")
    @classmethod
    def _of_its_family(cls, value: Any) -> Any:
        return family(value["family"]).read(value) if isinstance(value, dict) else value


class MixtureArchitecture(Architecture):
    """Its members in order, and which of them gives the features."""

    members: list[Member]
    best: int
    params: int | None = None
    macs: int | None = None


class Mixture(Given):
    """Several models; weights and calibration temperatures are part of its state."""

    weights: Tensor
    temperatures: Tensor

    def __init__(self, architecture: MixtureArchitecture, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parameter_count, self.mac_count = architecture.params, architecture.macs
        self.best = architecture.best
        self.preprocessings = [member.preprocessing for member in architecture.members]
        self.members = nn.ModuleList(members)
        self.register_buffer("weights", torch.full((len(members),), 1 / len(members)))
        self.register_buffer("temperatures", torch.ones(len(members)))

    def answer(self, pixels: Tensor, *, embedding: bool, taps: tuple[int, ...]) -> Outputs:
        """(batch, size, size, 3) uint8 → the mixture's logits, and the best member's features."""
        parts, features = [], None
        for i, (member, preprocessing) in enumerate(zip(self.members, self.preprocessings, strict=True)):
            kin, chosen = family_of(member), i == self.best
            prepared = kin.prepare({"pixels": resized(pixels, preprocessing.size)}, preprocessing)
            found = kin.forward(member, prepared, embedding=embedding and chosen, taps=taps if chosen else ())
            parts.append(functional.log_softmax(found.logits.float() / self.temperatures[i], dim=1))
            features = found if chosen else features
        assert features is not None
        logits = torch.logsumexp(torch.stack(parts) + self.weights.log()[:, None, None], dim=0)
        return Outputs(logits=logits, embedding=features.embedding, maps=features.maps)


def resized(pixels: Tensor, size: int) -> Tensor:
    """(batch, S, S, 3) uint8 at another size: members of other sizes see the largest one's views, scaled down."""
    if pixels.shape[1] == size:
        return pixels
    moved = functional.interpolate(
        pixels.permute(0, 3, 1, 2).float(), size=(size, size), mode="bilinear", antialias=True
    )
    return moved.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


class Mixtures(GivenFamily):
    """Made of other models: no name means one."""

    noun = "mixture of teachers"
    reason = "it is made of models that are there"

    def read(self, value: Any) -> MixtureArchitecture:
        """With its members."""
        return MixtureArchitecture.model_validate(value)

    def build(self, architecture: Architecture) -> nn.Module:
        """Of freshly built members."""
        assert isinstance(architecture, MixtureArchitecture)
        return Mixture(architecture, [build(member.own) for member in architecture.members])

    def forward(
        self, model: nn.Module, prepared: Prepared, *, embedding: bool = False, taps: tuple[int, ...] = ()
    ) -> Outputs:
        """See `Mixture.answer`."""
        assert isinstance(model, Mixture)
        return model.answer(prepared[0], embedding=embedding, taps=taps)

    def taps(self, model: nn.Module, preprocessing: Preprocessing) -> tuple[list[Tap], int]:
        """The best member's."""
        assert isinstance(model, Mixture)
        best = model.members[model.best]
        return family_of(best).taps(best, model.preprocessings[model.best])

    def packages(self) -> tuple[str, ...]:
        """Those of whatever its members may be of."""
        return tuple(sorted({p for name in ("timm", "onnx") for p in family(name).packages()}))


MIXTURE = Mixtures()
