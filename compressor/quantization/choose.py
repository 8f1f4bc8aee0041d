"""Which rung is kept: the smallest file within the drop that is not slower than fp32 here; and the words for it."""

from __future__ import annotations

from collections.abc import Sequence

from compressor.benchmarking.lengths import DATA
from compressor.quantization import speed
from compressor.quantization.attempt import Climb, attempt
from compressor.quantization.cpus import runs_here
from compressor.quantization.document import Rung, Speed
from compressor.quantization.graph import WEIGHTED
from compressor.quantization.quantize import operators

SAME_SIZE = 0.01
"""Files whose sizes differ by less than this share count as equally small: then the closer one to fp32 is taken."""


def choose(climbing: Climb, within: Sequence[Rung]) -> Rung | None:
    """The smallest file of these (of equals the one closest to fp32), if it is not slower than fp32 here."""
    smallest = min(rung.bytes for rung in within)
    best = min((r for r in within if r.bytes <= (1 + SAME_SIZE) * smallest), key=lambda r: (r.error, r.bytes))
    if not _speed_matters(climbing):
        return best
    best = _timed(climbing, best)
    if speed.acceptable(best.speed):
        return best
    if best.dynamic or operators(climbing.model) == WEIGHTED:
        return None
    # Integers between the convolutions may be what is slow here.
    again = attempt(climbing, f"{best.name} + weighted nodes only", calibration=best.calibration,
                    bias_correction=best.bias_correction, float_nodes=best.float_nodes, only_weighted=True)  # fmt: skip
    if again.within:
        again = _timed(climbing, again)
        if speed.acceptable(again.speed):
            return again
    return None


def reason(climbing: Climb, chosen: Rung | None) -> str:
    """Why this rung is kept, or why none."""
    limit, timed = climbing.config.max_drop, [rung for rung in climbing.rungs if rung.speed is not None]
    if chosen is not None:
        lost = f"loses {chosen.drop:.2f} points on validation"
        if climbing.config.allow_slower:
            return f"{lost}; speed was not asked for"
        if chosen.speed is None:
            return f"{lost}; made for {climbing.types.target}, not timed here"
        passed_over = [f"; {_slow(rung)}, and is not kept" for rung in timed if rung.name != chosen.name]
        return f"{lost}; {speed.described(chosen.speed)}{''.join(passed_over)}"
    if timed:
        return (
            f"int8 is within {limit:g} points of fp32 but {'; '.join(map(_slow, timed))} on this machine. "
            "Keep it for its size with --allow-slower, or name the CPU it is for with --target"
        )
    return (
        f"no int8 file keeps within {limit:g} points of fp32 on validation: the best loses "
        f"{min(rung.drop for rung in climbing.rungs):.2f}. Raise --max-drop, or recover it with --qat"
    )


def _slow(rung: Rung) -> str:
    return f"{rung.name} {speed.described(rung.speed)}"


def _speed_matters(climbing: Climb) -> bool:
    return not climbing.config.allow_slower and runs_here(climbing.types.target)


def _timed(climbing: Climb, rung: Rung) -> Rung:
    climbing.progress.say(f"int8: timing {rung.name} against fp32")
    file, processes = climbing.float_file, climbing.config.processes
    length = DATA if file.any_length and file.metadata.lengths else None
    measured: Speed = speed.against(
        climbing.job.fp32, climbing.path(rung), processes, climbing.progress, length=length
    )  # fmt: skip
    timed = rung.model_copy(update={"speed": measured})
    climbing.rungs[climbing.rungs.index(rung)] = timed
    return timed
