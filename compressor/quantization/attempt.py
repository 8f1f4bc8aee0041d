"""A ladder being climbed: the float graph it starts from, and one rung of it made and judged on validation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from compressor.artifact import session
from compressor.artifact.preprocessing import TOKENS, Inputs, filled, taken
from compressor.artifact.session import Artifact
from compressor.data.dataset import Dataset
from compressor.evaluation import metrics
from compressor.evaluation.predictions import Batches, Predictions, Predictor, predict_artifact
from compressor.exporting import parity
from compressor.exporting.export import check, write_metadata
from compressor.progress import Progress
from compressor.quantization.calibrate import BATCH, Calibration, Feed, calibration_indices
from compressor.quantization.config import Int8Config
from compressor.quantization.correct import correct_biases
from compressor.quantization.cpus import IntegerTypes, runs_here
from compressor.quantization.document import Rung
from compressor.quantization.dynamic import integer_sums
from compressor.quantization.graph import WEIGHTED
from compressor.quantization.quantize import candidates, operators, quantize
from compressor.quantization.rewrites import prepare
from compressor.quantization.tables import store_tables

KEPT_BYTES = 256_000_000
"""Bytes of validation inputs that are held in memory instead of being read for every rung."""

DYNAMIC = "dynamic"
"""What a rung whose ranges are measured in each batch has for a calibration."""


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
class Climb:
    """A ladder being climbed."""

    job: Job
    config: Int8Config
    types: IntegerTypes
    folder: Path
    float_file: Artifact
    model: onnx.ModelProto
    """The float graph, ready to be quantised."""
    validation: Batches | None
    """Inputs of the validation split where they are few, so that they are read once."""
    fp32: Predictions
    top1: float
    rungs: list[Rung]
    progress: Progress

    def path(self, rung: Rung) -> Path:
        """Where its file lies."""
        return self.folder / f"{rung.name.replace(' ', '_')}.onnx"

    @property
    def tokens(self) -> bool:
        """Whether the graph takes numbers of a vocabulary: texts."""
        return all(entry.type in TOKENS for entry in self.float_file.inputs)

    @cached_property
    def calibration(self) -> Calibration:
        """Ranges of activations, measured when a rung first asks for them."""
        chosen = calibration_indices(self.job.dataset, self.config.calibration_images)
        self.progress.say(f"int8 for {self.types.target}: measuring ranges on {len(chosen)} training samples")
        return Calibration(self.model, self._batches(chosen), operators(self.model))

    @cached_property
    def samples(self) -> list[Feed]:
        """A few calibration batches, for biases and for ranking."""
        few = min(self.config.correction_images, self.config.calibration_images)
        return list(self._batches(calibration_indices(self.job.dataset, few)))

    def _batches(self, indices: NDArray[np.int64]) -> Iterator[Feed]:
        """What the graph's inputs take, batch by batch; only one is in memory. A frozen batch is filled with repeats."""
        artifact, dataset = self.float_file, self.job.dataset
        step = artifact.batch or BATCH
        for start in range(0, len(indices), step):
            things = [dataset.read(int(i)) for i in indices[start : start + step]]
            inputs = artifact.metadata.preprocessing.encode(things)
            if artifact.batch is not None:
                inputs = filled(inputs, artifact.batch)
            yield artifact.named(artifact.feed(inputs))


def begin(job: Job, config: Int8Config, types: IntegerTypes, folder: Path, progress: Progress) -> Climb:
    """The float graph rewritten for integers, and what the float file says about validation.

    Raises:
        ParityError: the graph, rewritten for integers, no longer gives the model's results.
    """
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
    validation = job.dataset.kept("validation", metadata.preprocessing, KEPT_BYTES)
    fp32 = predict_artifact(float_file, job.dataset, "validation", batches=validation)
    return Climb(
        job=job,
        config=config,
        types=types,
        folder=folder,
        float_file=float_file,
        model=model,
        validation=validation,
        fp32=fp32,
        top1=metrics.top_k(fp32.labels, fp32.logits, 1) if job.top1 is None else job.top1,
        rungs=[],
        progress=progress,
    )


def attempt(
    climbing: Climb,
    name: str,
    *,
    calibration: str,
    bias_correction: bool = False,
    float_nodes: tuple[str, ...] = (),
    only_weighted: bool = False,
    dynamic: bool = False,
) -> Rung:
    """Makes a rung's file and judges it on validation; it joins the climb's rungs.

    Raises:
        CompressorError: activations that are not finite, or no samples.
    """
    rung = Rung(
        name=name, calibration=calibration, bias_correction=bias_correction, float_nodes=float_nodes,
        only_weighted=only_weighted, dynamic=dynamic, bytes=0, top1=0.0, drop=0.0, error=0.0, within=False,
    )  # fmt: skip
    path = climbing.path(rung)
    onnx.save(_made(climbing, rung), path)
    write_metadata(path, climbing.float_file.metadata.model_copy(update={"precision": "int8", "parity": None}))
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


def _made(climbing: Climb, rung: Rung) -> onnx.ModelProto:
    model = climbing.model
    wanted = WEIGHTED if rung.only_weighted or rung.dynamic else None
    nodes = [name for name in candidates(model, wanted) if name not in rung.float_nodes]
    if rung.dynamic:
        made = integer_sums(model, climbing.types, nodes)
    else:
        made = quantize(model, climbing.calibration.ranges(rung.calibration), climbing.types, nodes=nodes)
        if rung.bias_correction:
            correct_biases(model, made, climbing.samples)
    store_tables(made)
    return made


def _centred(seen: Predictions) -> NDArray[np.float32]:
    """Logits without each row's mean, which says nothing about its class."""
    centred: NDArray[np.float32] = seen.logits - seen.logits.mean(axis=1, keepdims=True)
    return centred
