"""The commands that run on a device: `benchmark`, `evaluate`, `predict`, `report`. No torch for ONNX files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from compressor.cli.console import Console, JsonOption, QuietOption, VerboseOption, edge

REGRESSION = 3
"""Exit code of `--check-regression` when something got worse."""


@edge
def benchmark(
    models: Annotated[
        list[str] | None, typer.Argument(help="ONNX files, runs or timm names; the newest run when none is given.")
    ] = None,
    provider: Annotated[str | None, typer.Option(help="cpu, cuda, tensorrt, openvino, …; several with commas.")] = None,
    batch: Annotated[str, typer.Option(help="Batch sizes, separated by commas.")] = "1",
    threads: Annotated[str, typer.Option(help="Intra-op threads, separated by commas.")] = "1",
    data: Annotated[str | None, typer.Option(help="Images for the accuracy; a run has its own.")] = None,
    size: Annotated[int, typer.Option(help="Input size of timm models, pixels.")] = 224,
    processes: Annotated[int | None, typer.Option(help="Fresh child processes per row; 5.")] = None,
    max_processes: Annotated[
        int | None, typer.Option(help="Processes are added to an undecided comparison, up to these; 15.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Timed calls per row; 662 support a p99.")] = 662,
    check_regression: Annotated[
        Path | None, typer.Option(help="An earlier benchmark.json: exit with 3 when a figure got worse.")
    ] = None,
    json_output: Annotated[bool, JsonOption] = False,
    quiet: Annotated[bool, QuietOption] = False,
    verbose: Annotated[bool, VerboseOption] = False,
) -> None:
    """Latency, memory, size and accuracy per file, provider, batch size and threads, in fresh processes.

    The fp32 student (else the first file) is what the others are compared with: faster, slower, same (within
    3 %) or undecided.

    Examples:

        compress benchmark

        compress benchmark runs/NAME --batch 1,8 --threads 1,2

        compress benchmark student.onnx other.onnx --provider cpu,cuda --data photos/

        compress benchmark resnet50 mobilenetv3 --size 224

        compress benchmark student.onnx --json > old.json

        compress benchmark student.onnx --check-regression old.json
    """
    from compressor.benchmarking import regression
    from compressor.benchmarking.config import BenchmarkConfig
    from compressor.cli.options import numbers
    from compressor.recipe import checked
    from compressor.reporting import screen
    from compressor.workflows import benchmark as measuring

    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    counts = {"processes": processes, "max_processes": max_processes}
    config = checked(
        BenchmarkConfig,
        providers=[p.strip() for p in provider.split(",")] if provider else None,
        batches=numbers(batch, "--batch"),
        threads=numbers(threads, "--threads"),
        samples=samples,
        **{key: value for key, value in counts.items() if value is not None},
    )
    old = regression.read(check_regression) if check_regression else None
    document = measuring.benchmark(models or [], config, console, data=data, size=size)
    console.show(screen.benchmark(document))
    found = regression.check(old, document) if old else None
    extra = {} if found is None else {"regressions": found.worse, "notes": found.notes}
    console.document(document.as_dict() | extra)
    if found is not None:
        console.show(screen.regressions(found))
        if found.worse:
            raise typer.Exit(REGRESSION)


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
    from compressor.reporting import screen
    from compressor.workflows import evaluate as device

    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    found = device.evaluate(model, data=data, split=split, provider=provider, shift=shift, progress=console)
    console.show(screen.evaluation(found))
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
    from compressor.workflows import predict as device

    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    names = [line.strip() for name in images for line in (sys.stdin if name == "-" else [name])]
    answers = device.label(model, [n for n in names if n], top=top, provider=provider, progress=console)
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
    runs: Annotated[list[str] | None, typer.Argument(help="Runs; the newest one when none is given.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the comparison of several runs.")] = Path(),
    csv: Annotated[bool, typer.Option("--csv", help="Print the run's report.csv on stdout.")] = False,
    json_output: Annotated[bool, JsonOption] = False,
    quiet: Annotated[bool, QuietOption] = False,
    verbose: Annotated[bool, VerboseOption] = False,
) -> None:
    """Rebuild a run's report from what its folder holds, or compare several runs.

    One run: report.html, report.md, report.csv and report.json in its folder. Several: comparison.html and
    comparison.md in the folder given by --output.

    Examples:

        compress report

        compress report runs/NAME --json

        compress report runs/A runs/B runs/C --output compared/
    """
    from compressor import runfolder
    from compressor.reporting import screen
    from compressor.workflows import report as device

    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    if runs and len(runs) > 1:
        document = device.compare_runs(runs, output, console)
        console.show(screen.comparison(document, output))
        console.document(document)
        return
    folder = runfolder.open_run(runs[0]) if runs else runfolder.newest()
    found = device.rebuild(folder, console)
    if csv:
        print((folder.path / "report.csv").read_text(encoding="utf-8"), end="")
        return
    console.show(screen.report(folder, found))
    console.document(found)
