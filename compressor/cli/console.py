"""What a person sees: progress bars on a terminal, plain lines elsewhere, errors in one to three lines.

With `--json` stdout carries one JSON document and everything else goes to stderr.
"""

from __future__ import annotations

import functools
import json
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from compressor.errors import CompressorError
from compressor.files import finite
from compressor.progress import Bar

if TYPE_CHECKING:
    from compressor.reporting.screen import Block

JsonOption = typer.Option("--json", help="Print one JSON document on stdout, everything else on stderr.")
QuietOption = typer.Option("--quiet", "-q", help="Print results and errors alone.")
VerboseOption = typer.Option("--verbose", help="Show library warnings, and a traceback with an error.")

INTERRUPTED = 130


def escape(text: str) -> str:
    """`text` with rich's markup made plain."""
    from rich.markup import escape as rich_escape

    return rich_escape(text)


class Console:
    """A `Progress` for people."""

    def __init__(self, *, json_output: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        self.json_output = json_output
        self.quiet = quiet
        from rich.console import Console as Rich  # here, not above: `--help` need not pay for it

        self.err = Rich(stderr=True, highlight=False, soft_wrap=True)
        self.out = Rich(stderr=json_output, highlight=False, soft_wrap=True)
        self._live: Any = None
        if not verbose:
            warnings.simplefilter("ignore")

    def say(self, message: str) -> None:
        """A line on stderr, above a running bar."""
        if not self.quiet:
            (self._live.console if self._live else self.err).print(escape(message))

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Bar]:
        """A bar with the time left on a terminal; a line every ten seconds elsewhere."""
        if self.quiet:
            yield _Lines(self, label, total, every=float("inf"))
        elif not self.err.is_terminal:
            yield _Lines(self, label, total, every=10.0)
        else:
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            live = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=30),
                TextColumn("{task.percentage:>3.0f}% {task.fields[note]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self.err,
                transient=True,
            )
            with live:
                self._live = live
                task = live.add_task(escape(label), total=total, note="")
                try:
                    yield _Live(live, task)
                finally:
                    self._live = None

    def show(self, blocks: Sequence[Block]) -> None:
        """A result on stdout."""
        for block in blocks:
            if isinstance(block, str):
                self.result(block)
            else:
                self.table(block.header, block.lines)

    def table(self, header: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> None:
        """A result on stdout; not cut off where it is no terminal."""
        from rich.console import Console as Rich
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="bold")
        for i, name in enumerate(header):
            table.add_column(escape(name), overflow="fold", no_wrap=i == 0)
        for line in lines:
            table.add_row(*(escape(cell) for cell in line))
        if self.out.is_terminal:
            self.out.print(table)
        else:
            Rich(file=self.out.file, highlight=False, width=200).print(table)

    def result(self, text: str) -> None:
        """A line of a result on stdout."""
        self.out.print(escape(text))

    def document(self, value: Any) -> None:
        """The one JSON document of `--json`."""
        if self.json_output:
            print(json.dumps(finite(value), indent=2))


class _Lines:
    """A bar without a terminal: plain lines, not too many."""

    def __init__(self, console: Console, label: str, total: int, *, every: float) -> None:
        self.console, self.label, self.total, self.every = console, label, total, every
        self.done = self.first = 0
        self.started = self.last = time.monotonic()

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        now = time.monotonic()
        if now - self.last >= self.every and self.done > self.first:
            self.last = now
            left = (now - self.started) / (self.done - self.first) * (self.total - self.done)
            self.console.say(f"{self.label} · {self.done}/{self.total} · {note} · {left:.0f} s left")

    def skip(self, steps: int) -> None:
        self.done += steps
        self.first = self.done


class _Live:
    def __init__(self, live: Any, task: Any) -> None:
        self.live, self.task = live, task

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.live.update(self.task, advance=steps, note=escape(note))

    def skip(self, steps: int) -> None:
        self.live.update(self.task, completed=steps)


def edge(command: Callable[..., None]) -> Callable[..., None]:
    """Where domain errors become exit codes, once for all commands."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt:
            print("interrupted; what was finished is kept", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            raise typer.Exit(0) from None
        except (CompressorError, OSError) as error:  # the latter: a full disk, a folder that may not be written
            if kwargs.get("verbose"):
                traceback.print_exc()
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code if isinstance(error, CompressorError) else 1) from None

    return wrapped
