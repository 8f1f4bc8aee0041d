"""Which GPU is asked for its memory and clocks: the one that CUDA uses, told by its place on the bus."""

from __future__ import annotations

import ctypes
import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from compressor.benchmarking import gpu

OURS = b"00000000:65:00.0"


class Driver:
    """CUDA's driver, where CUDA_VISIBLE_DEVICES has made the machine's second GPU the first."""

    broken = False

    def cuInit(self, flags: int) -> int:
        return 100 if self.broken else 0

    def cuDeviceGet(self, device: Any, index: int) -> int:
        assert index == 0
        return 0

    def cuDeviceGetPCIBusId(self, found: Any, size: int, device: Any) -> int:
        found.value = OURS
        return 0


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_bus(bus: str) -> str:
        assert bus == OURS.decode()
        return "second"

    process = SimpleNamespace(pid=os.getpid(), usedGpuMemory=5_000_000)
    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(
        nvmlInit=lambda: None, nvmlDeviceGetHandleByPciBusId=by_bus, nvmlDeviceGetHandleByIndex=lambda i: "first",
        nvmlDeviceGetComputeRunningProcesses=lambda handle: [process] if handle == "second" else [],
        nvmlDeviceGetClockInfo=lambda handle, kind: {"second": 1700, "first": 200}[handle],
        NVML_CLOCK_SM=0, NVML_CLOCK_MEM=1, NVMLError=RuntimeError,
    ))  # fmt: skip


@pytest.mark.usefixtures("nvml")
def test_memory_and_clocks_are_of_the_gpu_that_cuda_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())
    assert gpu.state() == {"gpu_memory_mb": 5.0, "gpu_clock_mhz": 1700, "gpu_memory_clock_mhz": 1700}


@pytest.mark.usefixtures("nvml")
@pytest.mark.parametrize("broken", [False, True])
def test_what_the_driver_does_not_tell_is_not_invented(monkeypatch: pytest.MonkeyPatch, broken: bool) -> None:
    def load(name: str) -> Driver:
        if not broken:
            raise OSError(name)
        driver = Driver()
        driver.broken = True
        return driver

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert set(gpu.state().values()) == {None}
