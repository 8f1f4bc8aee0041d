"""How many validation samples does a calibration temperature need, and would more parameters than one be better?

    python benchmarks/calibration.py runs/NAME --save

From the stored predictions of a finished run: n validation rows are drawn at random, a calibration is fitted to them and
its ECE measured on all test rows. `temperature` is what ships (`metrics.calibration_temperature`); `plain` the same without
smoothed labels; `bias` and `vector` add a bias, and a bias and a scale per class (Guo et al. 2017, section 4.2).
The first model has no miscalibration of any other form: labels drawn from known logits, which are then scaled.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import Log, finish, parser

from compressor.artifact.session import softmax
from compressor.evaluation import metrics
from compressor.evaluation.predictions import Predictions

COUNTS = (50, 100, 200, 500, 1000)
METHODS = ("temperature", "plain", "bias", "vector")
Calibrated = NDArray[np.float32]


def fitted(
    method: str, labels: NDArray[np.int64], logits: NDArray[np.float32], fresh: NDArray[np.float32]
) -> Calibrated:
    """`fresh` logits after the calibration that `method` fits to the others."""
    if method == "temperature":
        return fresh / np.float32(metrics.calibration_temperature(labels, logits))
    from scipy.optimize import minimize

    z, classes = logits.astype(np.float64), logits.shape[1]
    hot = np.eye(classes)[labels]
    own = {"plain": 1, "bias": 1 + classes, "vector": 2 * classes}[method]

    def parts(x: NDArray[np.float64]) -> tuple[Any, Any]:
        if method == "vector":
            return x[:classes], x[classes:]
        return x[0], x[1:] if method == "bias" else 0.0

    def cost(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scale, bias = parts(x)
        p = softmax(z * scale + bias)
        pull = (p - hot) / len(labels)
        down = (pull * z).sum(axis=0)
        gradient = [*(down if method == "vector" else [down.sum()]), *([] if method == "plain" else pull.sum(axis=0))]
        return float(-np.log(np.maximum(p[np.arange(len(labels)), labels], 1e-300)).mean()), np.array(gradient)

    start = np.zeros(own)
    start[: classes if method == "vector" else 1] = 1.0
    limits = [(0.05, 20.0)] * (classes if method == "vector" else 1)
    scale, bias = parts(minimize(cost, start, jac=True, bounds=limits + [(-20.0, 20.0)] * (own - len(limits))).x)
    found: NDArray[np.float32] = (fresh * scale + bias).astype(np.float32)
    return found


def drawn(rng: np.random.Generator, count: int, scale: float) -> Predictions:
    """Labels drawn from known logits of a model that is right about two times in three; the logits are then scaled."""
    logits = rng.normal(0, 2, (count, 10)).astype(np.float32)
    labels = (softmax(logits).cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    return Predictions(ids=np.arange(count).astype(str), labels=labels, logits=logits * np.float32(scale))


def curve(validation: Predictions, test: Predictions, draws: int) -> dict[str, Any]:
    """Per method and n the mean and the 95th percentile of the test ECE, over draws of n validation rows."""
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {
        "raw": metrics.ece(test.labels, test.logits),
        "top1": metrics.top_k(test.labels, test.logits, 1),
    }
    for count in (*(c for c in COUNTS if c < len(validation.labels)), len(validation.labels)):
        seen: dict[str, list[float]] = {method: [] for method in METHODS}
        for _ in range(draws if count < len(validation.labels) else 1):
            rows = rng.choice(len(validation.labels), count, replace=False)
            for method in METHODS:
                fresh = fitted(method, validation.labels[rows], validation.logits[rows], test.logits)
                seen[method].append(metrics.ece(test.labels, fresh))
        found[str(count)] = {
            method: {"mean": float(np.mean(values)), "p95": float(np.quantile(values, 0.95))}
            for method, values in seen.items()
        }  # fmt: skip
    return found


def main() -> None:
    """Measures and reports."""
    made = parser(__doc__)
    made.add_argument("runs", nargs="*", help="run folders")
    made.add_argument("--draws", type=int, default=50, help="random subsets of validation per n")
    arguments = made.parse_args()
    draws = 5 if arguments.quick else arguments.draws
    pairs: dict[str, tuple[Predictions, Predictions]] = {}
    for scale in (2.0,):
        rng = np.random.default_rng(1)
        pairs[f"known logits × {scale:g}"] = drawn(rng, 5000, scale), drawn(rng, 10_000, scale)
    for run in arguments.runs:
        for folder in sorted(Path(run).glob("stages/*/seed*")):
            pair = [Predictions.load(folder / name) for name in ("validation.npz", "predictions.npz")]
            pairs[f"{Path(run).name}/{folder.parent.name}"] = pair[0], pair[1]
    found, log = {}, Log()
    for name, (validation, test) in pairs.items():
        log.say(name)
        found[name] = curve(validation, test, draws)
    lines = [
        (name, f"{own['top1']:.3f}", f"{own['raw']:.3f}", count,
         *(f"{at[method]['mean']:.3f} ({at[method]['p95']:.3f})" for method in METHODS))
        for name, own in found.items() for count, at in own.items() if isinstance(at, dict)
    ]  # fmt: skip
    finish(arguments, "calibration", {"draws": draws, "models": found},
           title="ECE on test after a calibration fitted to n validation samples",
           header=("model", "top-1", "raw ECE", "n", *METHODS), lines=lines,
           remarks=("Mean over random subsets of validation (95th percentile); the last n of a model is all of validation.",))  # fmt: skip


if __name__ == "__main__":
    main()
