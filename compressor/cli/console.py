"""What a person sees of a command: results on stdout, errors in one to three lines and an exit code.

With `--json` stdout carries one JSON document and everything else goes to stderr.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import typer

from compressor import CompressorError
from compressor.text import clean

if TYPE_CHECKING:
    from compressor import Progress

INTERRUPTED = 130

LONGEST_LINE = 2000
"""Characters of a line of an error."""


class Result(Protocol):
    """What every function of the API gives."""

    def blocks(self) -> Sequence[Any]:
        """Tables and lines."""

    def plain(self) -> Any:
        """The document."""


class Console:
    """Where a command's result goes."""

    def __init__(self, *, json_output: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        self.json_output = json_output
        self.quiet = quiet
        if not verbose:
            warnings.simplefilter("ignore")

    @property
    def progress(self) -> Progress | None:
        """None lets the API choose what fits the surroundings."""
        from compressor import Silent

        return Silent() if self.quiet else None

    def show(self, result: Result, blocks: Sequence[Any] | None = None) -> None:
        """The result's tables and lines (or those given instead), or its document with `--json`."""
        from rich.console import Console as Rich  # here, not above: `--help` need not pay for it
        from rich.text import Text

        out = Rich(stderr=self.json_output, highlight=False, soft_wrap=True)
        for block in result.blocks() if blocks is None else blocks:
            if isinstance(block, str):
                out.print(Text(clean(block)))
            else:
                _print_table(out, block.header, block.lines)
        if self.json_output:
            print(json.dumps(result.plain(), indent=2))


def _print_table(out: Any, header: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> None:
    """Not cut off where it is no terminal."""
    from rich.console import Console as Rich
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, name in enumerate(header):
        table.add_column(Text(name), overflow="fold", no_wrap=i == 0)
    for line in lines:
        table.add_row(*(Text(clean(cell)) for cell in line))
    if out.is_terminal:
        out.print(table)
    else:
        Rich(file=out.file, highlight=False, width=200).print(table)


def edge(command: Callable[..., None]) -> Callable[..., None]:
    """Where whatever a command raises becomes a message and an exit code, once for all commands."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (typer.Exit, typer.Abort):  # such as that of --check-regression
            raise
        except KeyboardInterrupt:
            print("interrupted; what was finished is kept", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            raise typer.Exit(0) from None
        except Exception as error:
            if kwargs.get("verbose"):
                print(clean(traceback.format_exc()), file=sys.stderr)
            print(f"error: {clean(_clipped(_said(error)))}", file=sys.stderr)
            raise typer.Exit(error.exit_code if isinstance(error, CompressorError) else 1) from None

    return wrapped


def _said(error: Exception) -> str:
    """What a person is told of an error: its own words, where they were written for a person."""
    if _out_of_memory(error):
        return (
            f"out of memory ({_first_line(error)}).\n"
            "Take a smaller stage.batch_size, stage.targets.batch_size or image size, or a smaller model; close what "
            "else runs."
        )
    if isinstance(error, CompressorError | OSError):  # the latter: a full disk, a folder that may not be written
        return str(error)
    kind = type(error).__name__
    return f"this was not foreseen: {kind}: {_first_line(error)}\nPlease report it with {_kept(error)}."


def _out_of_memory(error: Exception) -> bool:
    """Of Python, torch (CPU and CUDA) or onnxruntime; each says it in its own way."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    signs = ("out of memory", "DefaultCPUAllocator", "bad_alloc", "Failed to allocate memory", "Cannot allocate memory")
    return not isinstance(error, CompressorError) and any(sign in str(error) for sign in signs)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]


def _kept(error: Exception) -> str:
    """Where the traceback was written."""
    try:
        handle, name = tempfile.mkstemp(prefix="compress-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(traceback.format_exception(error))
    except OSError:
        return "what --verbose prints"
    return f"the traceback in {name}"


def _clipped(text: str) -> str:
    """Lines that a person can read: what was given may be a megabyte long."""
    return "\n".join(line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…" for line in text.splitlines())
