"""The `compress` command: every subcommand, registered by name."""

from __future__ import annotations

import typer

from compressor import __version__
from compressor.cli import artifacts, distill, machine, tune

app = typer.Typer(
    name="compress",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Turn a large, accurate teacher into a small, fast, deployable student, and prove what it did.",
)

app.command("distill")(distill.distill)
app.command("export")(distill.export)
app.command("benchmark")(artifacts.benchmark)
app.command("evaluate")(artifacts.evaluate)
app.command("predict")(artifacts.predict)
app.command("tune")(tune.tune)
app.command("report")(artifacts.report)
app.add_typer(machine.cache, name="cache")
app.command("models")(machine.models)
app.command("doctor")(machine.doctor)


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
    """The console script."""
    app()


if __name__ == "__main__":
    main()
