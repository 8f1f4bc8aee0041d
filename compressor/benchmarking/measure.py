"""Runs the child processes in rounds, interleaved, until the comparisons between files are decided."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from compressor.benchmarking import compare, host, rows
from compressor.benchmarking.cells import Cell, cells, describe, reference, unlike
from compressor.benchmarking.config import BenchmarkConfig
from compressor.benchmarking.document import Benchmark, Measured, Row
from compressor.benchmarking.lengths import Length, shown
from compressor.errors import CompressorError, ProviderError
from compressor.files import checked
from compressor.packages import versions
from compressor.progress import Progress

TURN = 0.05
"""Seconds of timed calls in a turn."""


def measure(todo: list[Cell], config: BenchmarkConfig, progress: Progress, against: str | None = None) -> list[Row]:
    """One row per cell, with its ratio to the row of `against` (the first label) of the same combination.

    The cells of a combination take turns, so that whatever the machine does hits all alike. At each of
    `compare.looks` those comparisons that are undecided, or wider than `config.half_width`, go on to the next, each
    together with its reference, up to `config.max_processes`.

    Raises:
        ProviderError: a provider took no node, or could not start.
        CompressorError: a child failed.
    """
    against = against or todo[0].label
    session = _Session(config, {cell: [] for cell in todo})
    with progress.bar("benchmark", len(todo) * config.processes) as bar:
        for _ in range(config.processes):
            session.round(todo, bar)
    pairs = {cell: _reference_of(cell, todo, against) for cell in todo}
    if len(session.looks) > 1:
        with progress.bar("until it is decided", session.looks[-1] - config.processes) as bar:
            for now, then in itertools.pairwise(session.looks):
                undecided = [c for c, r in pairs.items() if r and session.open(c, r)]
                needed = [c for c in todo if c in undecided or c in [pairs[u] for u in undecided]]
                if not needed:
                    break
                for _ in range(now, then):
                    session.round(needed, None)
                    bar.advance(note=f"{len(undecided)} comparisons")
    found = []
    for cell in todo:
        other = pairs[cell]
        ratio = session.ratio(cell, other) if other else None
        found.append(
            rows.summarise(
                cell.label, cell.provider, cell.threads, session.answers[cell], length=cell.length,
                ratio=rows.ratio_entry(against, ratio), remeasured=session.remeasured[cell],
            )
        )  # fmt: skip
    return found


def _reference_of(cell: Cell, todo: list[Cell], against: str) -> Cell | None:
    """The reference's cell of the same combination; None for itself or where it has none."""
    if cell.label == against:
        return None
    return next((c for c in todo if c.label == against and c.combination == cell.combination), None)


@dataclass
class _Session:
    """The rounds so far: per cell one answer for each round it took part in, from the first on."""

    config: BenchmarkConfig
    answers: dict[Cell, list[Measured]]
    looks: tuple[int, ...] = field(init=False)
    """After how many rounds it is seen what is decided."""
    remeasured: dict[Cell, int] = field(init=False)
    """Processes of a cell that were measured again because something disturbed them."""
    busy: bool = False
    """A repeated round was disturbed, too: the machine will not become quiet, and repeating only takes time."""

    def __post_init__(self) -> None:
        self.looks = compare.looks(self.config.processes, self.config.max_processes)
        self.remeasured = dict.fromkeys(self.answers, 0)

    def round(self, todo: list[Cell], bar: Any) -> None:
        """One process per cell. A disturbed round is measured again, whole: its processes are compared in pairs."""
        found = self._once(todo, bar)
        if not self.busy and any(answer.noisy for answer in found.values()):
            found = self._once(todo, None)
            self.busy = any(answer.noisy for answer in found.values())
            for cell in todo:
                self.remeasured[cell] += 1
        for cell, answer in found.items():
            self.answers[cell].append(answer)

    def _once(self, todo: list[Cell], bar: Any) -> dict[Cell, Measured]:
        groups: dict[tuple[str, int, int, Length | None], list[Cell]] = {}
        for cell in todo:
            groups.setdefault(cell.combination, []).append(cell)
        found: dict[Cell, Measured] = {}
        for (provider, batch, _, length), group in groups.items():
            found |= together(group, self.config)
            if bar:
                long = "" if length is None else f" · {shown(length, None)}"
                bar.advance(len(group), note=f"{provider} · batch {batch}{long}")
        return found

    def open(self, cell: Cell, other: Cell) -> bool:
        """Whether more processes are wanted: no verdict yet, or an interval wider than asked for."""
        found = self.ratio(cell, other)
        return found.verdict == "undecided" or found.half_width > self.config.half_width

    def ratio(self, cell: Cell, other: Cell) -> compare.Ratio:
        """Over the rounds that both took part in: every cell starts in the first and never comes back."""
        both = min(len(self.answers[cell]), len(self.answers[other]))
        samples = [[answer.samples_ms for answer in self.answers[c][:both]] for c in (other, cell)]
        return compare.compare(*samples, looks=len(self.looks))


