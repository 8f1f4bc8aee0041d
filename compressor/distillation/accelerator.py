"""The device that everything runs on."""

from __future__ import annotations

import torch
from accelerate import Accelerator

from compressor.errors import UsageError


def accelerator(device: str = "auto") -> Accelerator:
    """The process's one Accelerator: `auto`, `cpu` or `cuda`.

    Raises:
        UsageError: cuda was asked for and is absent, the name is unknown, or there are several processes.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"unknown device '{device}' (available: auto, cpu, cuda)")
    if device == "cuda" and not torch.cuda.is_available():
        built = "this torch was built without CUDA" if torch.version.cuda is None else "torch sees no NVIDIA GPU"
        raise UsageError(f"--device cuda: {built}. Use --device cpu, or `compress doctor` to see what is missing.")
    found = Accelerator(cpu=device == "cpu")
    if found.num_processes > 1:
        raise UsageError(
            f"started as {found.num_processes} processes: training on several devices is not there yet.\n"
            "Start one process (without `accelerate launch` or `torchrun`); it uses one device."
        )
    return found
