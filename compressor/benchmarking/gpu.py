"""What only a GPU has: tensors bound on the device, its memory and its clocks. Nothing here is needed for the CPU."""

from __future__ import annotations

import ctypes
import itertools
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from compressor.artifact.session import Artifact

BOUND = {"CUDAExecutionProvider": "cuda", "TensorrtExecutionProvider": "cuda"}
"""Providers whose inputs and outputs can stay on the device, with onnxruntime's name of that device."""


def bound_run(artifact: Artifact, feed: dict[str, Any]) -> Any:
    """A call that runs the model on tensors that are on the device already, and waits for the result there."""
    import onnxruntime as ort

    device = BOUND[artifact.provider]
    binding = artifact.session.io_binding()
    for name, value in feed.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value), device, 0))
    for output in artifact.session.get_outputs():
        binding.bind_output(output.name, device, 0)

    def run() -> None:
        artifact.session.run_with_iobinding(binding)
        binding.synchronize_outputs()  # the call may return before the kernels end

    return run


def with_copies(artifact: Artifact, feeds: Sequence[dict[str, Any]], count: int = 64) -> float:
    """Median ms of a call that copies the inputs, in turn, to the device and the logits back."""
    times = []
    for feed in itertools.islice(itertools.cycle(feeds), max(count, len(feeds))):
        started = time.perf_counter()
        artifact.session.run(None, feed)
        times.append((time.perf_counter() - started) * 1e3)
    return float(np.median(times))


def bus_id() -> str | None:
    """Where on the PCI bus CUDA's device 0 sits, which CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER choose; by the driver."""
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            driver = ctypes.CDLL(name)
            break
        except OSError:
            continue
    else:
        return None
    device, found = ctypes.c_int(), ctypes.create_string_buffer(32)
    failed = driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0)
    failed = failed or driver.cuDeviceGetPCIBusId(found, len(found), device)
    return None if failed else found.value.decode()


def state() -> dict[str, Any]:
    """This process's memory on CUDA's device 0 (MB) and its clocks (MHz), by NVML; None where it can't be told."""
    nothing = {"gpu_memory_mb": None, "gpu_clock_mhz": None, "gpu_memory_clock_mhz": None}
    try:
        import pynvml
    except ImportError:
        return nothing
    try:
        pynvml.nvmlInit()
        bus = bus_id()
        if bus is None:  # NVML counts all GPUs of the machine: its first may be another than ours
            return nothing
        handle = pynvml.nvmlDeviceGetHandleByPciBusId(bus)
        own = [p for p in pynvml.nvmlDeviceGetComputeRunningProcesses(handle) if p.pid == os.getpid()]
        used = own[0].usedGpuMemory if own else None  # in a container the driver may know us by another number
        return {
            "gpu_memory_mb": None if used is None else used / 1e6,
            "gpu_clock_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
            "gpu_memory_clock_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM),
        }
    except pynvml.NVMLError:
        return nothing
