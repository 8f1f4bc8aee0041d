"""The commands that run on a device: `benchmark`, `evaluate`, `predict`, `report`. No torch for ONNX files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from compressor.cli.console import Console, JsonOption, QuietOption, VerboseOption, edge


@edge
def benchmark(
    models: Annotated[
        list[str] | None, typer.Argument(help="ONNX files or runs; the newest run when none is given.")
    ] = None,
    provider: Annotated[str | None, typer.Option(help="cpu, cuda, tensorrt, openvino, …; several with commas.")] = None,
    batch: Annotated[str, typer.Option(help="Batch sizes, separated by commas.")] = "1",
    threads: Annotated[str, typer.Option(help="Intra-op threads, separated by commas.")] = "1",
    processes: Annotated[int, typer.Option(help="Fresh child processes per row.")] = 3,
    samples: Annotated[int, typer.Option(help="Timed calls per row; 662 support a p99.")] = 662,
    json_output: Annotated[bool, JsonOption] = False,
    quiet: Annotated[bool, QuietOption] = False,
    verbose: Annotated[bool, VerboseOption] = False,
) -> None:
    """Latency, load time and memory per file, provider, batch size and threads, in fresh processes.

    Examples:

        compress benchmark

        compress benchmark runs/NAME --batch 1,8 --threads 1,2

        compress benchmark student.onnx other.onnx --provider cpu,cuda
    """
    from compressor import device
    from compressor.benchmarking.config import BenchmarkConfig
    from compressor.cli import show

    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    config = device.checked(
        BenchmarkConfig,
        providers=[p.strip() for p in provider.split(",")] if provider else None,
        batches=device.numbers(batch, "--batch"),
        threads=device.numbers(threads, "--threads"),
        processes=processes,
        samples=samples,
    )
    document = device.benchmark(models or [], config, console)
    show.benchmark(console, document["rows"])
    console.document(document)


@edge
def evaluate(
    model: Annotated[str | None, typer.Argument(help="An ONNX file, a run or a checkpoint; the newest run.")] = None,
    data: Annotated[str | None, typer.Option(help="`digits` or an image folder; what the model was made from.")] = None,
    split: Annotated[
        str, typer.Option(help="test, validation, train, all; auto: test on its own data, all on other images.")
    ] = "auto",
    provider: Annotated[str, typer.Option(help="Execution provider for ONNX files.")] = "cpu",
    shift: Annotated[
        bool, typer.Option("--shift", help="Also under noise, blur, brightness and JPEG damage; of a run all models.")
    ] = False,
    json_output: Annotated[bool, JsonOption] = False,
    quiet: Annotated[bool, QuietOption] = False,
    verbose: Annotated[bool, VerboseOption] = False,
) -> None:
    """Accuracy, calibration and per-class errors of an ONNX file or a checkpoint.

    Examples:

        compress evaluate student.onnx

        compress evaluate runs/NAME --split validation

        compress evaluate student.onnx --data new-photos/

        compress evaluate runs/NAME --shift
    """
    from compressor import device
    from compressor.cli import show

    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    found = device.evaluate(model, data=data, split=split, provider=provider, shift=shift, progress=console)
    show.evaluation(console, found)
    console.document(found)


@edge
def predict(
    model: Annotated[str, typer.Argument(help="An ONNX file or a run.")],
    images: Annotated[list[str], typer.Argument(help="Image files, folders, or - for a list on stdin.")],
    top: Annotated[int, typer.Option(min=1, help="How many classes to name per image.")] = 1,
    provider: Annotated[str, typer.Option(help="Execution provider.")] = "cpu",
    json_output: Annotated[bool, JsonOption] = False,
    quiet: Annotated[bool, QuietOption] = False,
    verbose: Annotated[bool, VerboseOption] = False,
) -> None:
    """Labels and probabilities for images, from the ONNX file alone.

    Examples:

        compress predict student.onnx photo.jpg

        compress predict runs/NAME photos/ --top 3

        find photos -name '*.jpg' | compress predict student.onnx - --json
    """
    from compressor import device

    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    names = [line.strip() for name in images for line in (sys.stdin if name == "-" else [name])]
    answers = device.label(model, [n for n in names if n], top=top, provider=provider)
    for answer in answers:
        if "error" in answer:
            print(f"error: {answer['image']}: {answer['error']}", file=sys.stderr)
        else:
            found = ", ".join(f"{c['class']} {c['probability']:.3f}" for c in answer["classes"])
            console.result(f"{answer['image']}: {found}")
    console.document(answers)
    if any("error" in a for a in answers):
        raise typer.Exit(1)


@edge
def report(
    run: Annotated[Path | None, typer.Argument(help="A run; the newest one when none is given.")] = None,
    json_output: Annotated[bool, JsonOption] = False,
    quiet: Annotated[bool, QuietOption] = False,
    verbose: Annotated[bool, VerboseOption] = False,
) -> None:
    """Rebuild a run's report from what its folder holds.

    Examples:

        compress report

        compress report runs/NAME --json
    """
    from compressor import runfolder
    from compressor.cli import show
    from compressor.reporting import build

    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    folder = runfolder.open_run(run) if run else runfolder.newest()
    found = build.write(folder)
    show.report(console, folder, found)
    console.document(found)
