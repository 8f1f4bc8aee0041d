"""Seeds derived from all that they stand for, and the process's random state and settings, kept as they were."""

from __future__ import annotations

import functools
import hashlib
import logging
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from compressor import interrupt
from compressor.text import as_bytes

P = ParamSpec("P")
R = TypeVar("R")

LOGGERS = ("", "optuna", "torch.onnx")
"""Loggers whose level our code changes; the empty name is the root."""


def derive_seed(*parts: object) -> int:
    """A 63-bit seed that depends on all `parts` and on nothing else, on any machine."""
    text = "\x1f".join(str(p) for p in parts)
    return int.from_bytes(hashlib.blake2b(as_bytes(text), digest_size=8).digest(), "little") >> 1


def seed_everything(seed: int) -> None:
    """Seeds Python, numpy and, where it is loaded, torch."""
    random.seed(seed)
    import numpy as np

    np.random.seed(seed % 2**32)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


@contextmanager
def kept_state() -> Iterator[None]:
    """Random states, torch's threads and flags, warning filters, log levels and signals are afterwards as before.

    Within, SIGTERM stops a call as Ctrl-C does.

    torch and numpy are not imported for it: where they are loaded meanwhile, nobody had a state of theirs to lose.
    """
    python = random.getstate()
    numpy = sys.modules.get("numpy")
    drawn = numpy.random.get_state() if numpy else None
    torch = sys.modules.get("torch")
    settings = _torch_settings(torch) if torch else None
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    accelerated = _accelerated()
    try:
        with warnings.catch_warnings(), interrupt.heeded():
            yield
    finally:
        random.setstate(python)
        if numpy:
            numpy.random.set_state(drawn)
        if torch and settings:
            _restore(torch, settings)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if not accelerated and _accelerated():  # else the next call could not choose another device
            state = sys.modules["accelerate.state"]
            state.AcceleratorState._reset_state(reset_partial_state=True)
            state.GradientState._reset_state()


def leaves_no_trace(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, within `kept_state`."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with kept_state():
            return function(*args, **kwargs)

    return wrapped


def _accelerated() -> bool:
    state = sys.modules.get("accelerate.state")
    return bool(state and state.PartialState._shared_state)


def _torch_settings(torch: Any) -> dict[str, Any]:
    return {
        "random": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None,
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
    }


def _restore(torch: Any, settings: dict[str, Any]) -> None:
    torch.set_rng_state(settings["random"])
    if settings["cuda"] is not None:
        torch.cuda.set_rng_state_all(settings["cuda"])
    torch.set_num_threads(settings["threads"])
    torch.use_deterministic_algorithms(settings["deterministic"], warn_only=settings["warn_only"])
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = settings["cudnn"]
