"""`compress cache ls` and `rm`."""

from __future__ import annotations

from typing import Annotated

import typer

import compressor
from compressor.cli.console import Console, edge
from compressor.cli.options import Json, Quiet, Verbose

cache = typer.Typer(no_args_is_help=True, help="What runs share: stored teacher outputs and decoded data.")


@cache.command("ls")
@edge
def ls(
    json_output: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """What is stored, how large it is and when it was last used.

    Examples:

        compress cache ls

        compress cache ls --json
    """
    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    console.show(compressor.stores())


@cache.command("rm")
@edge
def rm(
    names: Annotated[list[str] | None, typer.Argument(help="Names or kinds from `compress cache ls`.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove every store.")] = False,
    json_output: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Remove stores; the next run that needs one fills it again.

    Examples:

        compress cache rm 3f2a9c

        compress cache rm screened

        compress cache rm --all
    """
    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    gone = compressor.remove_stores(names or [], everything=everything)
    console.show(gone, [f"removed {len(gone.document)} store(s), {gone.megabytes:.1f} MB"])
