"""The `compress` command: every subcommand, registered by name."""

from __future__ import annotations

import io
import sys

import typer

from compressor import __version__
from compressor.cli.benchmark import benchmark
from compressor.cli.cache import cache
from compressor.cli.distill import distill
from compressor.cli.doctor import doctor
from compressor.cli.evaluate import evaluate
from compressor.cli.export import export
from compressor.cli.generate import generate
from compressor.cli.models import models
from compressor.cli.predict import predict
from compressor.cli.report import report
from compressor.cli.speculate import speculate
from compressor.cli.students import students
from compressor.cli.try_out import try_out
from compressor.cli.tune import tune

app = typer.Typer(
    name="compress",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Turn a large, accurate teacher into a small, fast, deployable student, and prove what it did.",
)

for command in (distill, export, benchmark, evaluate, predict, generate, speculate, students, tune, report):
    app.command(command.__name__)(command)
app.command("try")(try_out)
app.add_typer(cache, name="cache")
app.command("models")(models)
app.command("doctor")(doctor)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"compressor {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Turn a large, accurate teacher into a small, fast, deployable student, and prove what it did."""


def main() -> None:
    """The console script. A name that a stream can't carry is written out, never a reason to end."""
    reading = "surrogateescape"  # names of files, as on the command line
    for stream, errors in ((sys.stdin, reading), (sys.stdout, "backslashreplace"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)
    app()


if __name__ == "__main__":
    main()
