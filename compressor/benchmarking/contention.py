"""Whether something else used the machine while we measured."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Any

LIMIT = 0.1
"""Share of one core that others may use before a row counts as noisy."""


class Watch:
    """Counts from its making until `read`."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.before = _counters()

    def read(self) -> dict[str, Any]:
        """`other_cores`: cores that other processes (or the hypervisor) used on average; `noisy`; None unknown."""
        elapsed = time.perf_counter() - self.started
        after = _counters()
        if self.before is None or after is None or elapsed <= 0:
            return {"other_cores": None, "noisy": None}
        machine = after[0] - self.before[0]
        own = after[1] - self.before[1]
        other = max(0.0, (machine - own) / elapsed)
        # Counters tick every 10 ms: below half a second their rounding is as large as the limit.
        return {"other_cores": other, "noisy": other > LIMIT if elapsed > 0.5 else None}


def _counters() -> tuple[float, float] | None:
    """Seconds of CPU used by the whole machine (stolen time counts) and by this process."""
    try:
        fields = [int(v) for v in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    except (OSError, ValueError, IndexError):
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return busy, usage.ru_utime + usage.ru_stime
