"""What the benchmark scripts share: where results go, and how a document is written beside its host."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compressor.benchmarking import host
from compressor.files import write_json, write_text
from compressor.packages import versions
from compressor.reporting.tables import grid

RESULTS = Path(__file__).resolve().parent / "results"


class Log:
    """A `Progress` that writes plain lines to stderr."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet

    def say(self, message: str) -> None:
        if not self.quiet:
            print(message, file=sys.stderr, flush=True)

    def bar(self, label: str, total: int) -> Any:
        from compressor.progress import Silent

        return Silent().bar(label, total)


QUICK = ["--samples", "100", "--max-processes", "5"]
"""Options of `compress benchmark` for a try."""


def benchmark(files: Sequence[str | Path], *options: str) -> tuple[list[dict[str, Any]], float]:
    """One full `compress benchmark` in a process of its own: its rows, and the seconds it took."""
    command = [sys.executable, "-m", "compressor.cli.app", "benchmark", *map(str, files), "--json", *options]
    started = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return json.loads(done.stdout)["rows"], time.perf_counter() - started


def parser(text: str | None) -> argparse.ArgumentParser:
    """The options that every script takes."""
    made = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="a try of under two minutes on two cores")
    made.add_argument("--json", action="store_true", help="one JSON document on stdout")
    made.add_argument("--save", action="store_true", help="write benchmarks/results/<date>-<name>.{json,md}")
    return made


def finish(
    arguments: argparse.Namespace,
    name: str,
    figures: dict[str, Any],
    *,
    title: str,
    header: tuple[str, ...],
    lines: Sequence[tuple[str, ...]],
    remarks: Sequence[str] = (),
) -> None:
    """Prints the table, or the document with `--json`; with `--save` both go to the results."""
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    document = {
        "name": name,
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        **figures,
        "host": host.fingerprint().as_dict(),
        "versions": versions(),
    }
    machine = document["host"]
    text = "\n\n".join([
        f"# {title}",
        f"{document['date']}, `{command}`; {machine['cpu']}, {machine['cores_usable']} cores; "
        + ", ".join(f"{k} {v}" for k, v in document["versions"].items() if v) + ".",
        grid(header, list(lines)),
        *remarks,
    ])  # fmt: skip
    if arguments.save:
        stem = RESULTS / f"{document['date']}-{name}"
        write_json(stem.with_suffix(".json"), document)
        write_text(stem.with_suffix(".md"), text + "\n")
    print(json.dumps(document, indent=2) if arguments.json else text)


def epoch(run: Any, loader: Any, order: Any, number: int) -> None:
    """One epoch of our own steps, with nothing around them: no validation, no saves."""
    from compressor.distillation.step import step

    order.epoch = number
    run.student.train()
    for position, batch in enumerate(loader, number * len(order)):
        step(run, batch, position, progress=0.0)
