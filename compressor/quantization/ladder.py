"""The ladder: int8 files from the cheapest recipe up, until one is accurate enough and not slower than fp32."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from compressor.artifact import session
from compressor.artifact.metadata import Metadata
from compressor.artifact.preprocessing import Inputs, filled, taken
from compressor.artifact.session import Artifact
from compressor.data.dataset import Dataset
from compressor.evaluation import metrics
from compressor.evaluation.predictions import Batches, Predictions, Predictor, predict_artifact
from compressor.exporting import parity
from compressor.exporting.document import Parity
from compressor.exporting.export import check, write_metadata
from compressor.files import replacing
from compressor.progress import Progress
from compressor.quantization import speed
from compressor.quantization.calibrate import BATCH, METHODS, Calibration, Feed, calibration_indices
from compressor.quantization.config import Int8Config
from compressor.quantization.correct import correct_biases, rank
from compressor.quantization.cpus import TARGETS, IntegerTypes, detect, runs_here
from compressor.quantization.document import Int8, Rung, Speed
from compressor.quantization.graph import WEIGHTED
from compressor.quantization.quantize import candidates, operators, quantize
from compressor.quantization.rewrites import prepare
from compressor.quantization.temper import retemper

SAME_SIZE = 0.01
"""Files whose sizes differ by less than this share count as equally small: then the closer one to fp32 is taken."""

KEPT_BYTES = 256_000_000
"""Bytes of validation inputs that are held in memory instead of being read for every rung."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the ladder came to."""

    chosen: Rung | None
    """None where no rung qualified: fp32 stays."""
    reason: str
    rungs: tuple[Rung, ...]
    about: dict[str, Any]
    """What the file assumes, for metadata and report."""
    parity: Parity | None = None

    def document(self) -> Int8:
        """For `int8.json`, `exports.json` and the table."""
        kept = self.chosen.name if self.chosen else None
        return Int8(kept=kept, reason=self.reason, rungs=list(self.rungs), **self.about)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be quantised, and on which samples it is judged."""

    fp32: Path
    """The float file; it has passed the gate and describes itself."""
    dataset: Dataset
    reference: Predictor
    """The PyTorch model: what rewrites are checked against."""
    inputs: Inputs
    """Validation samples for the gate."""
    batches: tuple[int, ...] = parity.BATCHES
    top1: float | None = None
    """Validation accuracy that the drop counts from; None: the float file's own."""


@dataclass(kw_only=True)
class _Climb:
    """A ladder being climbed."""

    job: Job
    config: Int8Config
    types: IntegerTypes
    metadata: Metadata
    folder: Path
    model: onnx.ModelProto
    calibration: Calibration
    samples: list[Feed]
    """A few calibration batches, for biases and for ranking."""
    validation: Batches | None
    """Inputs of the validation split where they are few, so that they are read once."""
    fp32: Predictions
    top1: float
    rungs: list[Rung]
    progress: Progress

    def path(self, rung: Rung) -> Path:
        return self.folder / f"{rung.name.replace(' ', '_')}.onnx"


def climb(job: Job, path: Path, config: Int8Config, progress: Progress) -> Outcome:
    """Writes an int8 file to `path` when a rung qualifies; else leaves nothing there and says why.

    Ranges come from training samples as evaluation sees them; every choice is made on validation.

    Raises:
        ParityError: the graph, rewritten for integers, no longer gives the model's results.
        CompressorError: activations that are not finite, or no samples.
    """
    target = detect() if config.target == "auto" else config.target
    types = TARGETS[target]
    with tempfile.TemporaryDirectory() as folder:
        climbing = _start(job, config, types, Path(folder), progress)
        for steps in (_calibrated, _corrected, _partly_float):
            steps(climbing)
            if any(rung.within for rung in climbing.rungs):
                break
        chosen, reason = _choose(climbing)
        about = _about(climbing, chosen)
        if chosen is None:
            return Outcome(chosen=None, reason=reason, rungs=tuple(climbing.rungs), about=about)
        made = climbing.path(chosen)
        seen = check(job.reference, made, job.inputs, job.batches, fused=runs_here(types.target))
        # Only now: at another temperature, logarithms of probabilities differ by a constant per row.
        described = _tempered(climbing, made, chosen)
        about["temperature"] = described.temperature  # the model's, where it could not be changed inside the graph
        write_metadata(made, described.model_copy(update={"parity": seen.as_dict(), "int8": about}))
        with replacing(path) as temporary:
            shutil.copyfile(made, temporary)
    return Outcome(chosen=chosen, reason=reason, rungs=tuple(climbing.rungs), about=about, parity=seen)


