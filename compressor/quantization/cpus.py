"""Which integer types a CPU runs fast and right."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from compressor.artifact import session
from compressor.artifact.session import Artifact
from compressor.benchmarking import host
from compressor.progress import Progress

TargetName = Literal["x86-vnni", "x86", "arm"]


@dataclass(frozen=True, kw_only=True)
class IntegerTypes:
    """Types of activations and weights; weights are symmetric, with a scale per output channel."""

    target: TargetName
    activations: Literal["uint8", "int8"]
    weights: Literal["int8"] = "int8"
    seven_bit_weights: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For metadata and report."""
        return dict(vars(self))


TARGETS: dict[str, IntegerTypes] = {
    # AVX-VNNI and AVX512-VNNI sum u8 × s8 products in 32 bits.
    "x86-vnni": IntegerTypes(target="x86-vnni", activations="uint8"),
    # Before VNNI a pair of u8 × s8 products is summed in 16 bits and saturates: 255 · 127 · 2 > 32,767. With
    # weights of 7 bits it can't: 255 · 64 · 2 < 32,767.
    "x86": IntegerTypes(target="x86", activations="uint8", seven_bit_weights=True),
    "arm": IntegerTypes(target="arm", activations="int8"),
}


def detect(machine: str | None = None, instructions: list[str] | None = None) -> TargetName:
    """The target that this machine (or the one described) is."""
    machine = (machine or platform.machine()).lower()
    if machine.startswith(("arm", "aarch")):
        return "arm"
    flags = host.fingerprint().instructions if instructions is None else instructions
    return "x86-vnni" if {"avx512_vnni", "avx_vnni"} & set(flags) else "x86"


def runs_here(target: TargetName) -> bool:
    """Whether this machine computes the target's integers exactly, so that measuring here means something.

    Seven-bit weights are exact on every x86; eight-bit ones only where VNNI is.
    """
    here = detect()
    return target == here or (target == "x86" and here == "x86-vnni")


def sums_exactly(types: IntegerTypes) -> bool:
    """Whether this machine's own integer kernels sum products of these types without saturating.

    Files whose ranges are calibrated can be simulated in float elsewhere; ONNX's MatMulInteger can't.
    """
    return types.seven_bit_weights or detect() != "x86"


def open_artifact(path: Path, progress: Progress, provider: str = "cpu") -> Artifact:
    """An exported file; integers for another CPU, which this one would saturate, are simulated in float, exactly.

    What cannot be simulated, a dynamic file's integers, is said where this CPU may saturate them.

    Raises:
        ArtifactError, ProviderError: as `session.load`.
    """
    artifact = session.load(path, provider=provider)
    target = (artifact.metadata.int8 or {}).get("target")
    if not isinstance(target, str) or target not in TARGETS or runs_here(TARGETS[target].target):
        return artifact
    if (artifact.metadata.int8 or {}).get("dynamic"):
        if not sums_exactly(TARGETS[target]):
            progress.say(f"{path} was made for {target}: some of its sums may be too large for this CPU's integers")
        return artifact
    progress.say(f"{path} was made for {target}: its integers are simulated here")
    return session.load(path, provider=provider, fused=False)
