"""Kills a small chain at random moments, again and again, and looks whether it ends as if it had not been killed.

    python benchmarks/crash.py --save

A chain (teacher, assistant, student, baseline; digits) runs once without a stop. Then it is started anew, killed with
SIGKILL after a random time, resumed, killed again …, until it comes to its end; with no loader processes and with two.
Every stage's weights have to equal the uninterrupted run's, byte by byte. The moments are uniform over a
quarter, a half or all of the time that the whole chain takes, so that a run is killed several times and in all phases. Each attempt is a fork of this process, which has imported all there
is to import but has computed nothing.
"""

from __future__ import annotations

import hashlib
import os

os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1")  # before torch: what is forked has no threads

import argparse
import contextlib
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import finish, parser

import compressor
from compressor.exporting import export as exporting
from compressor.files import read_json
from compressor.packages import import_timm
from compressor.progress import Bar, Silent
from compressor.workflows import distill as street

import_timm()

MOST = 7
"""Kills of one run."""
SHARES = (0.25, 0.25, 0.5, 1.0)
"""A moment is uniform over such a share of the time that the whole chain takes, from the start or resume on."""
PHASES = ("checking", "teacher", "targets", "assistant", "student", "baseline", "exporting", "benchmark")
"""Words that a message or a bar begins with; what comes before the first is reading, after the last the report."""