def _start(job: Job, config: Int8Config, types: IntegerTypes, folder: Path, progress: Progress) -> _Climb:
    float_file = session.load(job.fp32)
    metadata = float_file.metadata
    few = taken(job.inputs, slice(2 * sum(job.batches)))

    def faithful(model: onnx.ModelProto) -> None:
        onnx.save(model, folder / "rewritten.onnx")
        write_metadata(folder / "rewritten.onnx", metadata)
        seen = check(job.reference, folder / "rewritten.onnx", few, job.batches)
        parity.gate(seen, "fp32", "the rewritten graph")

    model, applied = prepare(onnx.load(job.fp32), faithful, progress)
    if applied:
        progress.say("int8: " + ", ".join(f"{name} ×{count}" for name, count in applied.items()))
    chosen = calibration_indices(job.dataset, config.calibration_images)
    step = float_file.batch or BATCH
    progress.say(f"int8 for {types.target}: measuring ranges on {len(chosen)} training samples")
    calibration = Calibration(model, _batches(job.dataset, float_file, chosen, step), operators(model))
    few_indices = calibration_indices(job.dataset, min(config.correction_images, config.calibration_images))
    validation = job.dataset.kept("validation", metadata.preprocessing, KEPT_BYTES)
    fp32 = predict_artifact(float_file, job.dataset, "validation", batches=validation)
    return _Climb(
        job=job,
        config=config,
        types=types,
        metadata=metadata,
        folder=folder,
        model=model,
        calibration=calibration,
        samples=list(_batches(job.dataset, float_file, few_indices, step)),
        validation=validation,
        fp32=fp32,
        top1=metrics.top_k(fp32.labels, fp32.logits, 1) if job.top1 is None else job.top1,
        rungs=[],
        progress=progress,
    )


def _batches(dataset: Dataset, artifact: Artifact, indices: NDArray[np.int64], step: int) -> Iterator[Feed]:
    """What the graph's inputs take, batch by batch; only one is in memory. A frozen batch is filled with repeats."""
    preprocessing = artifact.metadata.preprocessing
    for start in range(0, len(indices), step):
        inputs = preprocessing.encode([dataset.read(int(i)) for i in indices[start : start + step]])
        if artifact.batch is not None:
            inputs = filled(inputs, artifact.batch)
        yield artifact.named(artifact.feed(inputs))


def _calibrated(climbing: _Climb) -> None:
    """Every calibration: the file's size is the same for all, so that the closest to fp32 can be taken."""
    for method in METHODS:
        _try(climbing, method, calibration=method)


def _corrected(climbing: _Climb) -> None:
    """Bias correction on the best calibration. It takes long, and does not always help: see docs/log.md."""
    best = min(climbing.rungs, key=_fitness)
    _try(climbing, f"{best.calibration} + bias correction", calibration=best.calibration, bias_correction=True)


def _fitness(rung: Rung) -> tuple[float, float]:
    return max(rung.drop, 0.0), rung.error


def _partly_float(climbing: _Climb) -> None:
    """Leaves 1, 2, 4, … of the most sensitive nodes in float, until the drop is small enough or `most_float`."""
    most = climbing.config.most_float
    if not most:
        return
    best = min(climbing.rungs, key=_fitness)
    climbing.progress.say("int8: ranking the nodes by what their integers cost")
    ranges = climbing.calibration.ranges(best.calibration)
    ranked = rank(climbing.model, ranges, climbing.types, candidates(climbing.model), climbing.samples)
    for count in sorted({2**k for k in range(16) if 2**k <= most} | {most}):
        kept = tuple(name for name, _ in ranked[:count])
        rung = _try(climbing, f"{best.name} + {count} in float", calibration=best.calibration,
                    bias_correction=best.bias_correction, float_nodes=kept)  # fmt: skip
        if rung.within or count >= len(ranked):
            break


