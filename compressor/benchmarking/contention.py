"""Whether something else used the machine while we measured."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

Kind = Literal["others", "hypervisor", "quota", "switches"]
"""What can disturb a timing."""

OTHERS = 0.1
"""Cores that others may use on average before a row counts as noisy."""
STEAL = 0.05
"""Cores that the hypervisor may take."""
SHORT = 0.5
"""Seconds of watching below which nothing is judged."""
SWITCHES = 100.0
"""Times per second that we may be put off a core that we still wanted; a quiet Linux shows a few dozen."""


@dataclass(frozen=True)
class _Counters:
    """Since boot or the process's start; None where the system doesn't say."""

    machine: float | None
    """Seconds of CPU that anyone used, stolen ones included."""
    steal: float | None
    own: float
    switches: int | None
    throttled: int | None


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What happened while it was watched; None where the system doesn't say."""

    other_cores: float | None
    """Cores that other processes or the hypervisor used on average."""
    steal_cores: float | None
    """The hypervisor's part."""
    throttled: int | None
    """Times that the cgroup's quota stopped us."""
    involuntary_switches: float | None
    """Per second."""
    noisy: bool | None = None
    """Whether it spoils a timing; None where that can't be told."""


class Watch:
    """Counts while it is entered, over all the times that it is, until `read`."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.sums: dict[str, float | None] = dict.fromkeys(("machine", "steal", "own", "switches", "throttled"), 0.0)

    def __enter__(self) -> Watch:
        self._started, self._before = time.perf_counter(), _counters()
        return self

    def __exit__(self, *_: object) -> None:
        after = _counters()
        self.elapsed += time.perf_counter() - self._started
        for name, total in self.sums.items():
            first, last = getattr(self._before, name), getattr(after, name)
            known = total is not None and first is not None and last is not None
            self.sums[name] = total + last - first if known else None

    def read(self) -> Seen:
        """What happened meanwhile."""
        elapsed, sums = max(self.elapsed, 1e-9), self.sums
        machine, steal, own = sums["machine"], sums["steal"], sums["own"] or 0.0
        found = Seen(
            other_cores=None if machine is None else max(0.0, (machine - own) / elapsed),
            steal_cores=None if steal is None else steal / elapsed,
            throttled=None if sums["throttled"] is None else int(sums["throttled"]),
            involuntary_switches=None if sums["switches"] is None else sums["switches"] / elapsed,
        )
        # Counters tick every 10 ms: below half a second their rounding is as large as the limit.
        return replace(found, noisy=judge(found) if elapsed > SHORT else None)


def judge(found: Seen) -> bool | None:
    """Whether these figures spoil a timing; None when the system told nothing of other processes.

    A switch counts only where another process could have caused it, or where nothing is known of others.
    """
    if (found.throttled or 0) > 0 or (found.steal_cores or 0.0) > STEAL:
        return True
    if (found.involuntary_switches or 0.0) > SWITCHES:
        return True
    return None if found.other_cores is None else bool(found.other_cores > OTHERS)


def reasons(found: Seen) -> dict[Kind, str]:
    """Why a timing is noisy: kind → in words."""
    why: dict[Kind, str] = {}
    if (found.other_cores or 0.0) > OTHERS:
        why["others"] = f"others used {found.other_cores:.2f} cores"
    if (found.steal_cores or 0.0) > STEAL:
        why["hypervisor"] = f"the hypervisor took {found.steal_cores:.2f} cores"
    if (found.throttled or 0) > 0:
        why["quota"] = f"the CPU quota stopped it {found.throttled} times"
    if (found.involuntary_switches or 0.0) > SWITCHES:
        why["switches"] = f"it lost its core {found.involuntary_switches:.0f} times per second"
    return why


def _counters() -> _Counters:
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw if resource else None
    machine, steal = _machine()
    return _Counters(machine, steal, time.process_time(), switches, _throttled())


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
