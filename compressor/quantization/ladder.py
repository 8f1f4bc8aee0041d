"""The ladder: int8 files from the cheapest recipe up, until one is accurate enough and not slower than fp32."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from compressor.artifact.metadata import Metadata
from compressor.exporting.document import Parity
from compressor.exporting.export import check, write_metadata
from compressor.files import replacing
from compressor.progress import Progress
from compressor.quantization.attempt import DYNAMIC, Climb, Job, attempt, begin
from compressor.quantization.calibrate import METHODS
from compressor.quantization.choose import choose, reason
from compressor.quantization.config import Int8Config
from compressor.quantization.correct import rank
from compressor.quantization.cpus import TARGETS, detect, runs_here, sums_exactly
from compressor.quantization.document import Int8, Rung
from compressor.quantization.graph import WEIGHTED
from compressor.quantization.quantize import candidates
from compressor.quantization.temper import retemper

__all__ = ["Job", "Outcome", "climb"]


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
        climbing = begin(job, config, types, Path(folder), progress)
        chosen = _climbed(climbing)
        about, why = _about(climbing, chosen), reason(climbing, chosen)
        if chosen is None:
            return Outcome(chosen=None, reason=why, rungs=tuple(climbing.rungs), about=about)
        made = climbing.path(chosen)
        seen = check(job.reference, made, job.inputs, job.batches, fused=runs_here(types.target))
        # Only now: at another temperature, logarithms of probabilities differ by a constant per row.
        described = _tempered(climbing, made, chosen)
        about["temperature"] = described.temperature  # the model's, where it could not be changed inside the graph
        write_metadata(made, described.model_copy(update={"parity": seen.as_dict(), "int8": about}))
        with replacing(path) as temporary:
            shutil.copyfile(made, temporary)
    return Outcome(chosen=chosen, reason=why, rungs=tuple(climbing.rungs), about=about, parity=seen)


def _climbed(climbing: Climb) -> Rung | None:
    """Step by step until a file is within the drop; one of the static steps that is too slow ends it, too."""
    steps: list[Callable[[Climb], None]] = [_calibrated, _corrected, _partly_float]
    if climbing.tokens:
        steps.insert(0, _dynamic)
    for step in steps:
        before = len(climbing.rungs)
        step(climbing)
        within = [rung for rung in climbing.rungs[before:] if rung.within]
        chosen = choose(climbing, within) if within else None
        if chosen is not None or (within and step is not _dynamic):
            return chosen
    return None


def _dynamic(climbing: Climb) -> None:
    """Ranges measured in each batch as the file runs: quickly tried, and closer to fp32 than ranges fixed beforehand."""
    if not sums_exactly(climbing.types):
        climbing.progress.say(f"int8: no dynamic file for {climbing.types.target}: this CPU can't sum its integers")
        return
    attempt(climbing, DYNAMIC, calibration=DYNAMIC, dynamic=True, float_nodes=_classifier(climbing))


def _classifier(climbing: Climb) -> tuple[str, ...]:
    """What of texts stays float: the last product is small, and one vector per text goes into it whose channels differ too
    widely for one scale (docs/log.md)."""
    return tuple(candidates(climbing.model, WEIGHTED)[-1:]) if climbing.tokens else ()


def _calibrated(climbing: Climb) -> None:
    """Every calibration: the file's size is the same for all, so that the closest to fp32 can be taken."""
    for method in METHODS:
        attempt(climbing, method, calibration=method, float_nodes=_classifier(climbing))


def _corrected(climbing: Climb) -> None:
    """Bias correction on the best calibration. It takes long, and does not always help: see docs/log.md."""
    best = _best_static(climbing)
    attempt(climbing, f"{best.calibration} + bias correction", calibration=best.calibration, bias_correction=True,
            float_nodes=best.float_nodes)  # fmt: skip


def _best_static(climbing: Climb) -> Rung:
    return min((rung for rung in climbing.rungs if not rung.dynamic), key=lambda r: (max(r.drop, 0.0), r.error))


def _partly_float(climbing: Climb) -> None:
    """Leaves 1, 2, 4, … of the most sensitive nodes in float, until the drop is small enough or `most_float`."""
    most = climbing.config.most_float
    if not most:
        return
    best = _best_static(climbing)
    climbing.progress.say("int8: ranking the nodes by what their integers cost")
    ranges = climbing.calibration.ranges(best.calibration)
    rest = [name for name in candidates(climbing.model) if name not in best.float_nodes]
    ranked = rank(climbing.model, ranges, climbing.types, rest, climbing.samples)
    for count in sorted({2**k for k in range(16) if 2**k <= most} | {most}):
        kept = (*best.float_nodes, *(name for name, _ in ranked[:count]))
        rung = attempt(climbing, f"{best.name} + {count} in float", calibration=best.calibration,
                       bias_correction=best.bias_correction, float_nodes=kept)  # fmt: skip
        if rung.within or count >= len(ranked):
            break


def _about(climbing: Climb, chosen: Rung | None) -> dict[str, Any]:
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
            "dynamic": chosen.dynamic,
            "validation_top1": chosen.top1,
            "speed": chosen.speed and chosen.speed.as_dict(),
        }
        if chosen.dynamic:  # ONNX's operator for it knows one type, and nothing was calibrated
            about |= {"activations": "uint8", "calibration_images": 0}
    return about


def _tempered(climbing: Climb, made: Path, chosen: Rung) -> Metadata:
    """What the kept file says of itself, at its own temperature: integers change logits, so their calibration, too."""
    own = climbing.float_file.metadata.model_copy(update={"precision": "int8"})
    if chosen.temperature is None:
        return own
    if own.output == "probabilities":
        model = onnx.load(made)
        if not retemper(model, chosen.temperature):
            return own
        onnx.save(model, made)
    return own.model_copy(update={"temperature": chosen.temperature, "temperature_of": "file"})
