"""`compress benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import compressor
from compressor.cli.console import Console, edge
from compressor.cli.options import Json, Quiet, Verbose

REGRESSION = 3
"""Exit code of `--check-regression` when something got worse."""


@edge
def benchmark(
    models: Annotated[
        list[str] | None, typer.Argument(help="ONNX files, runs or timm names; the newest run when none is given.")
    ] = None,
    provider: Annotated[str | None, typer.Option(help="cpu, cuda, tensorrt, openvino, …; several with commas.")] = None,
    batch: Annotated[str | None, typer.Option(help="Batch sizes, separated by commas; 1.")] = None,
    threads: Annotated[str | None, typer.Option(help="Intra-op threads, separated by commas; 1.")] = None,
    data: Annotated[str | None, typer.Option(help="Data for the accuracy; a run has its own.")] = None,
    size: Annotated[int, typer.Option(help="Input size of timm models, pixels.")] = 224,
    processes: Annotated[int | None, typer.Option(help="Fresh child processes per row; 5.")] = None,
    max_processes: Annotated[
        int | None, typer.Option(help="Processes are added to an undecided comparison, up to these; 15.")
    ] = None,
    samples: Annotated[int | None, typer.Option(help="Timed calls per row; 662, which support a p99.")] = None,
    check_regression: Annotated[
        Path | None, typer.Option(help="An earlier benchmark.json: exit with 3 when a figure got worse.")
    ] = None,
    lengths: Annotated[
        str | None, typer.Option(help="Tokens of a text, with commas; data: as the validation samples; data,8,32,128.")
    ] = None,
    json_output: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Latency, memory, size and accuracy per file, provider, batch size, threads and length, in fresh processes.

    What is not given is as the run's own recipe says, else the default.

    The fp32 student (else the first file) is what the others are compared with: faster, slower, same (within
    3 %) or undecided.

    Examples:

        compress benchmark

        compress benchmark runs/NAME --batch 1,8 --threads 1,2

        compress benchmark student.onnx other.onnx --provider cpu,cuda --data photos/

        compress benchmark resnet50 mobilenetv3 --size 224

        compress benchmark encoder.onnx --lengths 8,32,data

        compress benchmark student.onnx --json > old.json

        compress benchmark student.onnx --check-regression old.json
    """
    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    found = compressor.benchmark(
        models, provider=provider, batch=batch, threads=threads, data=data, size=size, processes=processes,
        max_processes=max_processes, samples=samples, check_regression=check_regression, progress=console.progress,
        lengths=lengths,
    )  # fmt: skip
    console.show(found)
    if found.regressions and found.regressions.worse:
        raise typer.Exit(REGRESSION)
