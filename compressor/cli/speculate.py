"""`compress speculate`."""

from __future__ import annotations

from typing import Annotated

import typer

import compressor
from compressor.cli.console import Console, edge
from compressor.cli.options import Json, Quiet, Threads, Verbose


@edge
def speculate(
    target: Annotated[str, typer.Argument(help="An exported language model, whose text is to be written.")],
    draft: Annotated[str, typer.Argument(help="A smaller one with the same tokens, which guesses.")],
    data: Annotated[str, typer.Option(help="Prompts: a text a line, or a column of .csv, .tsv or .jsonl.")],
    tokens: Annotated[int, typer.Option(help="Tokens that are guessed at a time.")] = 4,
    max_tokens: Annotated[int, typer.Option(help="Tokens of each text, at most.")] = 64,
    threads: Threads = None,
    json_output: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Does a small model, guessing ahead, make a large one write faster? The text stays the large one's, and is checked.

    Each prompt is written by the target alone, with the draft, and with guesses from n-grams, in turn.

    Examples:

        compress speculate large/model.onnx small/model.onnx --data prompts.txt

        compress speculate large/ small/ --data prompts.txt --tokens 6 --max-tokens 128 --json
    """
    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    found = compressor.speculate(
        target, draft, data=data, tokens=tokens, max_tokens=max_tokens, threads=threads, progress=console.progress
    )
    console.show(found)
    if found.faults:
        raise typer.Exit(1)
