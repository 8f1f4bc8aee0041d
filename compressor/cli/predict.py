"""`compress predict`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import compressor
from compressor.cli.console import Console, edge
from compressor.cli.options import Json, Provider, Quiet, Verbose
from compressor.text import clean


@edge
def predict(
    model: Annotated[str, typer.Argument(help="An ONNX file or a run.")],
    images: Annotated[list[str], typer.Argument(help="Files, folders, texts (for a model of texts), or - for a list on stdin.")],
    top: Annotated[int, typer.Option(help="How many classes to name per sample.")] = 1,
    provider: Provider = "cpu",
    json_output: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Labels and calibrated probabilities for files or texts, from the ONNX file alone.

    Examples:

        compress predict student.onnx photo.jpg

        compress predict runs/NAME photos/ --top 3

        compress predict runs/NAME "where is my card?" questions.csv

        find photos -name '*.jpg' | compress predict student.onnx - --json
    """
    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    named = [line.strip() for name in images for line in (sys.stdin if name == "-" else [name])]
    found = compressor.predict(model, [n for n in named if n], top=top, provider=provider, progress=console.progress)
    for error in found.errors:
        print(f"error: {clean(error)}", file=sys.stderr)
    console.show(found)
    if found.errors:
        raise typer.Exit(1)
