"""The parity gate: does a file give the model's logits on real samples, at several batch sizes?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compressor.artifact.preprocessing import Inputs, count, taken
from compressor.errors import ParityError
from compressor.evaluation.predictions import Predictor
from compressor.exporting.document import Parity

LIMITS = {"fp32": 1e-3, "fp16": 1e-2}
"""Largest relative error of the logits, per precision."""

AGREEMENT = 0.99

BATCHES = (1, 2, 7)
"""Batch sizes that are fed in turn: one, two and an odd one; a frozen batch in the graph shows."""


def compare(reference: Predictor, candidate: Predictor, inputs: Inputs, *, batches: tuple[int, ...]) -> Parity:
    """Feeds both the same real samples, `batches` in turn."""
    expected, given = [], []
    start = turn = 0
    while start < count(inputs):
        part = taken(inputs, slice(start, start + batches[turn % len(batches)]))
        expected.append(reference(part))
        given.append(candidate(part))
        start, turn = start + count(part), turn + 1
    return difference(np.concatenate(expected), np.concatenate(given))


def difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> Parity:
    """Parity of logits `b` with the reference `a`, both (rows, classes)."""
    if a.shape != b.shape:
        raise ParityError(f"the file gives logits of shape {b.shape} where the model gives {a.shape}")
    error = float(np.abs(a - b).max() / max(float(np.abs(a).max()), 1e-12))
    return Parity(
        max_relative_error=error if np.isfinite(b).all() else float("inf"),
        top1_agreement=float((a.argmax(1) == b.argmax(1)).mean()),
        samples=len(a),
    )


def gate(parity: Parity, precision: str, source: str, *, agreement: float = AGREEMENT) -> None:
    """Raises ParityError when the file is not close enough."""
    limit = LIMITS[precision]
    if not parity.max_relative_error <= limit or parity.top1_agreement < agreement:
        raise ParityError(
            f"{source} does not reproduce the PyTorch model: relative error {parity.max_relative_error:.2g} "
            f"(limit {limit:g}), top-1 agreement {parity.top1_agreement:.3f} (at least {agreement:g}) "
            f"on {parity.samples} validation samples.\nThe file was not kept."
        )
