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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from compressor.artifact import session
from compressor.artifact.preprocessing import Inputs, count
from compressor.artifact.session import Artifact
from compressor.benchmarking import contention, gpu, lengths
from compressor.benchmarking.lengths import Length
from compressor.errors import ArtifactError, CompressorError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

PROMPT, NEW = 32, 64
"""Tokens that a language model reads at once, and those it is then timed with, one by one; fewer where it reads fewer."""
SETTLE = 0.005
"""Seconds of untimed calls at the start of a turn: another process has had the caches."""


def measure(request: dict[str, Any], turns: Iterable[float], tell: Callable[[int], None]) -> dict[str, Any]:
    """What `document.Measured` describes, of one file; that module is the parent's, its import would count as memory here.

    On a GPU the samples are of calls on tensors that are there already; `with_copies_ms` is the call with copies.

    Args:
        request: `file`, `provider`, `batch`, `threads`, `warmup_seconds`, `length`.
        turns: seconds of each turn, as they come.
        tell: is told the number of samples, before the first turn and after each.
    """
    import onnxruntime  # noqa: F401  (its import is the process's, not the model's)

    memory_before = peak_rss_mb()
    started = time.perf_counter()
    artifact = session.load(request["file"], provider=request["provider"], threads=request["threads"])
    load_ms = (time.perf_counter() - started) * 1e3
    memory_loaded = peak_rss_mb()
    found = _writing(artifact) if artifact.task == "lm" else _classifying(artifact, request)
    first_ms = _timed(found.first)
    for run in found.rest:
        run()
    idle, calls = found.idle, found.calls
    _run_for(idle, seconds=request["warmup_seconds"])
    samples: list[float] = []
    watch = contention.Watch()
    tell(0)
    for seconds in turns:
        with watch:
            _run_for(idle, seconds=SETTLE)
            samples += _run_for(calls, seconds=seconds)
        tell(len(samples))
    with watch:  # all lengths count alike: a slow file must not be judged by the first few
        samples += [_timed(next(calls)) for _ in range(-len(samples) % found.cycle)]
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
        "batch": found.batch,
        "padding": found.padding,
        "contention": asdict(seen),
        "noisy": seen.noisy,
        "with_copies_ms": gpu.with_copies(artifact, found.bound) if found.bound else None,
        **(gpu.state() if found.bound else {}),
    }


@dataclass(frozen=True, kw_only=True)
class _Calls:
    """What is timed: each call is taken from an iterator, whose own work is not."""

    first: Callable[[], Any]
    rest: Sequence[Callable[[], Any]] = ()
    """What is called once more before: each width is new to the memory's plan."""
    idle: Iterator[Callable[[], Any]]
    """Calls that are not timed."""
    calls: Iterator[Callable[[], Any]]
    cycle: int = 1
    """How many of them belong together."""
    batch: int = 1
    padding: float | None = None
    bound: list[Inputs] = field(default_factory=list)
    """Inputs that lie on a GPU already."""


def _classifying(artifact: Artifact, request: dict[str, Any]) -> _Calls:
    """Batches of noise in turn."""
    feeds, padded = inputs(artifact, request["batch"], request.get("length"))
    bound = artifact.provider in gpu.BOUND
    runs = [gpu.bound_run(artifact, f) if bound else functools.partial(artifact.session.run, None, f) for f in feeds]
    return _Calls(
        first=runs[0], rest=runs[1:], idle=itertools.cycle(runs), calls=itertools.cycle(runs), cycle=len(runs), batch=count(feeds[0]),
        padding=padded, bound=feeds if bound else [],
    )  # fmt: skip


def _writing(artifact: Artifact) -> _Calls:
    """A language model's tokens one by one, each behind a cache of those before; a prompt that is read is not timed."""
    from compressor.artifact.text import language  # a classifier's process is spared it

    model = language.of(artifact)
    prompt = min(PROMPT, max(1, model.about.generation.positions // 3))
    new = min(NEW, model.about.generation.positions - prompt)

    def steps() -> Iterator[Callable[[], Any]]:
        reader, tokens = model.reader(), itertools.cycle(range(min(1000, model.about.tokenizer.size)))
        while True:
            reader.cut(0)
            reader.read(list(itertools.islice(tokens, prompt)))
            for token in itertools.islice(tokens, new):
                yield functools.partial(reader.read, [token])

    own = steps()
    return _Calls(first=lambda: next(own), idle=own, calls=own)


def inputs(artifact: Artifact, batch: int, length: Length | None) -> tuple[list[Inputs], float | None]:
    """Batches of noise that are measured in turn, and the share of them that is padding.

    Raises:
        ArtifactError: the data's lengths are asked for, and the file does not say them.
    """
    if length != lengths.DATA:
        return [artifact.named(artifact.example(batch, length))], None if length is None else 0.0
    known = artifact.metadata.lengths
    if not known:
        raise ArtifactError(f"{artifact.path} does not say how long its data are")
    longest = artifact.metadata.preprocessing.facts().get("max_length", max(known))
    found = lengths.batches([min(one, longest) for one in known], artifact.batch or batch)
    return [artifact.named(artifact.example(len(own), own)) for own in found], lengths.padding(found)


def _timed(run: Callable[[], Any]) -> float:
    """A call's time, ms; rounded to 0.1 µs."""
    started = time.perf_counter()
    run()
    return round((time.perf_counter() - started) * 1e3, 4)


def _run_for(calls: Iterator[Callable[[], Any]], *, seconds: float) -> list[float]:
    """Times of consecutive calls, ms, until `seconds` are over, at least one; rounded to 0.1 µs."""
    timer = time.perf_counter
    samples: list[float] = []
    end = timer() + seconds
    now = end - 1
    while now <= end:
        run = next(calls)
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