def document(files: dict[str, Path], config: BenchmarkConfig, progress: Progress) -> Benchmark:
    """`benchmark.json`: one row per file × provider × batch × threads × length, with raw samples, host and versions."""
    facts = describe(files, config.lengths)
    against = reference(facts)
    if not config.providers:
        config = config.model_copy(update={"providers": _startable(cells(files, config, facts), config, progress)})
    measured = measure(cells(files, config, facts), config, progress, against)
    return Benchmark(
        reference=against,
        models=facts,
        rows=measured,
        warnings=rows.warnings(measured) + unlike(facts, config),
        host=host.fingerprint(),
        versions=versions(),
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _startable(todo: list[Cell], config: BenchmarkConfig, progress: Progress) -> list[str]:
    """Those of the default providers that start here: a wheel with CUDA may lie on a machine without a GPU."""
    found = ["cpu"]
    for name in dict.fromkeys(cell.provider for cell in todo if cell.provider != "cpu"):
        child = Child(next(c for c in todo if c.provider == name), config)
        try:
            child.ready()
            found.append(name)
        except CompressorError as error:
            progress.say(f"{name} is left out: {error}")
        finally:
            child.close()
    return found


def together(group: list[Cell], config: BenchmarkConfig) -> dict[Cell, Measured]:
    """One fresh process per cell, all alive at once and running in turns, one at a time.

    A machine's clocks and neighbours change its speed within fractions of a second (docs/log.md): cells that are
    to be compared have to see the same changes.
    """
    return take_turns([partial(Child, cell, config) for cell in group])


def take_turns(makers: Sequence[Callable[[], Child]]) -> dict[Cell, Measured]:
    """Makes the children, lets them run in turns until all have enough, and ends them."""
    children: list[Child] = []
    try:
        for make in makers:  # the next one only when this one has stopped working
            children.append(make())
            children[-1].ready()
        waiting = children
        while waiting:  # to and fro, so that none is always behind the same other
            waiting = [child for child in reversed(waiting) if child.turn()]
        return {child.cell: child.result() for child in children}
    finally:
        for child in children:
            child.close()


class Child:
    """A fresh process that has loaded a cell's file, is warm, and waits for its turns."""

    def __init__(self, cell: Cell, config: BenchmarkConfig, command: list[str] | None = None) -> None:
        """
        Args:
            cell: what it measures.
            config: when it has samples enough.
            command: another program that speaks the child's protocol; None: `benchmarking.child`.
        """
        self.cell = cell
        self.config = config
        self.samples, self.seconds = 0, 0.0
        keys = ("provider", "batch", "threads", "length")
        request = {"file": str(cell.file), "warmup_seconds": config.warmup_seconds}
        request |= {key: getattr(cell, key) for key in keys}
        # -P: no module from the working folder, where a stranger's model may lie, is imported.
        own = [sys.executable, "-P", "-m", "compressor.benchmarking.child", json.dumps(request)]
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed with the child; a pipe would fill up)
        self.process = subprocess.Popen(
            command or own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )

    def ready(self) -> None:
        """Waits until it is loaded and warm. Raises what it failed with."""
        self._read()

    def turn(self) -> bool:
        """Lets it run for a moment; whether it wants another turn."""
        self._send(f"{TURN}\n")
        self.samples = int(self._read())
        self.seconds += TURN
        enough = self.samples >= math.ceil(self.config.samples / self.config.processes)
        return self.seconds < (self.config.min_seconds if enough else self.config.max_seconds)

    def result(self) -> Measured:
        """What it measured."""
        self._send("\n")
        return checked(self._read()["ok"], Measured, f"the measurement of {self.cell.file}")

    def close(self) -> None:
        """Ends it, whatever it is doing."""
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def _send(self, text: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(text)
            self.process.stdin.flush()
        except OSError as error:  # ended while it waited: a machine short of memory takes the idle ones
            raise self._gone() from error

    def _read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        try:
            answer = json.loads(line)
        except ValueError:
            raise self._gone() from None
        if isinstance(answer, dict) and "error" in answer:
            kind = ProviderError if answer["kind"] == "ProviderError" else CompressorError
            raise kind(answer["error"])
        return answer

    def _gone(self) -> CompressorError:
        try:
            code = self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:  # it lives, and what it said is no answer
            self.process.kill()
            code = self.process.wait()
        self.errors.seek(0)
        reason = (self.errors.read().strip().splitlines() or [f"its process ended with code {code}"])[-1]
        return CompressorError(f"measuring {self.cell.file} on {self.cell.provider} failed: {reason}")
