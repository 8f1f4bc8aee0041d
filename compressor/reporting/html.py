"""`report.html`: one self-contained file, readable without a network, on a phone and in print."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from compressor.reporting import markdown, table
from compressor.runtime import require

_COLORS = {"teacher": "#8a5a00", "assistant": "#6b4fa0", "baseline": "#777777", "student": "#0b6bcb"}


def render(report: dict[str, Any]) -> str:
    """The report as HTML. Raises MissingExtraError without jinja2."""
    require("jinja2")
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files("compressor.reporting") / "report.html").read_text("utf-8"))
    return template.render(
        report=report,
        headline=(table.COLUMNS, table.cells(table.rows(report))),
        remarks=[t for t in (table.measured_on(report), table.help_line(report)) if t],
        sections=[
            ("Models", markdown.MODEL_COLUMNS, markdown.model_lines(report)),
            ("Exported files", markdown.EXPORT_COLUMNS, markdown.export_lines(report)),
            ("Benchmark", markdown.BENCHMARK_COLUMNS, markdown.benchmark_lines(report)),
            ("Worst classes", *markdown.worst_classes(report)),
        ],
        curves=curves(report),
    )


def curves(report: dict[str, Any]) -> dict[str, Any] | None:
    """Validation accuracy per epoch as polylines in a 600 × 200 box; None when nothing was trained."""
    series = [c for c in report["curves"] if c["epochs"]]
    if not series:
        return None
    values = [e["validation_top1"] for c in series for e in c["epochs"]]
    low, high = min(values), max(values)
    span = max(high - low, 1e-9)
    longest = max(len(c["epochs"]) for c in series)
    lines = []
    for c in series:
        points = " ".join(
            f"{600 * (i + 1) / longest:.1f},{200 - 200 * (e['validation_top1'] - low) / span:.1f}"
            for i, e in enumerate(c["epochs"])
        )
        label = f"{c['role']} {c['name']}, seed {c['seed']}"
        lines.append({"points": points, "label": label, "color": _COLORS.get(c["role"], "#333333")})
    return {"lines": lines, "low": low, "high": high, "epochs": longest}
