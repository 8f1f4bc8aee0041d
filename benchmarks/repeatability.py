"""Does a second benchmark say the same? Two full `compress benchmark` calls of two models, repeated.

    python benchmarks/repeatability.py --save

Per repeat: do the two calls' intervals of the ratio overlap, and is each within ± 5 %? At the end one call beside a
process that keeps every core busy: its rows must be flagged. 40 calls of about 35 s on a quiet machine.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import QUICK, Log, benchmark, finish, parser

from compressor.workflows.benchmark import artifacts

MODELS = ("resnet18", "mobilenetv3_small_100")
NEEDED, WIDTH = 0.95, 0.05


def call(files: list[str], *options: str) -> dict[str, Any]:
    """One full benchmark: the ratio of the second model to the first, and what its rows say of noise."""
    rows, seconds = benchmark(files, *options)
    ratio = rows[1]["ratio"]
    return {
        **{key: ratio[key] for key in ("value", "low", "high", "verdict")},
        "half_width": (ratio["high"] - ratio["low"]) / 2 / ratio["value"],
        "processes": rows[1]["processes"],
        "noisy": [row["noisy"] for row in rows],
        "remeasured": max(row["remeasured"] for row in rows),
        "p50_ms": [row["p50_ms"] for row in rows],
        "seconds": seconds,
    }


@contextlib.contextmanager
def load() -> Iterator[None]:
    """A busy process per core."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def main() -> None:
    """Measures all repeats and prints the table."""
    made = parser(__doc__)
    made.add_argument("--repeats", type=int, default=20)
    made.add_argument("--size", type=int, default=96)
    arguments = made.parse_args()
    options: list[str] = []
    if arguments.quick:
        arguments.repeats, arguments.size, options = 1, 64, QUICK
    log = Log()
    files = [str(path) for path in artifacts(list(MODELS), arguments.size, log)[0].values()]
    repeats = []
    for k in range(arguments.repeats):
        first, second = call(files, *options), call(files, *options)
        overlap = max(first["low"], second["low"]) <= min(first["high"], second["high"])
        width = max(first["half_width"], second["half_width"])
        repeats.append({"calls": [first, second], "overlap": overlap, "half_width": width})
        log.say(f"{k + 1}/{arguments.repeats}: {text(first)} and {text(second)}: {'overlap' if overlap else 'apart'}")
    with load():
        loaded = call(files, *options, "--processes", "3", "--max-processes", "3")
    overlaps = sum(r["overlap"] for r in repeats)
    narrow = sum(r["half_width"] <= WIDTH for r in repeats)
    quiet = [noisy for r in repeats for c in r["calls"] for noisy in c["noisy"]]
    enough = NEEDED * len(repeats)
    figures = {
        "models": MODELS,
        "size": arguments.size,
        "repeats": repeats,
        "overlaps": overlaps,
        "narrow": narrow,
        "rows_flagged_without_load": sum(bool(n) for n in quiet),
        "rows_without_load": len(quiet),
        "loaded": loaded,
        "rows_flagged_with_load": sum(bool(n) for n in loaded["noisy"]),
        "passed": overlaps >= enough and narrow >= enough and all(loaded["noisy"]),
    }
    lines = [
        (str(k + 1), text(r["calls"][0]), text(r["calls"][1]), "yes" if r["overlap"] else "no",
         f"{100 * r['half_width']:.1f} %", " + ".join(str(c["processes"]) for c in r["calls"]),
         f"{sum(c['seconds'] for c in r['calls']):.0f} s")
        for k, r in enumerate(repeats)
    ]  # fmt: skip
    remarks = [
        f"{MODELS[1]} over {MODELS[0]} at {arguments.size} px. Intervals overlap in {overlaps} of {len(repeats)}; "
        f"{narrow} of {len(repeats)} have both half-widths within 5 %.",
        f"Rows flagged as noisy: {figures['rows_flagged_without_load']} of {len(quiet)} without a competing load, "
        f"{figures['rows_flagged_with_load']} of {len(loaded['noisy'])} with one (ratio then {text(loaded)}).",
        f"{'Passed' if figures['passed'] else 'FAILED'}: ≥ 95 % overlap, half-width ≤ 5 %, flagged under load.",
    ]
    finish(arguments, "repeatability", figures, title="Two benchmarks of the same models",
           header=("repeat", "first call", "second call", "overlap", "wider half-width", "processes", "time"),
           lines=lines, remarks=remarks)  # fmt: skip


def text(found: dict[str, Any]) -> str:
    """`0.262 (0.255 … 0.270)`."""
    return f"{found['value']:.3f} ({found['low']:.3f} … {found['high']:.3f})"


if __name__ == "__main__":
    main()
