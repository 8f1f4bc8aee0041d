"""Whether something else used the machine while we measured."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OTHERS = 0.1
"""Cores that others may use on average before a row counts as noisy."""
STEAL = 0.05
"""Cores that the hypervisor may take."""
SWITCHES = 100.0
"""Times per second that we may be put off a core that we still wanted; a quiet Linux shows a few dozen."""


@dataclass(frozen=True)
class _Counters:
    """Since boot or the process's start; None where the system doesn't say."""

    machine: float | None
    """Seconds of CPU that anyone used, stolen ones included."""
    steal: float | None
    own: float
    switches: int
    throttled: int | None


class Watch:
    """Counts from its making until `read`."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.before = _counters()

    def read(self) -> dict[str, Any]:
        """What happened meanwhile, and `noisy`: True, False, or None where it can't be told.

        `other_cores`: cores that other processes or the hypervisor used on average; `steal_cores`: the hypervisor's
        part; `throttled`: times that the cgroup's quota stopped us; `involuntary_switches`: per second.
        """
        elapsed = max(time.perf_counter() - self.started, 1e-9)
        before, after = self.before, _counters()
        other = steal = None
        if before.machine is not None and after.machine is not None:
            other = max(0.0, (after.machine - before.machine - (after.own - before.own)) / elapsed)
        if before.steal is not None and after.steal is not None:
            steal = (after.steal - before.steal) / elapsed
        throttled = None
        if before.throttled is not None and after.throttled is not None:
            throttled = after.throttled - before.throttled
        found = {
            "other_cores": other,
            "steal_cores": steal,
            "throttled": throttled,
            "involuntary_switches": (after.switches - before.switches) / elapsed,
        }
        # Counters tick every 10 ms: below half a second their rounding is as large as the limit.
        return found | {"noisy": judge(found) if elapsed > 0.5 else None}


def judge(found: dict[str, Any]) -> bool | None:
    """Whether these figures spoil a timing; None when the system told nothing of other processes.

    A switch counts only where another process could have caused it, or where nothing is known of others.
    """
    if (found["throttled"] or 0) > 0 or (found["steal_cores"] or 0.0) > STEAL:
        return True
    if found["involuntary_switches"] > SWITCHES:
        return True
    return None if found["other_cores"] is None else bool(found["other_cores"] > OTHERS)


def reasons(found: dict[str, Any]) -> list[str]:
    """Why a timing is noisy, in words."""
    said = []
    if (found["other_cores"] or 0.0) > OTHERS:
        said.append(f"others used {found['other_cores']:.2f} cores")
    if (found["steal_cores"] or 0.0) > STEAL:
        said.append(f"the hypervisor took {found['steal_cores']:.2f} cores")
    if (found["throttled"] or 0) > 0:
        said.append(f"the CPU quota stopped it {found['throttled']} times")
    if found["involuntary_switches"] > SWITCHES:
        said.append(f"it lost its core {found['involuntary_switches']:.0f} times per second")
    return said


def _counters() -> _Counters:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    machine, steal = _machine()
    return _Counters(machine, steal, usage.ru_utime + usage.ru_stime, usage.ru_nivcsw, _throttled())


def _machine() -> tuple[float | None, float | None]:
    """Seconds of CPU used by the whole machine, stolen time included, and the stolen part."""
    try:
        fields = [int(v) for v in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return None, None
    if len(fields) < 8:
        return None, None
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    tick = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq + steal) / tick, steal / tick


def _throttled() -> int | None:
    """How often our cgroup (version 2 or 1) ran out of its CPU quota; None without a quota to run out of."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    root = Path("/sys/fs/cgroup")
    for line in lines:
        _, controllers, own = line.split(":", 2)
        if controllers == "" or "cpu" in controllers.split(","):
            mount = root / (controllers or "")
            # In a container the own path may not be mounted; its own group is then the mount itself.
            for folder in (mount / own.lstrip("/"), mount, root / "cpu" / own.lstrip("/"), root / "cpu"):
                found = throttled_in(folder / "cpu.stat")
                if found is not None:
                    return found
    return None


def throttled_in(path: Path) -> int | None:
    """`nr_throttled` of a cgroup's cpu.stat; None where the file is not there or has none."""
    try:
        values = dict(line.split()[:2] for line in path.read_text().splitlines())
        return int(values["nr_throttled"])
    except (OSError, ValueError, KeyError):
        return None
