"""The family of errors that a person can act on, and how a message offers the nearest choice.

Everything raised for a person derives from `CompressorError`; the command line turns it into one to
three lines and an exit code. `assert` is for invariants, which no input can break.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CompressorError(Exception):
    """Something failed while running. The message names the value, where it came from and the fix."""

    exit_code = 1


class UsageError(CompressorError):
    """The command, the recipe or the data given to it is wrong; nothing was started."""

    exit_code = 2


class RecipeError(UsageError):
    """The recipe has problems; all of them are named at once."""


class DataError(UsageError):
    """What was given as data can't be trained on."""


class MissingExtraError(UsageError):
    """A command needs packages that this installation lacks; the message says which line installs them."""


class ParityError(CompressorError):
    """An exported file does not reproduce the PyTorch model on real samples."""


class ArtifactError(CompressorError):
    """An ONNX file is damaged, is no ONNX file, or does not say what it needs."""


class ProviderError(CompressorError):
    """An execution provider was asked for that isn't there, or that took no node of the graph."""


class CheckpointError(CompressorError):
    """A checkpoint can't be read, or does not fit the model or the data."""


def first_line(error: BaseException) -> str:
    """What another library's error says, for a message of ours; its kind, where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


def nearest(name: str, choices: Iterable[str], count: int = 3) -> list[str]:
    """The `count` choices spelled most like `name`, best first; empty when none is close."""
    return difflib.get_close_matches(name, list(choices), n=count, cutoff=0.5)


def did_you_mean(name: str, choices: Iterable[str], count: int = 1) -> str:
    """`; did you mean 'a' or 'b'?`, to be put behind an unknown name; empty when nothing is close."""
    close = nearest(name, choices, count)
    return f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else ""


def unknown(kind: str, name: str, choices: Iterable[str], *, listed: bool = True) -> str:
    """A message for an unknown name: the nearest choices and, for short lists, all of them."""
    known = list(choices)
    text = f"unknown {kind} '{name}'{did_you_mean(name, known, 3)}"
    if listed:
        text += f" (available: {', '.join(known)})"
    return text
