"""`compress export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import compressor
from compressor.cli.console import Console, edge
from compressor.cli.options import Json, Quiet, Verbose


@edge
def export(
    source: Annotated[
        str | None,
        typer.Argument(
            help="A run, a checkpoint folder, weights with their card, or a folder with GPT-2; the newest run."
        ),
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, fp16, int8; several with commas.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file, or a folder for several.")] = None,
    opset: Annotated[int | None, typer.Option(help="Version of ONNX's operators.")] = None,
    batch: Annotated[str | None, typer.Option(help="dynamic, or a fixed batch size.")] = None,
    uint8_input: Annotated[
        bool | None,
        typer.Option(
            "--uint8-input/--no-uint8-input", help="Pixels in, probabilities out: normalisation and softmax inside."
        ),
    ] = None,
    max_drop: Annotated[float | None, typer.Option(help="int8: points of validation top-1 that it may lose.")] = None,
    target: Annotated[str | None, typer.Option(help="int8: auto (this CPU), x86-vnni, x86 or arm.")] = None,
    qat: Annotated[
        bool | None, typer.Option("--qat/--no-qat", help="int8: fine-tune where the drop is too large.")
    ] = None,
    allow_slower: Annotated[
        bool | None,
        typer.Option("--allow-slower/--no-allow-slower", help="int8: keep it for its size, even where fp32 is faster."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Data for the parity gate, for a checkpoint outside a run; texts for a language model."),
    ] = None,
    web: Annotated[
        Path | None, typer.Option(help="Write a page that runs the first of the files into this folder, too.")
    ] = None,
    json_output: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """PyTorch student → ONNX, checked against the PyTorch model on real validation samples.

    What is not given is as the run's own recipe says, else the default.

    Examples:

        compress export

        compress export runs/NAME --precision fp32,int8

        compress export runs/NAME --precision int8 --max-drop 1 --qat

        compress export runs/NAME --uint8-input -o pixels.onnx

        compress export weights/model.safetensors --data photos/ -o model.onnx

        compress export runs/NAME --web site/

        compress export gpt2/ --data prompts.txt
    """
    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    found = compressor.export(
        source, precision=precision, output=output, opset=opset, batch=batch, uint8_input=uint8_input,
        max_drop=max_drop, target=target, qat=qat, allow_slower=allow_slower, data=data, progress=console.progress,
        web=web,
    )  # fmt: skip
    console.show(found)
    if not found.files:
        raise typer.Exit(1)
