"""Tables of probabilities as a family: see `models/family.py` for what each function is.

A table answers for the files that it lists, whatever view of them is looked at: it is asked by name, not by pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressor.artifact.preprocessing import Preprocessing
from compressor.models.architecture import Architecture
from compressor.models.family import Prepared
from compressor.models.given import Given, GivenFamily
from compressor.models.outputs import Outputs, Tap
from compressor.models.table.read import Listed
from compressor.text import as_bytes

FAMILY = "table"

FLOOR = 1e-6
"""The least probability whose logarithm is taken: rounded tables are full of noughts, which no softmax gives."""


class TableArchitecture(Architecture):
    """How large it is."""

    samples: int
    """Rows."""
    characters: int
    """Bytes of all names."""


class Table(Given):
    """Probabilities by file name. Its only state is what it lists."""

    probabilities: Tensor
    names: Tensor

    def __init__(self, architecture: TableArchitecture) -> None:
        super().__init__()
        self.register_buffer("probabilities", torch.zeros(architecture.samples, architecture.classes))
        self.register_buffer("names", torch.zeros(architecture.characters, dtype=torch.uint8))

    @cached_property
    def places(self) -> dict[str, int]:
        """File → row."""
        text = self.names.cpu().numpy().tobytes().decode("utf-8", "surrogatepass")
        return {name: row for row, name in enumerate(text.split("\0"))}

    def rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Each sample's row, −1 where it is not listed; unlabelled ones go by their name in their own folder."""
        inside = (i.partition("/")[2] if i.startswith("unlabeled-") else i for i in ids)
        return np.array([self.places.get(name, -1) for name in inside], dtype=np.int64)

    def logits(self, rows: NDArray[np.int64]) -> Tensor:
        """(n, classes): logarithms of the probabilities."""
        return self.probabilities[torch.from_numpy(rows).to(self.probabilities.device)].clamp_min(FLOOR).log()

    def forward(self, *prepared: Tensor) -> NoReturn:
        """It never sees a sample."""
        TABLE.refuse("asked about pixels")


def made(listed: Listed, name: str) -> tuple[Table, TableArchitecture]:
    """A model of a table that was read, and what it is."""
    text = as_bytes("\0".join(listed.files))
    samples, classes = listed.probabilities.shape
    architecture = TableArchitecture(family=FAMILY, name=name, classes=classes, samples=samples, characters=len(text))
    table = Table(architecture)
    table.probabilities = torch.from_numpy(listed.probabilities)
    table.names = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    table.__dict__["family"] = FAMILY
    return table, architecture


class Tables(GivenFamily):
    """Files only: no name means one."""

    noun = "table of probabilities"
    reason = "it answers for the files that it lists, nothing else"

    def read(self, value: Any) -> TableArchitecture:
        """With its number of rows."""
        return TableArchitecture.model_validate(value)

    def build(self, architecture: Architecture) -> nn.Module:
        """With empty rows."""
        assert isinstance(architecture, TableArchitecture)
        return Table(architecture)

    def prepare(self, inputs: dict[str, Tensor], preprocessing: Preprocessing) -> Prepared:
        """It never sees a sample."""
        self.refuse("asked about pixels")

    def forward(
        self, model: nn.Module, prepared: Prepared, *, embedding: bool = False, taps: tuple[int, ...] = ()
    ) -> Outputs:
        """It never sees a sample."""
        self.refuse("asked about pixels")

    def taps(self, model: nn.Module, preprocessing: Preprocessing) -> tuple[list[Tap], int]:
        """None."""
        self.refuse("asked for features")

    def example(self, preprocessing: Preprocessing, batch: int) -> Prepared:
        """Nothing goes in."""
        return ()

    def packages(self) -> tuple[str, ...]:
        """What it says depends on no code."""
        return ()


TABLE = Tables()
