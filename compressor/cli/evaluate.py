"""`compress evaluate`."""

from __future__ import annotations

from typing import Annotated

import typer

import compressor
from compressor.cli.console import Console, edge
from compressor.cli.options import Json, Provider, Quiet, Verbose


@edge
def evaluate(
    model: Annotated[str | None, typer.Argument(help="An ONNX file, a run or a checkpoint; the newest run.")] = None,
    data: Annotated[str | None, typer.Option(help="`digits`, a folder, a text; what the model was made from.")] = None,
    split: Annotated[
        str, typer.Option(help="test, validation, train, all; auto: test on its own data, all on other data.")
    ] = "auto",
    provider: Provider = "cpu",
    shift: Annotated[
        bool, typer.Option("--shift", help="Also under noise, blur, brightness and JPEG damage; of a run all models.")
    ] = False,
    json_output: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Accuracy, calibration and per-class errors of an ONNX file or a checkpoint; perplexity of a language model.

    Examples:

        compress evaluate student.onnx

        compress evaluate runs/NAME --split validation

        compress evaluate student.onnx --data new-photos/

        compress evaluate runs/NAME --shift

        compress evaluate gpt2/model.onnx --data corpus.txt
    """
    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    console.show(
        compressor.evaluate(model, data=data, split=split, provider=provider, shift=shift, progress=console.progress)
    )
