"""`compress models`."""

from __future__ import annotations

from typing import Annotated

import typer

import compressor
from compressor.cli.console import Console, edge
from compressor.cli.options import Json, Quiet, Verbose


@edge
def models(
    pattern: Annotated[str, typer.Argument(help="Part of a name, or a pattern with *.")] = "",
    limit: Annotated[int, typer.Option(help="At most this many, measured one by one.")] = 25,
    size: Annotated[int, typer.Option(help="Input size for counting MACs, pixels.")] = 224,
    json_output: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Teachers and students that can be used, with parameters and MACs.

    Examples:

        compress models mobilenetv3

        compress models 'efficientnet_*' --limit 50

        compress models
    """
    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    console.show(compressor.list_models(pattern, limit=limit, size=size))
