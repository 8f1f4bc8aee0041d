"""What goes into a model: from what a person names to the arrays that a graph takes. No torch.

Each modality has one such class (`modalities.py`); what is here holds for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from compressor import modalities

LONGEST = 32_000_000
"""Characters of a preprocessing's JSON, that an exported file carries."""

Inputs = dict[str, NDArray[Any]]
"""Named arrays, the first axis being samples: things encoded, before a model's own normalisation."""


@dataclass(frozen=True, kw_only=True)
class GraphInput:
    """An input of an ONNX graph."""

    name: str
    shape: tuple[int | str | None, ...]
    type: str
    """onnxruntime's spelling: `tensor(float)`."""

    @property
    def plain(self) -> bool:
        """Whether any noise will do: all sides are known, and no number is one of a vocabulary or a mask."""
        known = all(isinstance(side, int) for side in self.shape[1:])
        return known and self.type not in ("tensor(int64)", "tensor(int32)", "tensor(bool)")


class Preprocessing(BaseModel, ABC):
    """How things reach a model. Travels in a checkpoint's card and in the exported file's metadata."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    modality: ClassVar[str]
    """Its name in `modalities.MODALITIES`."""

    @property
    @abstractmethod
    def view_key(self) -> str:
        """Models whose keys are equal see the very same views."""

    @property
    def encoding(self) -> str:
        """Models for whom this is equal are given the very same by `encode`."""
        return self.model_dump_json()

    @property
    @abstractmethod
    def shown(self) -> str:
        """What goes in, for a person: `64 px`."""

    @abstractmethod
    def sources(self, name: str) -> list[tuple[str, Any]]:
        """What a person names on the command line (a file, a folder, …) as (shown, what `open` takes) each.

        Raises:
            UsageError: nothing of this modality is there.
        """

    @abstractmethod
    def open(self, source: Any) -> Any:
        """One thing, read. Raises OSError where it can't be."""

    @abstractmethod
    def encode(self, things: Sequence[Any]) -> Inputs:
        """Things as arrays, as evaluation and the device see them."""

    @abstractmethod
    def feed(self, inputs: Inputs, graph: Sequence[GraphInput]) -> tuple[NDArray[Any], ...]:
        """Encoded things as the graph's inputs, in its order; a graph may take them raw (`--uint8-input`)."""

    @abstractmethod
    def example(
        self, batch: int, graph: Sequence[GraphInput], length: int | Sequence[int] | None = None
    ) -> tuple[NDArray[Any], ...]:
        """Noise that the graph takes: `length` long where it leaves that open, or each sample as long as said; None: the
        longest. Things of one size have no length."""

    @abstractmethod
    def contradiction(self, graph: Sequence[GraphInput]) -> str | None:
        """What the graph's inputs say against this, as `size 32, where its graph has 64`; None for nothing."""

    def facts(self) -> dict[str, int]:
        """What a benchmark notes of the input beside it, such as its size."""
        return {}

    def lengths(self, things: Iterable[Any]) -> list[int] | None:
        """How long each thing is for a graph that leaves that open; None, without a look, where all are of one size."""
        return None

    def used(self, inputs: Inputs) -> NDArray[np.int64] | None:
        """(samples,): how much of each encoded sample is no padding; None where all are of one size."""
        return None

    def extremes(self, inputs: Inputs) -> dict[str, Inputs]:
        """In words → samples made of these, as short and as long as can be; nothing where all are of one size."""
        return {}


def parse(modality: str, value: Any) -> Any:
    """A document's `preprocessing` as the modality's own class; what is one already is passed on."""
    if isinstance(value, Preprocessing):
        return value
    kind: type[Preprocessing] = modalities.part(modalities.modality(modality).preprocessing)
    return kind.model_validate(value)


def count(inputs: Inputs) -> int:
    """How many samples there are."""
    return len(next(iter(inputs.values())))


def taken(inputs: Inputs, which: Any) -> Inputs:
    """Some of the samples, by slice or indices."""
    return {name: array[which] for name, array in inputs.items()}


def filled(inputs: Inputs, size: int) -> Inputs:
    """Exactly `size` samples: repeated from the first on where there are fewer."""
    return {name: np.resize(array, (size, *array.shape[1:])) for name, array in inputs.items()}


TOKENS: dict[str, Any] = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
"""Types of inputs that are numbers of a vocabulary, or masks."""


def noise(entry: GraphInput, batch: int, free: int | None = None) -> NDArray[Any]:
    """Noise for one input; `free` stands for its sides that the graph leaves open."""
    rng = np.random.default_rng(0)
    sides = tuple(side if isinstance(side, int) else free or 1 for side in entry.shape[1:])
    if entry.type == "tensor(uint8)":
        return rng.integers(0, 256, (batch, *sides), dtype=np.uint8)
    if entry.type in TOKENS:  # any vocabulary has a 0; no sample may be hidden whole
        return np.full((batch, *sides), "mask" in entry.name, dtype=TOKENS[entry.type])
    values = rng.standard_normal((batch, *sides), dtype=np.float32)
    return values.astype(np.float16) if entry.type == "tensor(float16)" else values
