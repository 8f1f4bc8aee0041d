"""Does the benchmark add to what it times? Against a bare timing loop on onnxruntime's Python API.

    python benchmarks/fidelity.py --save

Fresh processes in pairs, running in turns of a twentieth of a second, each first in every other pair; at least 15
pairs, and more until the interval of the ratio is within ± 3 %. The number of pairs depends on the interval's width alone, never on where it lies.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import Log, finish, parser

from compressor.benchmarking.cells import Cell
from compressor.benchmarking.compare import Ratio, compare
from compressor.benchmarking.config import BenchmarkConfig
from compressor.benchmarking.document import Measured
from compressor.benchmarking.measure import Child, take_turns
from compressor.workflows.benchmark import artifacts

BARE = """
import json, sys, time
import numpy, onnxruntime
path, size, warmup = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
image = numpy.random.default_rng(0).standard_normal((1, 3, size, size), dtype=numpy.float32)
times = []
def loop(seconds, keep):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, {"image": image})
        if keep:
            times.append(1e3 * (time.perf_counter() - start))
loop(warmup, False)
print(0, flush=True)
for line in sys.stdin:
    if not line.strip():
        break
    loop(0.005, False)
    loop(float(line), True)
    print(len(times), flush=True)
print(json.dumps({"ok": {"samples_ms": times, "noisy": None}}), flush=True)
"""

MODELS = ("mobilenetv3_small_100", "resnet18")
WIDTH = 0.03


def pair(path: Path, size: int, config: BenchmarkConfig, first: bool) -> tuple[Measured, Measured]:
    """A bare loop without anything of this project, and the benchmark's own child: side by side, in turns."""
    cells = [Cell(label=n, file=path, provider="cpu", batch=1, threads=1) for n in ("bare", "ours")]
    command = [sys.executable, "-c", BARE, str(path), str(size), str(config.warmup_seconds)]
    makers = [lambda: Child(cells[0], config, command), lambda: Child(cells[1], config)]
    found = take_turns(makers if first else makers[::-1])
    return found[cells[0]], found[cells[1]]


def pairs(path: Path, arguments: Any, log: Log) -> tuple[Ratio, list[list[float]], list[list[float]], int]:
    """The ratio of our samples to the bare loop's, both, and how many of our processes were disturbed."""
    config = BenchmarkConfig(processes=1, samples=10, min_seconds=arguments.seconds, max_seconds=60)
    loop: list[list[float]] = []
    own: list[list[float]] = []
    noisy = 0
    while True:
        bare, ours = pair(path, arguments.size, config, len(loop) % 2 == 0)
        loop.append(bare.samples_ms)
        own.append(ours.samples_ms)
        noisy += bool(ours.noisy)
        if len(loop) < arguments.pairs:
            continue
        ratio = compare(loop, own)
        if ratio.half_width <= WIDTH or len(loop) >= arguments.most:
            return ratio, loop, own, noisy
        log.say(f"{len(loop)} pairs: ± {100 * ratio.half_width:.1f} %, going on")


def main() -> None:
    """Measures the pairs of both models and prints the table."""
    made = parser(__doc__)
    made.add_argument("--pairs", type=int, default=15)
    made.add_argument("--most", type=int, default=80, help="pairs after which it gives up")
    made.add_argument("--seconds", type=float, default=1.0, help="of timed calls per process")
    made.add_argument("--size", type=int, default=96)
    arguments = made.parse_args()
    models: tuple[str, ...] = MODELS
    if arguments.quick:
        arguments.most, arguments.seconds, models = 15, 0.2, MODELS[:1]
    log = Log()
    files, _ = artifacts(list(models), arguments.size, log)
    rows, lines = [], []
    for name, path in files.items():
        ratio, loop, own, noisy = pairs(path, arguments, log)
        passed = ratio.low <= 1 <= ratio.high and ratio.half_width <= WIDTH
        rows.append({"model": name, "pairs": len(loop), "ratio": ratio.value, "low": ratio.low, "high": ratio.high,
                     "half_width": ratio.half_width, "noisy_processes": noisy, "passed": passed,
                     "bare_ms": loop, "ours_ms": own})  # fmt: skip
        lines.append((name, str(len(loop)), f"{ratio.value:.4f}", f"{ratio.low:.4f} … {ratio.high:.4f}",
                      f"{100 * ratio.half_width:.2f} %", str(noisy), "yes" if passed else "NO"))  # fmt: skip
        log.say(f"{name}: {ratio}")
    finish(arguments, "fidelity", {"rows": rows, "passed": all(r["passed"] for r in rows)},
           title="The benchmark against a bare timing loop",
           header=("model", "pairs", "ours / bare", "95 % interval", "half-width", "disturbed processes", "passed"),
           lines=lines, remarks=[f"{arguments.size} px, batch 1, 1 thread, {arguments.seconds:g} s per process. Passed: "
                                 "the interval contains 1 and its half-width is at most 3 %."])  # fmt: skip


if __name__ == "__main__":
    main()