def _try(
    climbing: _Climb,
    name: str,
    *,
    calibration: str,
    bias_correction: bool = False,
    float_nodes: tuple[str, ...] = (),
    only_weighted: bool = False,
) -> Rung:
    model = climbing.model
    nodes = [n for n in candidates(model, WEIGHTED if only_weighted else None) if n not in float_nodes]
    made = quantize(model, climbing.calibration.ranges(calibration), climbing.types, nodes=nodes)
    if bias_correction:
        correct_biases(model, made, climbing.samples)
    rung = Rung(
        name=name, calibration=calibration, bias_correction=bias_correction, float_nodes=float_nodes,
        only_weighted=only_weighted, bytes=0, top1=0.0, drop=0.0, error=0.0, within=False,
    )  # fmt: skip
    path = climbing.path(rung)
    onnx.save(made, path)
    write_metadata(path, climbing.metadata.model_copy(update={"precision": "int8", "parity": None}))
    artifact = session.load(path, fused=runs_here(climbing.types.target))
    seen = predict_artifact(artifact, climbing.job.dataset, "validation", batches=climbing.validation)
    top1 = metrics.top_k(seen.labels, seen.logits, 1)
    drop = 100 * (climbing.top1 - top1)
    error = float(
        np.square(_centred(seen) - _centred(climbing.fp32)).mean() / np.square(_centred(climbing.fp32)).mean()
    )
    rung = rung.model_copy(
        update={
            "bytes": path.stat().st_size,
            "top1": top1,
            "drop": drop,
            "error": error if np.isfinite(error) else 1e9,
            "within": drop <= climbing.config.max_drop + 1e-9,
            "temperature": metrics.calibration_temperature(seen.labels, seen.logits),
        }
    )
    climbing.rungs.append(rung)
    climbing.progress.say(f"int8: {name}: {drop:+.2f} points lost, logits' error {error:.2g}")
    return rung


def _centred(seen: Predictions) -> NDArray[np.float32]:
    """Logits without each row's mean, which says nothing about its class."""
    centred: NDArray[np.float32] = seen.logits - seen.logits.mean(axis=1, keepdims=True)
    return centred


def _choose(climbing: _Climb) -> tuple[Rung | None, str]:
    """The smallest file within the drop (of equals the one closest to fp32), if it is not slower than fp32 here."""
    within = [rung for rung in climbing.rungs if rung.within]
    limit = climbing.config.max_drop
    if not within:
        least = min(rung.drop for rung in climbing.rungs)
        return None, (
            f"no int8 file keeps within {limit:g} points of fp32 on validation: the best loses {least:.2f}. "
            "Raise --max-drop, or recover it with --qat"
        )
    smallest = min(rung.bytes for rung in within)
    best = min((r for r in within if r.bytes <= (1 + SAME_SIZE) * smallest), key=lambda r: (r.error, r.bytes))
    if climbing.config.allow_slower:
        return best, f"loses {best.drop:.2f} points on validation; speed was not asked for"
    if not runs_here(climbing.types.target):
        return best, f"loses {best.drop:.2f} points on validation; made for {climbing.types.target}, not timed here"
    timed = _time(climbing, best)
    if speed.acceptable(timed.speed):
        return timed, f"loses {best.drop:.2f} points on validation; {speed.described(timed.speed)}"
    # Integers between the convolutions may be what is slow here.
    again = _try(climbing, f"{best.name} + weighted nodes only", calibration=best.calibration,
                 bias_correction=best.bias_correction, float_nodes=best.float_nodes, only_weighted=True)  # fmt: skip
    if again.within:
        again = _time(climbing, again)
        if speed.acceptable(again.speed):
            return again, f"loses {again.drop:.2f} points on validation; {speed.described(again.speed)}"
    return None, (
        f"int8 is within {limit:g} points of fp32 but {speed.described(timed.speed)} on this machine. "
        "Keep it for its size with --allow-slower, or name the CPU it is for with --target"
    )


def _time(climbing: _Climb, rung: Rung) -> Rung:
    climbing.progress.say(f"int8: timing {rung.name} against fp32")
    path, processes = climbing.path(rung), climbing.config.processes
    measured: Speed = speed.against(climbing.job.fp32, path, processes, climbing.progress)
    timed = rung.model_copy(update={"speed": measured})
    climbing.rungs[climbing.rungs.index(rung)] = timed
    return timed


def _about(climbing: _Climb, chosen: Rung | None) -> dict[str, Any]:
    about: dict[str, Any] = {
        **climbing.types.as_dict(),
        "max_drop": climbing.config.max_drop,
        "calibration_images": climbing.config.calibration_images,
        "fp32_validation_top1": climbing.top1,
    }
    if chosen is not None:
        about |= {
            "calibration": chosen.calibration,
            "bias_correction": chosen.bias_correction,
            "float_nodes": len(chosen.float_nodes),
            "only_weighted": chosen.only_weighted,
            "validation_top1": chosen.top1,
            "speed": chosen.speed and chosen.speed.as_dict(),
        }
    return about


def _tempered(climbing: _Climb, made: Path, chosen: Rung) -> Metadata:
    """What the kept file says of itself, at its own temperature: integers change logits, so their calibration, too."""
    own = climbing.metadata.model_copy(update={"precision": "int8"})
    if chosen.temperature is None:
        return own
    if own.output == "probabilities":
        model = onnx.load(made)
        if not retemper(model, chosen.temperature):
            return own
        onnx.save(model, made)
    return own.model_copy(update={"temperature": chosen.temperature, "temperature_of": "file"})
