"""Memory that threads share: who needs much waits until others are done."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Room:
    """So many units for all threads together. What a thread takes within `with room:` is free when it leaves.

    A thread that holds something never waits, lest it waits for itself; and what is larger than the room is let in alone.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._empty()
        if hasattr(os, "register_at_fork"):  # a loader's process inherits what its parent's threads held
            os.register_at_fork(after_in_child=self._empty)

    def _empty(self) -> None:
        self._changed, self._taken, self._own = threading.Condition(), 0, threading.local()

    def __enter__(self) -> Room:
        self._own.depth = getattr(self._own, "depth", 0) + 1
        return self

    def __exit__(self, *_: object) -> None:
        self._own.depth -= 1
        held = getattr(self._own, "held", 0)
        if held and not self._own.depth:
            self._own.held = 0
            with self._changed:
                self._taken -= held
                self._changed.notify_all()

    def take(self, amount: int) -> None:
        """Waits until `amount` more fits. Only within `with room:`."""
        held = getattr(self._own, "held", 0)
        with self._changed:
            while self._taken and not held and self._taken + amount > self.size:
                self._changed.wait()
            self._taken += amount
        self._own.held = held + amount

    def work(self, function: Callable[[T], R], items: Iterable[T], *, threads: int | None = None) -> Iterator[R]:
        """`function` of each item, by several threads, in order, few of them ahead of who asks.

        What an item takes of the room is its own until `function` returns.
        """

        def one(item: T) -> R:
            with self:
                return function(item)

        threads = threads or min(32, (os.cpu_count() or 1) + 4)
        waiting: deque[Future[R]] = deque()
        with ThreadPoolExecutor(threads) as pool:
            try:
                for item in items:
                    waiting.append(pool.submit(one, item))
                    if len(waiting) >= 4 * threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
