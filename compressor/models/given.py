"""Teachers that are given as answers or as a graph: they speak, and nothing of them can be trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor, nn

from compressor.artifact.preprocessing import Inputs, Preprocessing
from compressor.errors import UsageError
from compressor.models.architecture import Architecture
from compressor.models.family import Known, Prepared, StateDict


class Given(nn.Module):
    """Its buffers hold what was given, whole: a stage's checkpoint needs the original file no more."""

    parameter_count: int | None = None
    """None where it can't be told."""
    mac_count: int | None = None
    """Multiply–accumulates for one sample; None where they can't be told."""


class GivenFamily:
    """What families of given models have in common: see `models/family.py` for what each function is.

    No name means one; images reach them as pixels; what only trained models can do is refused.
    """

    noun: ClassVar[str]
    """`ONNX file`"""
    article: ClassVar[str] = "a"
    reason: ClassVar[str]
    """Why nothing else can be done with one: it follows a colon."""

    def refuse(self, what: str) -> NoReturn:
        """Raises UsageError: it can't be `what`."""
        raise UsageError(f"{self.article} {self.noun} can't be {what}: {self.reason}")

    def resolve(self, spelled: str, role: str) -> str:
        """None is known by name."""
        raise UsageError(f"{role} '{spelled}' is no {self.noun}")

    def claims(self, path: Path) -> bool:
        """They are files, told by their suffix."""
        return False

    def describe(self, name: str, *, classes: int, setup: Any, stem: str, teacher: Known | None = None) -> NoReturn:
        """None is made from a name."""
        self.refuse("made from a name")

    def shrunk(self, teacher: nn.Module, architecture: Architecture) -> StateDict:
        """Nothing starts from one."""
        self.refuse("copied")

    def rate(self) -> float:
        """Nothing of it is trained."""
        self.refuse("trained")

    def dynamic(self) -> dict[str, dict[int, str]]:
        """It is not exported."""
        return {}

    def pretrained(self, architecture: Architecture) -> StateDict:
        """There are none."""
        self.refuse("downloaded")

    def head(self, model: nn.Module) -> set[str]:
        """Nothing of it can be trained."""
        return set()

    def prepare(self, inputs: dict[str, Tensor], preprocessing: Preprocessing) -> Prepared:
        """Pixels as they are: what answers normalises them itself."""
        return (inputs["pixels"],)

    def example(self, preprocessing: Preprocessing, batch: int) -> Prepared:
        """Black."""
        side = preprocessing.facts()["size"]
        return (torch.zeros(batch, side, side, 3, dtype=torch.uint8),)

    def kin(self, name: str) -> list[str]:
        """None is known by name."""
        return []

    def raw(self, preprocessing: Preprocessing, batch: int) -> NoReturn:
        """It is not exported."""
        self.refuse("exported")

    def input_names(self, *, raw: bool) -> tuple[str, ...]:
        """It is not exported."""
        self.refuse("exported")

    def untrained(self, name: str, size: int) -> tuple[Architecture, Preprocessing, Inputs]:
        """There is none."""
        self.refuse("made from a name")
