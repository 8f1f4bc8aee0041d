"""Ranges of activations, from training samples fed in batches: memory does not grow with their number."""

from __future__ import annotations

import contextlib
import copy
import io
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from compressor.data.dataset import Dataset
from compressor.errors import CompressorError

METHODS = ("min-max", "percentile", "entropy")

BATCH = 8
"""Samples at a time: all activations of a batch are in memory at once."""

BINS = 256
LEVELS = 128
PERCENTILE = 99.99

Feed = dict[str, NDArray[Any]]
"""A batch by the graph's input names."""

Ranges = dict[str, tuple[float, float]]
"""Tensor → (lowest, highest) value that its integers can express."""


def calibration_indices(dataset: Dataset, count: int) -> NDArray[np.int64]:
    """Training samples, spread over the classes, that ranges of activations are measured on."""
    return dataset.spread("train", count, "calibration")


class Calibration:
    """Histograms of every tensor at the given operators' inputs and outputs, from one pass over the samples.

    onnxruntime's histogram calibrator holds all activations between two calls of `collect_data`: it gets one
    batch per call. Its histograms give the extremes (`min-max`), the 99.99th percentile, and the threshold of
    least relative entropy (Migacz 2017, TensorRT's), all three.
    """

    def __init__(self, model: onnx.ModelProto, batches: Iterable[Feed], operators: Iterable[str]) -> None:
        """
        Args:
            model: float graph with inferred shapes.
            batches: what the graph's inputs take.
            operators: whose tensors are looked at.

        Raises:
            CompressorError: no samples, or an activation is not finite.
        """
        from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

        with tempfile.TemporaryDirectory() as folder, _silent():
            source = Path(folder) / "model.onnx"
            onnx.save(model, source)
            calibrator: Any = create_calibrator(
                source,
                list(operators),
                augmented_model_path=str(Path(folder) / "augmented.onnx"),
                calibrate_method=CalibrationMethod.Percentile,
                # Symmetric ranges, its default, would waste half of the integers behind every ReLU.
                extra_options={"symmetric": False, "num_bins": BINS, "percentile": PERCENTILE},
            )
            for feed in batches:
                calibrator.collect_data(_OneBatch(feed))
        if calibrator.collector is None:
            raise CompressorError("no samples to calibrate with")
        self._collector = calibrator.collector
        self._found: dict[str, Ranges] = {}
        odd = [name for name, pair in self.ranges("min-max").items() if not np.isfinite(pair).all()]
        if odd:
            raise CompressorError(f"activations are not finite at '{odd[0]}': such a model can't be quantised")

    def ranges(self, method: str) -> Ranges:
        """Tensor → range by one of `METHODS`."""
        if method not in self._found:
            self._found[method] = self._compute(method)
        return self._found[method]

    def _compute(self, method: str) -> Ranges:
        if method == "min-max":
            found = {name: (histogram[2], histogram[3]) for name, histogram in self._collector.histogram_dict.items()}
        elif method == "percentile":
            with _silent():
                found = self._collector.compute_percentile()
        else:
            collector = copy.copy(self._collector)
            collector.num_quantized_bins = LEVELS
            collector.histogram_dict = {k: _coarse(v) for k, v in self._collector.histogram_dict.items()}
            with _silent():
                found = collector.compute_entropy()
        return {name: (float(values[0]), float(values[1])) for name, values in found.items()}


def _coarse(histogram: tuple[Any, ...]) -> tuple[Any, ...]:
    """A histogram that grew with its range, merged to about `BINS` bins: the search is quadratic in them."""
    counts, edges, *rest = histogram
    factor = -(-len(counts) // BINS)
    if factor == 1:
        return histogram
    bins = 2 * -(-len(counts) // (2 * factor))
    pad = (bins * factor - len(counts)) // 2  # on both sides: nought stays in the middle
    merged = np.pad(counts, pad).reshape(bins, factor).sum(axis=1)
    half = (edges[1] - edges[0]) * factor * bins / 2
    return merged, np.linspace(-half, half, bins + 1, dtype=edges.dtype), *rest


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """onnxruntime's calibrators print what they do, and divide by nought for tensors that are always nought."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class _OneBatch:
    """The reader that onnxruntime's calibrators want, with one batch in it."""

    def __init__(self, feed: dict[str, NDArray[Any]]) -> None:
        self.feed: dict[str, NDArray[Any]] | None = feed

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The batch, then None."""
        feed, self.feed = self.feed, None
        return feed
