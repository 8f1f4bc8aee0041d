"""`compress students`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import compressor
from compressor.cli.console import Console, edge
from compressor.cli.options import Data, Json, MaxLatency, MaxMemory, MaxSize, Precisions, Quiet, Verbose


@edge
def students(
    max_latency: MaxLatency = None,
    max_size: MaxSize = None,
    max_memory: MaxMemory = None,
    precision: Precisions = None,
    data: Data = None,
    classes: Annotated[
        int | None, typer.Option(help="Classes to tell apart, where there are no data yet; 1,000 without it.")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Height and width of the input, pixels: the data's, or 224.")
    ] = None,
    candidates: Annotated[
        str | None, typer.Option(help="Models by name: a,b,c; without it two dozen small ones.")
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of onnxruntime.")] = 1,
    output: Annotated[Path | None, typer.Option(help="Write a page with table and plot: students.html.")] = None,
    json_output: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Which students fit a budget of milliseconds and megabytes? Measured here, before anything is trained.

    Examples:

        compress students --max-latency 5ms --data photos/

        compress students --max-latency 5ms --max-size 4MB --classes 10 --image-size 128 --output students.html

        compress students --max-size 2MB --precision int8 --candidates mobilenetv3_small_050,lcnet_050
    """
    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    console.show(
        compressor.students(
            max_latency=max_latency,
            max_size=max_size,
            max_memory=max_memory,
            precision=precision,
            data=data,
            classes=classes,
            image_size=image_size,
            candidates=candidates,
            threads=threads,
            output=output,
            progress=console.progress,
        )
    )
