"""`compress generate`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import compressor
from compressor.cli.console import Console, edge
from compressor.cli.options import Json, Provider, Quiet, Threads, Verbose
from compressor.text import clean


@edge
def generate(
    model: Annotated[str, typer.Argument(help="An exported language model, or the folder that it lies in.")],
    prompt: Annotated[str, typer.Argument(help="What the text begins with; - reads it from stdin.")],
    max_tokens: Annotated[int, typer.Option(help="Tokens to write, at most.")] = 64,
    temperature: Annotated[
        float, typer.Option(help="0: the most probable token each time; 1: by its probability.")
    ] = 0,
    top_k: Annotated[int | None, typer.Option(help="Draw among so many tokens.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw among the fewest tokens with this share.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    provider: Provider = "cpu",
    threads: Threads = None,
    json_output: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Writes a text on, from the ONNX file alone, and shows it as it grows.

    Examples:

        compress generate gpt2/model.onnx "Once upon a time"

        compress generate gpt2/ "Dear reader," --temperature 0.8 --top-p 0.9 --seed 1

        compress generate gpt2/ - --max-tokens 200 --json < prompt.txt
    """
    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)

    def show(piece: str) -> None:
        print(clean(piece), end="", flush=True, file=sys.stdout)

    found = compressor.generate(
        model, sys.stdin.read() if prompt == "-" else prompt, max_tokens=max_tokens, temperature=temperature,
        top_k=top_k, top_p=top_p, seed=seed, provider=provider, threads=threads,
        stream=None if json_output else show, progress=compressor.Silent(),
    )  # fmt: skip
    if json_output:
        console.show(found, [])
    else:
        print()
    if not quiet:
        print(found.summary, file=sys.stderr)
