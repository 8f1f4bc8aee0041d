"""An exported file, loaded: checked, placed on a provider, ready to give logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.artifact import external, metadata, providers
from compressor.artifact.metadata import Metadata
from compressor.artifact.preprocessing import TOKENS, GraphInput, Inputs, count, filled, noise, taken
from compressor.errors import ArtifactError, CompressorError, ProviderError
from compressor.packages import require

TINY = np.float32(1e-30)
"""Probabilities below it are nought in float32's arithmetic."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A loaded ONNX classifier: `run` takes what the graph takes, `logits` encoded things."""

    path: Path
    session: Any
    provider: str
    placement: dict[str, int]
    elsewhere: dict[str, int]
    """Operators that run on another provider than the one asked for, with their numbers."""
    inputs: tuple[GraphInput, ...]

    @cached_property  # asked for with every batch
    def metadata(self) -> Metadata:
        """What the file says of itself. Raises ArtifactError where it says nothing, or not what its graph is."""
        found = metadata.parse(self.session.get_modelmeta().custom_metadata_map.get(metadata.KEY), str(self.path))
        classes = self.session.get_outputs()[0].shape[-1:]
        against = found.preprocessing.contradiction(self.inputs)
        if any(isinstance(c, int) and c != len(found.classes) for c in classes):
            against = against or f"number of classes {len(found.classes)}, where its graph has {classes[0]}"
        if against:
            raise ArtifactError(f"{self.path} has damaged compressor metadata: {against}")
        return found

    @property
    def described(self) -> bool:
        """Whether it carries the metadata that `compress export` writes."""
        return metadata.KEY in self.session.get_modelmeta().custom_metadata_map

    @property
    def task(self) -> str | None:
        """What its metadata say it is for: `lm`; a classifier's don't say."""
        return metadata.task_of(self.session.get_modelmeta().custom_metadata_map.get(metadata.KEY, ""))

    @property
    def batch(self) -> int | None:
        """The frozen batch size, or None when the batch is dynamic."""
        shape = self.inputs[0].shape
        first = shape[0] if shape else None
        return first if isinstance(first, int) else None

    @property
    def any_length(self) -> bool:
        """Whether it takes tokens, and the graph leaves open how many."""
        return all(e.type in TOKENS and len(e.shape) == 2 and not isinstance(e.shape[1], int) for e in self.inputs)

    def example(self, batch: int, length: int | Sequence[int] | None = None) -> tuple[NDArray[Any], ...]:
        """Noise that `run` takes, with the file's own batch where it fixes it; `length` as `Preprocessing.example` has it.

        Where the graph says enough, the file's modality need not be known here: the benchmark's child is a bare one.
        """
        batch = self.batch or batch
        if self.described and not all(entry.plain for entry in self.inputs):
            return self.metadata.preprocessing.example(batch, self.inputs, length)
        return tuple(noise(entry, batch, length if isinstance(length, int) else None) for entry in self.inputs)

    def named(self, arrays: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Arrays in the graph's order by its inputs' names, as onnxruntime wants them."""
        return {entry.name: array for entry, array in zip(self.inputs, arrays, strict=True)}

    def run(self, arrays: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """What the file itself gives for its inputs, float32: logits or probabilities."""
        try:
            return np.asarray(self.session.run(None, self.named(arrays))[0], dtype=np.float32)
        except Exception as error:  # onnxruntime raises plain RuntimeError subclasses from C++
            raise ArtifactError(f"{self.path} fails when run: {_first_line(error)}") from error

    def feed(self, inputs: Inputs) -> tuple[NDArray[Any], ...]:
        """Encoded things as `run` takes them."""
        return self.metadata.preprocessing.feed(inputs, self.inputs)

    def logits(self, inputs: Inputs) -> NDArray[np.float32]:
        """Encoded things → (rows, classes) float32 logits; a frozen batch is fed piecewise.

        Of probabilities the logarithm times the temperature they were made with: logits but for a constant per
        row, which no softmax sees.
        """
        samples = count(inputs)
        if self.batch is None or self.batch == samples:
            given = self.run(self.feed(inputs))
        else:
            parts = []
            for start in range(0, samples, self.batch):
                part = taken(inputs, slice(start, start + self.batch))
                answer = self.run(self.feed(filled(part, self.batch)))
                parts.append(answer[: len(answer) * count(part) // self.batch])
            given = np.concatenate(parts)
        if self.metadata.output == "logits":
            return given
        scaled: NDArray[np.float32] = np.log(np.maximum(given, TINY)) * np.float32(self.metadata.temperature or 1.0)
        return scaled


def load(path: str | Path, *, provider: str = "cpu", threads: int | None = None, fused: bool = True) -> Artifact:
    """Opens an ONNX file on one provider, with the CPU behind it for what the provider can't run.

    Args:
        path: the file.
        provider: short or full name of an execution provider.
        threads: intra-op threads; None lets onnxruntime choose.
        fused: False runs the graph as it stands: integers are simulated in float, exactly, whatever the CPU.

    Raises:
        ArtifactError: no such file, not ONNX, or damaged.
        ProviderError: the provider isn't there or took no node.
    """
    path = Path(path)
    require("onnxruntime")
    import onnxruntime as ort

    if not path.is_file():
        raise ArtifactError(f"no file {path}")
    external.check(path)
    wanted = providers.resolve(provider)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if not fused:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if threads:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    chain = list(dict.fromkeys([wanted, "CPUExecutionProvider"]))
    try:
        settings = [providers.OPTIONS.get(name, {}) for name in chain]
        session = ort.InferenceSession(_opened(path), options, providers=chain, provider_options=settings)
    except CompressorError:
        raise
    except Exception as error:  # onnxruntime raises plain RuntimeError subclasses from C++
        raise ArtifactError(f"{path} can't be loaded by onnxruntime: {_first_line(error)}") from error
    if session.get_providers()[0] != wanted:
        raise ProviderError(
            f"provider '{provider}' ({wanted}) could not start; onnxruntime fell back to "
            f"{session.get_providers()[0]}. `compress doctor` shows what is missing."
        )
    counts = providers.placement(session)
    providers.check_placement(counts, wanted, str(path))
    return Artifact(
        path=path,
        session=session,
        provider=wanted,
        placement=counts,
        elsewhere=providers.elsewhere(session, wanted),
        inputs=tuple(GraphInput(name=e.name, shape=tuple(e.shape), type=e.type) for e in session.get_inputs()),
    )


def _opened(path: Path) -> str | bytes:
    """What onnxruntime opens: the path, or the content where the path is no UTF-8, which it can't take."""
    name = str(path)
    if name.isascii() or not any("\ud800" <= c <= "\udfff" for c in name):
        return name
    if external.named(path):
        raise ArtifactError(f"{path} keeps weights in other files, and its path is no UTF-8: rename it")
    return path.read_bytes()


def softmax(logits: NDArray[np.floating[Any]], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities over the last axis, from logits divided by `temperature`, in float64."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    exp = np.exp(scaled)
    probabilities: NDArray[np.float64] = exp / exp.sum(axis=-1, keepdims=True)
    return probabilities


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
