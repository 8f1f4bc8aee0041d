"""An exported file, loaded: checked, placed on a provider, ready to give logits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.artifact import external, metadata, providers
from compressor.artifact.metadata import Metadata
from compressor.artifact.preprocessing import Preprocessing, normalize
from compressor.errors import ArtifactError, ProviderError
from compressor.packages import require

TINY = np.float32(1e-30)
"""Probabilities below it are nought in float32's arithmetic."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A loaded ONNX classifier.

    `run` takes what the file takes; `logits` takes pixels and normalises them where the file doesn't.
    """

    path: Path
    session: Any
    provider: str
    placement: dict[str, int]
    elsewhere: dict[str, int]
    """Operators that run on another provider than the one asked for, with their numbers."""
    input_name: str
    input_shape: tuple[int | str | None, ...]
    input_type: str

    @cached_property  # asked for with every batch of a file that takes pixels
    def metadata(self) -> Metadata:
        """What the file says of itself. Raises ArtifactError where it says nothing, or not what its graph is."""
        found = metadata.parse(self.session.get_modelmeta().custom_metadata_map.get(metadata.KEY), str(self.path))
        sides = self.input_shape[1:3] if self.takes_pixels else self.input_shape[2:4]
        classes = self.session.get_outputs()[0].shape[-1:]
        for said, real, what in (
            (found.preprocessing.size, [s for s in sides if isinstance(s, int)], "image size"),
            (len(found.classes), [c for c in classes if isinstance(c, int)], "number of classes"),
        ):
            if any(value != said for value in real):
                raise ArtifactError(
                    f"{self.path} has damaged compressor metadata: {what} {said}, where its graph has {real[0]}"
                )
        return found

    @property
    def batch(self) -> int | None:
        """The frozen batch size, or None when the batch is dynamic."""
        first = self.input_shape[0] if self.input_shape else None
        return first if isinstance(first, int) else None

    @property
    def takes_pixels(self) -> bool:
        """Whether normalisation and softmax are inside: (batch, size, size, 3) uint8 in, probabilities out."""
        return self.input_type == "tensor(uint8)"

    def feed(self, pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[Any]:
        """(batch, size, size, 3) uint8 → what `run` takes."""
        return pixels if self.takes_pixels else normalize(pixels, preprocessing)

    def example(self, batch: int, size: int) -> NDArray[Any]:
        """Noise that `run` takes, with the file's own batch and sides where it fixes them."""
        rng = np.random.default_rng(0)
        height, width = (
            side if isinstance(side, int) else size
            for side in (self.input_shape[1:3] if self.takes_pixels else self.input_shape[2:4])
        )
        if self.takes_pixels:
            return rng.integers(0, 256, (self.batch or batch, height, width, 3), dtype=np.uint8)
        images = rng.standard_normal((self.batch or batch, 3, height, width), dtype=np.float32)
        return images.astype(np.float16) if self.input_type == "tensor(float16)" else images

    def run(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """What the file itself gives, float32: logits for (batch, 3, size, size) float32, or probabilities for pixels."""
        if not self.takes_pixels:
            images = images.astype(np.float16 if self.input_type == "tensor(float16)" else np.float32, copy=False)
        try:
            return np.asarray(self.session.run(None, {self.input_name: images})[0], dtype=np.float32)
        except Exception as error:  # onnxruntime raises plain RuntimeError subclasses from C++
            raise ArtifactError(f"{self.path} fails when run: {_first_line(error)}") from error

    def logits(self, pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
        """(batch, size, size, 3) uint8 → (batch, classes) float32 logits; a frozen batch is fed piecewise.

        Of probabilities the logarithm times the temperature they were made with: logits but for a constant per
        image, which no softmax sees.
        """
        images = self.feed(pixels, preprocessing)
        if self.batch is None or self.batch == len(images):
            given = self.run(images)
        else:
            parts = []
            for start in range(0, len(images), self.batch):
                part = images[start : start + self.batch]
                full = np.resize(part, (self.batch, *part.shape[1:]))  # repeats images to fill the last batch
                parts.append(self.run(full)[: len(part)])
            given = np.concatenate(parts)
        if not self.takes_pixels:
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
        session = ort.InferenceSession(str(path), options, providers=chain, provider_options=settings)
    except ProviderError:
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
    entry = session.get_inputs()[0]
    return Artifact(
        path=path,
        session=session,
        provider=wanted,
        placement=counts,
        elsewhere=providers.elsewhere(session, wanted),
        input_name=entry.name,
        input_shape=tuple(entry.shape),
        input_type=entry.type,
    )


def softmax(logits: NDArray[np.floating[Any]], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities over the last axis, from logits divided by `temperature`, in float64."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    exp = np.exp(scaled)
    return exp / exp.sum(axis=-1, keepdims=True)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
