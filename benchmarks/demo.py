"""The main job, repeated: `compress distill --teacher resnet50 --student mobilenetv3` for three seeds.

    python benchmarks/demo.py --save

Each seed is a process of its own that trains its own teacher; accuracy is on the digits' test split, which
is the same for all seeds. Wall time and peak memory are the operating system's own figures.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import finish, parser

COMMAND = ["distill", "--teacher", "resnet50", "--student", "mobilenetv3", "--seeds", "1"]


def main() -> None:
    """Runs the seeds and prints the table."""
    made = parser(__doc__)
    made.add_argument("--seeds", type=int, default=3)
    arguments = made.parse_args()
    extra: list[str] = []
    if arguments.quick:
        arguments.seeds = 1
        extra = ["--limit", "200", "--epochs", "1", "--set", "teacher.epochs=1"]
    with tempfile.TemporaryDirectory() as folder:
        runs = [run(seed, Path(folder), extra) for seed in range(arguments.seeds)]
    means = {role: float(np.mean([r["top1"][role] for r in runs])) for role in ("teacher", "baseline", "student")}
    lines: list[tuple[str, ...]] = [
        (str(r["seed"]), *(f"{r['top1'][role]:.4f}" for role in means), f"{r['exported']['top1']:.4f}",
         f"{r['exported']['bytes'] / r['teacher_file']['bytes']:.2f}×",
         f"{r['exported']['p50_ms'] / r['teacher_file']['p50_ms']:.2f}×",
         f"{r['seconds']:.0f} s", f"{r['peak_rss_mb']:.0f} MB")
        for r in runs
    ]  # fmt: skip
    lines.append(("mean", *(f"**{means[role]:.4f}**" for role in means), "", "", "", "", ""))
    finish(arguments, "demo", {"runs": runs, "mean_top1": means},
           title="resnet50 → mobilenetv3_large_100 on the digits, for three seeds",
           header=("seed", "teacher", "baseline", "student", "student.onnx", "file vs teacher", "latency vs teacher",
                   "whole command", "peak memory"),
           lines=lines)  # fmt: skip


def run(seed: int, folder: Path, extra: list[str]) -> dict[str, Any]:
    """One seed in a process of its own."""
    name = f"demo-{seed}"
    command = [sys.executable, "-m", "compressor.cli.app", *COMMAND, "--seed", str(seed), "--name", name, *extra]
    started = time.monotonic()
    _, status, usage = os.wait4(spawn(command, folder), 0)
    seconds = time.monotonic() - started
    if status != 0:
        sys.exit(f"seed {seed} failed with status {status}")
    report = json.loads((folder / "runs" / name / "report.json").read_text())
    rows = {row["file"]: row for row in report["benchmark"]}
    exports = {e["role"]: {**e, "p50_ms": rows[e["file"]]["p50_ms"]} for e in report["exports"]}
    return {
        "seed": seed,
        "top1": {m["role"]: m["top1"] for m in report["models"]},
        "exported": exports["student"],
        "teacher_file": exports["teacher"],
        "seconds": seconds,
        "peak_rss_mb": usage.ru_maxrss * 1024 / 1e6,
        "test_images": report["dataset"]["test"],
    }


def spawn(command: list[str], folder: Path) -> int:
    """Starts a command in `folder`; its output goes to stderr. Returns the process id."""
    process = os.fork()
    if process == 0:
        os.chdir(folder)
        os.dup2(2, 1)
        os.execv(command[0], command)
    return process


if __name__ == "__main__":
    main()
