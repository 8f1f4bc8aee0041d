"""A causal language model in one ONNX file: what the file says of itself, and its session with a cache. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from compressor.artifact import metadata, session
from compressor.artifact.metadata import showable
from compressor.artifact.session import Artifact
from compressor.artifact.text.tokenizer import Tokenizer
from compressor.errors import ArtifactError, first_line

Logits = NDArray[np.float32]

LONGEST = 80_000_000
"""Characters of metadata: a vocabulary and its merges."""

IDS = "input_ids"
PAST = ("past_key_values.{}.key", "past_key_values.{}.value")
PRESENT = ("present.{}.key", "present.{}.value")
"""What Hugging Face's exports call a layer's cache, going in and coming out."""


class Generation(BaseModel):
    """What writing a text on needs to know."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    end: int | None = None
    """The token that ends a text; None: only the length ends it."""
    positions: int = Field(ge=1, le=1_000_000)
    """Tokens of the longest text, the prompt among them."""
    window: int | None = Field(default=None, ge=1, le=1_000_000)
    """Tokens of the windows that it was trained on; None where nobody says."""


class LanguageMetadata(BaseModel):
    """The description that travels inside a language model's ONNX file, where a classifier has `Metadata`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    schema_version: int = 1
    task: Literal["lm"]
    name: str
    role: str = "model"
    precision: str = "fp32"
    tokenizer: Tokenizer
    generation: Generation
    dataset: dict[str, str | int | float | None] | None = None
    """Name, fingerprint and seed of the data it was trained on."""
    recipe: str | None = None
    """Fingerprint of the resolved recipe."""
    int8: dict[str, Any] | None = None
    """Of an int8 file: the CPU and types that it was made for, and what it adds to the perplexity of the validation text."""
    parity: dict[str, Any] | None = None
    """How closely this file reproduces the PyTorch model on texts."""
    params: int | None = None

    @model_validator(mode="after")
    def _whole(self) -> LanguageMetadata:
        if self.tokenizer.kind != "bytelevel":
            raise ValueError("a language model's tokenizer is a byte-level BPE")
        if self.generation.end is not None and not 0 <= self.generation.end < self.tokenizer.size:
            raise ValueError(f"the end of a text, {self.generation.end}, is no token")
        odd = [text for text in (self.name, self.role) if not showable(text)]
        if odd:
            raise ValueError(f"the name {odd[0][:60]!r} is not printable text")
        return self


class Reader(Protocol):
    """A model with the text that it has read so far."""

    seen: list[int]
    """Tokens in its cache."""
    positions: int
    """As many as it can read in all."""

    def read(self, ids: Sequence[int]) -> Logits:
        """Reads on; (tokens, vocabulary) logits of what may follow each."""

    def cut(self, length: int) -> None:
        """Forgets what comes after the first `length` tokens."""


@dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """A loaded file."""

    artifact: Artifact
    about: LanguageMetadata
    layers: int
    heads: int
    width: int
    """Channels of a head."""

    def reader(self) -> CachedReader:
        """One that has read nothing."""
        return CachedReader(self)

    def logits(self, ids: NDArray[np.int64]) -> Logits:
        """(batch, n) tokens, each row a text from its beginning → (batch, n, vocabulary) logits of what follows each."""
        empty = np.zeros((len(ids), self.heads, 0, self.width), dtype=np.float32)
        feed = {entry.name: ids if entry.name == IDS else empty for entry in self.artifact.inputs}
        return self.run(["logits"], feed)[0][:, :, : self.about.tokenizer.size]

    def run(self, outputs: list[str], feed: dict[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        """What the graph gives. Raises ArtifactError where it fails."""
        try:
            found: list[NDArray[np.float32]] = self.artifact.session.run(outputs, feed)
        except Exception as error:  # onnxruntime raises plain RuntimeError subclasses from C++
            raise ArtifactError(f"{self.artifact.path} fails when run: {first_line(error)}") from error
        return found


class CachedReader:
    """Reads tokens with the cache of keys and values of those before; one text at a time."""

    def __init__(self, model: LanguageModel) -> None:
        self.positions = model.about.generation.positions
        self.seen: list[int] = []
        self._cache: list[NDArray[np.float32]] = []
        self._model = model
        places = range(model.layers)
        self._inputs = [name.format(layer) for layer in places for name in PAST]
        self._outputs = ["logits", *(name.format(layer) for layer in places for name in PRESENT)]
        self._tokens = model.about.tokenizer.size
        self.cut(0)

    def read(self, ids: Sequence[int]) -> Logits:
        """See `Reader`. Logits of numbers that are no token of the vocabulary are left out."""
        assert 0 < len(ids) <= self.positions - len(self.seen)
        feed = dict(zip(self._inputs, self._cache, strict=True)) | {IDS: np.array([ids], dtype=np.int64)}
        logits, *self._cache = self._model.run(self._outputs, feed)
        self.seen += ids
        return logits[0, :, : self._tokens]

    def cut(self, length: int) -> None:
        """See `Reader`."""
        if length == 0:
            empty = np.zeros((1, self._model.heads, 0, self._model.width), dtype=np.float32)
            self._cache = [empty] * len(self._inputs)
        elif length < len(self.seen):
            self._cache = [np.ascontiguousarray(part[:, :, :length]) for part in self._cache]
        del self.seen[length:]


def load(path: str | Path, *, provider: str = "cpu", threads: int | None = None) -> LanguageModel:
    """Opens a language model's file.

    Raises:
        ArtifactError: no such file, damaged, or one that holds no language model.
        ProviderError: the provider isn't there or took no node.
    """
    return of(session.load(path, provider=provider, threads=threads))


def of(artifact: Artifact) -> LanguageModel:
    """A loaded file as a language model. Raises ArtifactError where it holds none."""
    path = artifact.path
    about = parse(artifact.session.get_modelmeta().custom_metadata_map.get(metadata.KEY), str(path))
    shapes = {entry.name: entry.shape for entry in artifact.inputs}
    layers = (len(shapes) - 1) // 2
    wanted = {IDS, *(name.format(layer) for layer in range(layers) for name in PAST)}
    outputs = {entry.name: entry.shape for entry in artifact.session.get_outputs()}
    given = {"logits", *(name.format(layer) for layer in range(layers) for name in PRESENT)}
    first = shapes.get(PAST[0].format(0), ())
    if set(shapes) != wanted or not given <= set(outputs) or not layers:
        raise ArtifactError(f"{path} has damaged compressor metadata: a language model, where its graph has no cache")
    if len(first) != 4 or not (isinstance(first[1], int) and isinstance(first[3], int)):
        raise ArtifactError(f"{path} has damaged compressor metadata: its graph leaves the heads of its cache open")
    tokens = outputs["logits"][-1]
    if isinstance(tokens, int) and tokens < about.tokenizer.size:
        what = f"a tokenizer of {about.tokenizer.size} tokens, where its graph has {tokens}"
        raise ArtifactError(f"{path} has damaged compressor metadata: {what}")
    return LanguageModel(artifact=artifact, about=about, layers=layers, heads=first[1], width=first[3])


def parse(text: str | None, source: str) -> LanguageMetadata:
    """The metadata in `text`, checked. Raises ArtifactError where they are missing, damaged, or a classifier's."""
    if not text:
        raise ArtifactError(
            f"{source} has no compressor metadata: its tokenizer is unknown.\n"
            "Export the model's folder with `compress export`, which writes it into the file."
        )
    if len(text) > LONGEST:
        raise ArtifactError(f"{source} has damaged compressor metadata: {len(text) / 1e6:.0f} MB of it")
    if metadata.task_of(text) != "lm":
        raise ArtifactError(f"{source} holds no language model: it names classes (compress predict {source})")
    try:
        return LanguageMetadata.model_validate_json(text)
    except ValidationError as error:
        raise ArtifactError(f"{source} has damaged compressor metadata: {metadata.wrong(error)}") from error
