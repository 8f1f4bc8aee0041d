"""Does the benchmark add to what it times? Against a bare timing loop on onnxruntime's Python API.

    python benchmarks/fidelity.py --save

Fresh processes in pairs, in turns which one comes first; at least 15 pairs, and more until the interval of the ratio
is within ± 3 %. The number of pairs depends on the interval's width alone, never on where it lies.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import Log, finish, parser

from compressor.benchmarking.compare import Ratio, compare
from compressor.measuring import artifacts

BARE = """
import json, sys, time
import numpy, onnxruntime
path, size, count, warmup = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
image = numpy.random.default_rng(0).standard_normal((1, 3, size, size), dtype=numpy.float32)
end = time.perf_counter() + warmup
while time.perf_counter() < end:
    session.run(None, {"image": image})
times = []
for _ in range(count):
    start = time.perf_counter()
    session.run(None, {"image": image})
    times.append(1e3 * (time.perf_counter() - start))
print(json.dumps(times))
"""

MODELS = ("mobilenetv3_small_100", "resnet18")
WARMUP, WIDTH = 0.5, 0.03


def bare(path: Path, size: int, count: int) -> list[float]:
    """Samples in ms of a loop without anything of this project."""
    command = [sys.executable, "-c", BARE, str(path), str(size), str(count), str(WARMUP)]
    samples: list[float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return samples


def ours(path: Path, size: int, count: int) -> dict[str, Any]:
    """The answer of the benchmark's own child process."""
    request = {"file": str(path), "provider": "cpu", "batch": 1, "threads": 1, "size": size, "samples": count,
               "warmup_seconds": WARMUP, "max_seconds": 60.0}  # fmt: skip
    command = [sys.executable, "-m", "compressor.benchmarking.child", json.dumps(request)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)["ok"]
    return answer


def pairs(path: Path, arguments: Any, log: Log) -> tuple[Ratio, list[list[float]], list[list[float]], int]:
    """The ratio of our samples to the bare loop's, both, and how many of our processes were disturbed."""
    loop, own, noisy = [], [], 0
    while True:
        if len(loop) % 2:
            answer = ours(path, arguments.size, arguments.count)
            loop.append(bare(path, arguments.size, arguments.count))
        else:
            loop.append(bare(path, arguments.size, arguments.count))
            answer = ours(path, arguments.size, arguments.count)
        own.append(answer["samples_ms"])
        noisy += bool(answer["noisy"])
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
    made.add_argument("--count", type=int, default=200, help="timed calls per process")
    made.add_argument("--size", type=int, default=96)
    arguments = made.parse_args()
    models = MODELS
    if arguments.quick:
        arguments.most, arguments.count, models = 15, 50, MODELS[:1]
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
           lines=lines, remarks=[f"{arguments.size} px, batch 1, 1 thread, {arguments.count} calls per process. Passed: "
                                 "the interval contains 1 and its half-width is at most 3 %."])  # fmt: skip


if __name__ == "__main__":
    main()
