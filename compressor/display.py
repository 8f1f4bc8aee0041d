"""Where a call's progress is shown: bars on a terminal, one line that changes in a notebook, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from compressor.progress import Bar, Progress
from compressor.text import clean


def surroundings() -> Progress:
    """The `Progress` that fits where this process runs."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if type(shell).__name__ == "ZMQInteractiveShell":
        return Notebook()
    return Terminal() if sys.stderr.isatty() else Lines()


class Lines:
    """A `Progress` of plain lines on stderr, every ten seconds within long work."""

    def say(self, message: str) -> None:
        print(clean(message), file=sys.stderr, flush=True)

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Bar]:
        yield _Timed(self.say, label, total, every=10.0)


class Notebook:
    """A `Progress` for Jupyter: each bar is one line of the output that changes in place."""

    def say(self, message: str) -> None:
        print(clean(message), flush=True)

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Bar]:
        from IPython.display import Pretty, display

        handle = display(Pretty(clean(f"{label} · 0/{total}")), display_id=True)
        try:
            yield _Timed(lambda text: handle.update(Pretty(clean(text))), label, total, every=0.25)
        finally:
            handle.update(Pretty(""))


class Terminal:
    """A `Progress` of bars with the time left, drawn on stderr."""

    def __init__(self) -> None:
        from rich.console import Console

        self.screen = Console(stderr=True, highlight=False, soft_wrap=True)
        self._live: Any = None

    def say(self, message: str) -> None:
        from rich.text import Text

        (self._live.console if self._live else self.screen).print(Text(clean(message)))

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Bar]:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=30),
                   TextColumn("{task.percentage:>3.0f}% {task.fields[note]}", markup=False), TimeElapsedColumn(),
                   TextColumn("left"), TimeRemainingColumn())  # fmt: skip
        with Progress(*columns, console=self.screen, transient=True) as live:
            self._live = live
            try:
                yield _Live(live, live.add_task(clean(label), total=total, note=""))
            finally:
                self._live = None


class _Timed:
    """A bar in words, not too many."""

    def __init__(self, say: Callable[[str], None], label: str, total: int, *, every: float) -> None:
        self.say, self.label, self.total, self.every = say, label, total, every
        self.done = self.first = 0
        self.started = self.last = time.monotonic()

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        now = time.monotonic()
        if now - self.last >= self.every and self.done > self.first:
            self.last = now
            left = (now - self.started) / (self.done - self.first) * (self.total - self.done)
            self.say(f"{self.label} · {self.done}/{self.total} · {note} · {left:.0f} s left")

    def skip(self, steps: int) -> None:
        self.done += steps
        self.first = self.done


class _Live:
    def __init__(self, live: Any, task: Any) -> None:
        self.live, self.task = live, task

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.live.update(self.task, advance=steps, note=clean(note))

    def skip(self, steps: int) -> None:
        self.live.update(self.task, completed=steps)
