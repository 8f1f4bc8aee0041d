"""`compress doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

import compressor
from compressor.cli.console import Console, edge
from compressor.cli.options import Json, Quiet, Verbose


@edge
def doctor(
    data: Annotated[str | None, typer.Option(help="Look at a data folder before anything is trained on it.")] = None,
    json_output: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """The machine, the execution providers, and what is missing with the line that installs it.

    Examples:

        compress doctor

        compress doctor --json

        compress doctor --data photos/
    """
    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    console.show(compressor.doctor(data=data, progress=console.progress))
