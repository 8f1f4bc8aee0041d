"""`compress try`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import compressor
from compressor.cli.console import Console, edge
from compressor.cli.options import Json, Quiet, Verbose


@edge
def try_out(
    model: Annotated[str | None, typer.Argument(help="A run or an ONNX file; the newest run.")] = None,
    write: Annotated[Path | None, typer.Option(help="Write the page into this folder, and serve nothing.")] = None,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0: a free one.")] = 0,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the browser.")] = True,
    assets: Annotated[
        Path | None, typer.Option(help="onnxruntime-web: npm's archive, or a folder that has its files.")
    ] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Have npm fetch onnxruntime-web once (33 MB).")] = False,
    json_output: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Try a student in the browser: drop images, use the camera or type a text. Nothing leaves this machine.

    The page runs the ONNX file by onnxruntime-web, with the run's teacher beside it. Ctrl-C ends it.

    Examples:

        compress try --fetch

        compress try runs/NAME

        compress try student.int8.onnx --port 8000 --no-open

        compress try runs/NAME --write site/
    """
    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    found = compressor.try_out(
        model, write=write, port=port, open_page=open_page, assets=assets, fetch=fetch, progress=console.progress
    )
    console.show(found)
