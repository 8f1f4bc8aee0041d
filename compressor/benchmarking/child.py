"""The child process of the benchmark: loads one file, times it, prints one JSON document.

python -m compressor.benchmarking.child '{"file": "student.onnx", "provider": "cpu", …}'

Says `0` when it is loaded and warm. Then each line on stdin gives it a turn of so many seconds, which it answers
with the number of samples so far; an empty line, or the end, asks for the document.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compressor.artifact import session
from compressor.artifact.preprocessing import count
from compressor.benchmarking import contention, gpu
from compressor.errors import CompressorError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

SETTLE = 0.005
"""Seconds of untimed calls at the start of a turn: another process has had the caches."""


def measure(request: dict[str, Any], turns: Iterable[float], tell: Callable[[int], None]) -> dict[str, Any]:
    """What `document.Measured` describes, of one file; that module is the parent's, its import would count as memory here.

    On a GPU the samples are of calls on tensors that are there already; `with_copies_ms` is the call with copies.

    Args:
        request: `file`, `provider`, `batch`, `threads`, `warmup_seconds`.
        turns: seconds of each turn, as they come.
        tell: is told the number of samples, before the first turn and after each.
    """
    import onnxruntime  # noqa: F401  (its import is the process's, not the model's)

    memory_before = peak_rss_mb()
    started = time.perf_counter()
    artifact = session.load(request["file"], provider=request["provider"], threads=request["threads"])
    load_ms = (time.perf_counter() - started) * 1e3
    memory_loaded = peak_rss_mb()
    feed = artifact.named(artifact.example(request["batch"]))
    bound = artifact.provider in gpu.BOUND
    run = gpu.bound_run(artifact, feed) if bound else functools.partial(artifact.session.run, None, feed)
    started = time.perf_counter()
    run()
    first_ms = (time.perf_counter() - started) * 1e3
    _run_for(run, seconds=request["warmup_seconds"])
    samples: list[float] = []
    watch = contention.Watch()
    tell(0)
    for seconds in turns:
        with watch:
            _run_for(run, seconds=SETTLE)
            samples += _run_for(run, seconds=seconds)
        tell(len(samples))
    seen = watch.read()
    return {
        "load_ms": load_ms,
        "first_run_ms": first_ms,
        "samples_ms": samples,
        "import_rss_mb": memory_before,
        "load_rss_mb": memory_loaded,
        "peak_rss_mb": peak_rss_mb(),
        "placement": artifact.placement,
        "elsewhere": artifact.elsewhere,
        "provider": artifact.provider,
        "batch": count(feed),
        "contention": asdict(seen),
        "noisy": seen.noisy,
        "with_copies_ms": gpu.with_copies(artifact, feed) if bound else None,
        **(gpu.state() if bound else {}),
    }


def _run_for(run: Callable[[], Any], *, seconds: float) -> list[float]:
    """Times of consecutive calls, ms, until `seconds` are over, at least one; rounded to 0.1 µs."""
    timer = time.perf_counter
    samples: list[float] = []
    end = timer() + seconds
    now = end - 1
    while now <= end:
        started = timer()
        run()
        now = timer()
        samples.append((now - started) * 1e3)
    return [round(sample, 4) for sample in samples]


def peak_rss_mb() -> float | None:
    """Peak resident memory of this process, MB (10⁶ bytes); None where it can't be told."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def main() -> None:
    """Reads the request from the command line and turns from stdin; prints the measurement or the error as JSON."""
    turns = (float(line) for line in itertools.takewhile(str.strip, sys.stdin))
    # onnxruntime prints what goes wrong to stdout, from C++ too: only answers may come out there.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        found = measure(json.loads(sys.argv[1]), turns, lambda count: print(count, file=answers, flush=True))
        answer: dict[str, Any] = {"ok": found}
    except CompressorError as error:
        answer = {"error": str(error), "kind": type(error).__name__}
    print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
