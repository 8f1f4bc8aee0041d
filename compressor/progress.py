"""Where long work reports to: a line, a bar with the time left. Imports nothing heavy."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeVar

T = TypeVar("T")

log = logging.getLogger("compressor")


class Bar(Protocol):
    """How far one piece of long work is."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """`steps` more are done; `note` says what happens now."""

    def skip(self, steps: int) -> None:
        """`steps` were done before, by a run that is now continued."""


class Progress(Protocol):
    """Where long work reports to. The command line gives one that draws; libraries and tests a silent one."""

    def say(self, message: str) -> None:
        """A line that a person should read."""

    def bar(self, label: str, total: int) -> AbstractContextManager[Bar]:
        """Shows `total` steps of work, with the time that is left."""


class Silent:
    """A `Progress` that shows nothing."""

    def say(self, message: str) -> None:
        log.debug(message)

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Bar]:
        yield _NoBar()


class _NoBar:
    def advance(self, steps: int = 1, note: str = "") -> None:
        pass

    def skip(self, steps: int) -> None:
        pass


def track(progress: Progress, items: Iterable[T], *, label: str, total: int) -> Iterator[T]:
    """Passes `items` through and shows how far they are."""
    with progress.bar(label, total) as bar:
        for item in items:
            yield item
            bar.advance()
