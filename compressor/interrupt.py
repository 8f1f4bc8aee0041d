"""Ctrl-C and SIGTERM: both end a command alike, and wait for a moment where something must not be torn. Process-wide."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_held = 0
_asked = False


@contextmanager
def heeded() -> Iterator[None]:
    """Within, SIGTERM raises KeyboardInterrupt as Ctrl-C does, and both wait for the end of what is `held`.

    Where signals can't be received (not the main thread) or are ignored (`nohup`), that stays as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


@contextmanager
def held() -> Iterator[None]:
    """Lets the block come to its end before the first signal is answered; a second one is answered at once."""
    global _held, _asked
    _held += 1
    try:
        yield
    finally:
        _held -= 1
        if not _held and _asked:
            _asked = False
            raise KeyboardInterrupt


def _stop(number: int, frame: Any) -> None:
    global _asked
    if _held and not _asked:
        _asked = True
        return
    _asked = False
    raise KeyboardInterrupt


def left_to_the_parent() -> None:
    """For a helper process: Ctrl-C reaches it too, and the parent decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