class Phase(Silent):
    """Writes down what is being done, for who comes after a kill."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, message: str) -> None:
        """A phase that begins."""
        word = message.split()[0].rstrip(":")
        if word in PHASES:
            self.path.write_text(word)

    def say(self, message: str) -> None:
        self.note(message)

    @contextmanager
    def bar(self, label: str, total: int) -> Any:
        self.note(label)
        with super().bar(label, total) as shown:
            found: Bar = shown
            yield found


def chain(arguments: argparse.Namespace, workers: int) -> dict[str, Any]:
    """What is run."""
    return {
        "teacher": "test_resnet", "assistants": "test_efficientnet", "student": "test_efficientnet", "device": "cpu",
        "settings": {
            "seeds": 1, "threads": 1, "data.limit": 48, "data.workers": workers,
            "teacher.epochs": 2, "stage.epochs": 2 if arguments.quick else 3, "stage.batch_size": 16, "stage.ema": 0.9,
            "stage.save.steps": 2, "stage.targets.precision": "fp32", "baseline": not arguments.quick,
            "benchmark.processes": 1, "benchmark.samples": 16, "benchmark.warmup_seconds": 0,
            "benchmark.min_seconds": 0, "benchmark.max_processes": 1,
        },
    }  # fmt: skip


def attempt(home: Path, given: dict[str, Any], after: float | None, *, quick: bool) -> tuple[bool, str, float]:
    """Starts or resumes the run in `home`, and kills it `after` so many seconds; whether it was, where, and when."""
    (home / "phase").write_text("reading")
    begun = time.monotonic()
    pid = os.fork()
    if pid == 0:
        child(home, given, quick=quick)
    killed = False
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if after is not None and time.monotonic() - begun > after:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            killed = True
            break
        time.sleep(0.002)
    spent = time.monotonic() - begun
    with contextlib.suppress(ProcessLookupError):  # loaders and children that were left
        os.killpg(pid, signal.SIGKILL)
    return killed, (home / "phase").read_text(), spent


def child(home: Path, given: dict[str, Any], *, quick: bool) -> None:
    """Is the attempt. Never returns."""
    code = 1
    try:
        os.setsid()
        os.chdir(home)
        os.environ["COMPRESS_CACHE"] = str(home / "cache")
        write = exporting._write
        exporting._write = lambda *a, dynamo, **k: write(*a, dynamo=False, **k)  # a second instead of ten
        if quick:
            nothing: dict[str, Any] = {"export_run": {}, "document": {"rows": [], "host": None}}
            for name, found in nothing.items():
                setattr(street, name, lambda *a, found=found, **k: found)
        run = Path("runs/x")
        progress = Phase(home / "phase")
        if (run / "recipe.yaml").is_file():
            compressor.distill(resume=run, device="cpu", progress=progress)
        else:  # killed before it had a recipe: there is nothing to go on with
            compressor.distill(**given, name="x" if not run.exists() else "y", progress=progress)
        code = 0
    except BaseException:
        import traceback

        (home / "error").write_text(traceback.format_exc())
    finally:
        os._exit(code)


def ended(home: Path) -> bool:
    """Whether it was done before it was killed."""
    return any(read_json(path)["status"] == "done" for path in (home / "runs").glob("*/run.json"))


def digests(home: Path) -> dict[str, str]:
    """Every weights file of the run, by its place; and that it is done."""
    (run,) = (p.parent for p in (home / "runs").glob("*/run.json") if read_json(p)["status"] == "done")
    return {
        str(path.relative_to(run)): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in sorted(run.rglob("*.safetensors"))
    }


def killed_with(kills: Counter[tuple[str, int]]) -> tuple[int, int]:
    """Kills of runs without loader processes, and with two."""
    without, two = (sum(n for (_, workers), n in kills.items() if workers == own) for own in (0, 2))
    return without, two


def main() -> None:
    """Measures and prints."""
    made = parser(__doc__)
    made.add_argument("--kills", type=int, default=60, help="at least so many")
    made.add_argument("--seed", type=int, default=0)
    arguments = made.parse_args()
    rng = random.Random(arguments.seed)
    kills: Counter[tuple[str, int]] = Counter()
    endings: Counter[tuple[int, bool]] = Counter()
    different: list[str] = []
    with tempfile.TemporaryDirectory() as top:
        whole = Path(top) / "whole"
        whole.mkdir()
        _, _, seconds = attempt(whole, chain(arguments, 0), None, quick=arguments.quick)
        expected = digests(whole)
        number = 0
        while min(total := killed_with(kills)) < arguments.kills / 2:
            workers = 0 if total[0] <= total[1] else 2
            home = Path(top) / str(number)
            home.mkdir()
            killed, own = True, 0
            while killed:
                # After so many, or when there are enough, what is left comes to its end.
                more = own < MOST and killed_with(kills)[workers // 2] < arguments.kills / 2
                after = rng.uniform(0, seconds * rng.choice(SHARES)) if more else None
                killed, phase, _ = attempt(home, chain(arguments, workers), after, quick=arguments.quick)
                kills[phase, workers] += killed
                own += killed
                killed = killed and not ended(home)
            if (home / "error").exists():
                sys.exit((home / "error").read_text())
            found = digests(home)
            different += [f"{number}: {name}" for name in expected if found.get(name) != expected[name]]
            endings[workers, found == expected] += 1
            number += 1
            print(f"run {number}: {sum(kills.values())} kills, equal: {found == expected}", file=sys.stderr, flush=True)
    phases = ("reading", *PHASES)
    lines = [
        (phase, str(kills[phase, 0]), str(kills[phase, 2])) for phase in phases if kills[phase, 0] + kills[phase, 2]
    ]
    total = killed_with(kills)
    runs = {own: endings[own, True] + endings[own, False] for own in (0, 2)}
    lines += [
        ("all", str(total[0]), str(total[1])),
        ("runs that ended", str(runs[0]), str(runs[2])),
        ("of them equal, byte by byte", str(endings[0, True]), str(endings[2, True])),
    ]
    figures = {
        "kills": [{"phase": p, "workers": w, "kills": n} for (p, w), n in sorted(kills.items()) if n],
        "runs": sum(endings.values()),
        "equal": sum(n for (_, same), n in endings.items() if same),
        "different": different,
        "files_compared": len(expected),
        "uninterrupted_seconds": seconds,
    }
    finish(arguments, "crash", figures, title="Killed at random moments, resumed, and the same in the end",
           header=("killed while", "no loader processes", "two"), lines=lines,
           remarks=[f"Compared per run: {len(expected)} weights files of all stages with those of a run that nobody "
                    f"stopped ({seconds:.0f} s). PyTorch's older exporter, for speed."])  # fmt: skip
    if different:
        sys.exit(1)


if __name__ == "__main__":
    main()
