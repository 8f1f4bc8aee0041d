"""`compress report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import compressor
from compressor.cli.console import Console, edge
from compressor.cli.options import Json, Quiet, Verbose
from compressor.text import clean


@edge
def report(
    runs: Annotated[list[str] | None, typer.Argument(help="Runs; the newest one when none is given.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the comparison of several runs.")] = Path(),
    shift: Annotated[
        bool, typer.Option("--shift", help="Measure the run under damage first (needs its data).")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print the run's report.csv on stdout.")] = False,
    json_output: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Rebuild a run's report from what its folder holds, or compare several runs.

    One run: report.html, report.md, report.csv and report.json in its folder. Several: comparison.html and
    comparison.md in the folder given by --output.

    Examples:

        compress report

        compress report runs/NAME --json

        compress report runs/NAME --shift

        compress report runs/A runs/B runs/C --output compared/
    """
    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    found = compressor.report(runs, output=output, shift=shift, progress=console.progress)
    if csv and isinstance(found, compressor.ReportResult):
        print(clean((found.run / "report.csv").read_text(encoding="utf-8")), end="")
        return
    console.show(found)
