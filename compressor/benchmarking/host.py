"""What machine this is: the fingerprint that stands beside every figure."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from compressor.runnote import Host

_INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16", "avx512_bf16", "asimddp", "i8mm")


def fingerprint() -> Host:
    """CPU, cores, memory, instruction sets, quota, governor, GPUs, system; None for what can't be told."""
    return Host(
        cpu=_cpu_name(),
        cores=os.cpu_count(),
        cores_usable=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        memory_mb=memory_mb(),
        instructions=[name for name in _INSTRUCTIONS if name in _flags()],
        cgroup_cpus=quota(),
        governor=_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        gpus=gpus(),
        system=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
    )


def gpus() -> list[str]:
    """Names of NVIDIA GPUs, from nvidia-smi where there is one."""
    program = shutil.which("nvidia-smi")
    if not program or Path(program).resolve().parent == Path.cwd():  # Windows looks in the working folder first
        return []
    try:
        found = subprocess.run(
            [program, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in found.stdout.splitlines() if line.strip()] if found.returncode == 0 else []


def _cpu_name() -> str | None:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        if line.startswith(("model name", "Model")):
            return line.split(":", 1)[1].strip()
    return platform.processor() or None


def _flags() -> set[str]:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        if line.startswith(("flags", "Features")):
            return set(line.split(":", 1)[1].split())
    return set()


def memory_mb() -> float | None:
    """MB (10⁶ bytes) of the machine; None where it can't be told."""
    for line in (_read("/proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024 / 1e6
    return None


def quota() -> float | None:
    """CPUs that a cgroup (version 2 or 1) allows; None without a limit."""
    allowed, _, period = (_read("/sys/fs/cgroup/cpu.max") or "max").partition(" ")
    if allowed == "max":
        old = "/sys/fs/cgroup/cpu"  # version 1 writes -1 where there is no limit
        allowed, period = _read(f"{old}/cpu.cfs_quota_us") or "", _read(f"{old}/cpu.cfs_period_us") or ""
    return int(allowed) / int(period) if allowed.isdigit() and period.strip().isdigit() else None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
