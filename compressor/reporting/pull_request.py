"""`report.md`: the report for a pull request."""

from __future__ import annotations

from typing import Any

from compressor import text
from compressor.reporting import headline, language, pilot, robustness, students, tables
from compressor.reporting.document import Report
from compressor.text import markdown


def render(report: Report) -> str:
    """The report as Markdown."""
    parts = [
        f"# {markdown(report.run.name or 'run')}",
        markdown(language.what(report)),
        tables.grid(*language.table(report)),
    ]
    parts += [f"**{markdown(entry.text)}**" for entry in report.verdicts]
    remarks = (
        headline.choice_line(report.choice), headline.measured_on(report), language.help_line(report),
        language.windows_line(report), students.line(report.students), pilot.line(report), headline.time_line(report),
        robustness.shift_line(report),
    )  # fmt: skip
    parts += [markdown(line) for line in remarks if line]
    parts += [f"**{markdown(line)}**" for line in [robustness.slice_line(report)] if line]
    parts += [f"**Note.** {markdown(warning)}" for warning in report.warnings]
    parts += ["## Models", tables.grid(*language.models_table(report))]
    parts += _sections(report)
    versions = ", ".join(f"{k} {v}" for k, v in (report.versions or {}).items() if v)
    parts += ["## How", f"    {text.line(report.run.command)}", f"Versions: {markdown(versions)}."]
    return "\n\n".join(parts) + "\n"


def _sections(report: Report) -> list[str]:
    """What there is of the report's other tables, each under its title."""
    found: list[tuple[str, tuple[str, ...], Any]] = [*students.sections(report.students)]
    if report.pilot:
        found.append(("Pilot", *pilot.table(report.pilot)))
    if report.exports:
        found.append(("Exported files", *language.exports_table(report.exports)))
    parts = [part for title, columns, lines in found for part in (f"## {title}", tables.grid(columns, lines))]
    if report.int8:
        parts += [
            "## int8",
            tables.grid(tables.LADDER_COLUMNS, tables.ladder_lines(report.int8)),
            markdown(tables.ladder_verdict(report.int8)),
        ]
    if report.benchmark:
        parts += ["## Benchmark", tables.grid(*tables.benchmark_table(report.benchmark))]
    if lines := tables.accuracy_lines(report.benchmark_models or {}):
        parts += ["## Accuracy of the measured files", tables.grid(tables.ACCURACY_COLUMNS, lines)]
    if report.continuations:
        parts += ["## Written on", language.continued(report.continuations)]
    header, lines = tables.worst_classes(report)
    parts += ["## Worst classes", tables.grid(header, lines)] if lines else []
    if report.slices:
        parts += ["## By group", tables.grid(*robustness.slice_table(report.slices))]
    if report.shift:
        parts += ["## Under damage", tables.grid(*robustness.shift_table(report.shift))]
    if report.budget:
        parts += ["## Time", tables.grid(tables.TIME_COLUMNS, tables.time_lines(report))]
    return parts
