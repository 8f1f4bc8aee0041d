"""What a family of models does: how they are named, made, fed and tapped. One such object each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from compressor import modalities
from compressor.artifact.preprocessing import Inputs, Preprocessing
from compressor.errors import UsageError, unknown
from compressor.models.architecture import Architecture
from compressor.models.outputs import Outputs, Tap

StateDict = dict[str, Tensor]
Prepared = tuple[Tensor, ...]
"""What a model's forward is called with."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of a teacher when its student is described: a student may be named by it."""

    architecture: Architecture
    preprocessing: Preprocessing
    model: Callable[[], nn.Module] | None = None
    """Its weights, read when they are asked for; None before there are any."""


class Family(Protocol):
    """Models that are made, fed and tapped alike."""

    def resolve(self, spelled: str, role: str) -> str:
        """The model's name for what a person typed. Raises UsageError with the nearest."""

    def read(self, value: Any) -> Architecture:
        """A card's `architecture`. Raises pydantic's ValidationError."""

    def claims(self, path: Path) -> bool:
        """Whether a folder holds a model of this family as others write it; `resolve` then takes the path for its name."""

    def describe(
        self, name: str, *, classes: int, setup: Any, stem: str, teacher: Known | None = None
    ) -> tuple[Architecture, Preprocessing]:
        """A model for data with this `Dataset.setup`, and how things reach it; a student's name may mean its `teacher`.

        Raises:
            UsageError: a name that means a teacher, and none is known.
        """

    def build(self, architecture: Architecture) -> nn.Module:
        """The module with fresh weights. Raises UsageError."""

    def pretrained(self, architecture: Architecture) -> StateDict:
        """Its published weights, with the head they were trained with. Raises UsageError where there are none."""

    def shrunk(self, teacher: nn.Module, architecture: Architecture) -> StateDict:
        """First weights of an architecture that `copies_teacher`; with a head where it means the same classes in both."""

    def rate(self) -> float:
        """What `optimizer.lr: auto` means: the peak rate of weights that start fresh."""

    def head(self, model: nn.Module) -> set[str]:
        """Names of the classification head's parameters."""

    def prepare(self, inputs: dict[str, Tensor], preprocessing: Preprocessing) -> Prepared:
        """Encoded things as the model takes them, normalised, on the device where they are."""

    def forward(
        self, model: nn.Module, prepared: Prepared, *, embedding: bool = False, taps: tuple[int, ...] = ()
    ) -> Outputs:
        """One forward; `taps` ascending."""

    def taps(self, model: nn.Module, preprocessing: Preprocessing) -> tuple[list[Tap], int]:
        """The model's taps and its embedding's channels, measured. Raises UsageError where it offers none."""

    def example(self, preprocessing: Preprocessing, batch: int) -> Prepared:
        """Noise that the model takes, on the CPU."""

    def raw(self, preprocessing: Preprocessing, batch: int) -> tuple[nn.Module, Prepared]:
        """What normalises encoded things inside a graph (`--uint8-input`), and an example of them.

        Raises:
            UsageError: the family has no such thing.
        """

    def input_names(self, *, raw: bool) -> tuple[str, ...]:
        """What a graph calls its inputs."""

    def dynamic(self) -> dict[str, dict[int, str]]:
        """Input → axis → the name of a side that a graph leaves open, beside the samples."""

    def untrained(self, name: str, size: int) -> tuple[Architecture, Preprocessing, Inputs]:
        """A model as its makers meant it, and a few random things for it: what it costs can be measured with them."""

    def kin(self, name: str) -> list[str]:
        """Models of other sizes with the same ancestry, by name; none where the family does not know."""

    def packages(self) -> tuple[str, ...]:
        """Distributions whose version may change what a model answers."""


def family(name: str) -> Family:
    """A family by name."""
    known = {own: reference for m in modalities.MODALITIES.values() for own, reference in m.families.items()}
    if name not in known:
        raise UsageError(unknown("family of models", name, known))
    found: Family = modalities.part(known[name])
    return found


def claimed(path: Path, modality: str) -> bool:
    """Whether a folder holds a model as others write it, of a family that takes the modality."""
    return path.is_dir() and any(family(name).claims(path) for name in modalities.modality(modality).families)


def family_of(model: nn.Module) -> Family:
    """The family that a model was built by."""
    return family(getattr(model, "family", modalities.FIRST_FAMILY))


def first_family(modality: str) -> Family:
    """Whose models a hub's names mean."""
    return family(next(iter(modalities.modality(modality).families)))


def resolve(spelled: str, *, role: str, modality: str | None = modalities.DEFAULT) -> tuple[str, Family]:
    """A model's name and family for what a person typed, among those that take the modality; None: any.

    Raises:
        UsageError: none knows the name; what the first one said.
    """
    refused: UsageError | None = None
    several = modalities.MODALITIES.values() if modality is None else [modalities.modality(modality)]
    for own in (name for entry in several for name in entry.families):
        try:
            return family(own).resolve(spelled, role), family(own)
        except UsageError as error:
            refused = refused or error
    raise refused or UsageError(f"no family of models takes {modality}")
