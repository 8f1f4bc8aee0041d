"""`report.html`: one self-contained file, readable without a network, on a phone and in print."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from compressor.benchmarking.students import Students
from compressor.packages import require
from compressor.reporting import headline, language, pilot, plots, robustness, students, tables
from compressor.reporting.document import Model, Picture, Report
from compressor.runnote import Host
from compressor.text import clean


def render(report: Report, examples: list[Picture] | None = None) -> str:
    """The report as HTML; `examples` as `examples.embedded` gives them. Raises MissingExtraError without jinja2."""
    return page(
        "report.html",
        report=report,
        tiles=tiles(report),
        chain=chain(report),
        what=language.what(report),
        headline=language.table(report),
        remarks=[
            text
            for text in (
                headline.choice_line(report.choice), headline.measured_on(report), language.help_line(report),
                language.windows_line(report), students.line(report.students), pilot.line(report),
                headline.time_line(report), robustness.shift_line(report),
            )
            if text
        ],
        lost=robustness.slice_line(report),
        verdicts=report.verdicts,
        plots=[*plots.plots(report), *([drawn] if report.students and (drawn := students.plot(report.students)) else [])],
        examples=examples or [],
        continued=[
            (language.shown(one.prompt), [(by, language.shown(text)) for by, text in one.texts.items()])
            for one in report.continuations
        ],
        sections=[
            ("Models", *language.models_table(report)),
            *students.sections(report.students),
            *([("Pilot", *pilot.table(report.pilot))] if report.pilot else []),
            ("Exported files", *language.exports_table(report.exports)),
            ("Benchmark", *tables.benchmark_table(report.benchmark)),
            ("Accuracy of the measured files", tables.ACCURACY_COLUMNS,
             tables.accuracy_lines(report.benchmark_models or {})),
            ("Worst classes", *tables.worst_classes(report)),
            ("Time", tables.TIME_COLUMNS, tables.time_lines(report)),
            ("By group", *robustness.slice_table(report.slices)),
            *([("Under damage", *robustness.shift_table(report.shift))] if report.shift else []),
        ],
        host=host_line(report),
    )  # fmt: skip


def students_page(found: Students) -> str:
    """What `compress students` shows as one self-contained page. Raises MissingExtraError without jinja2."""
    drawn = students.plot(found)
    return page(
        "students.html", asked=students.asked(found.limits), plots=[drawn] if drawn else [], columns=students.COLUMNS,
        lines=students.lines(found), remarks=students.remarks(found),
    )  # fmt: skip


def page(template: str, **values: Any) -> str:
    """One of the room's templates, with the style and the macros that all share. Raises MissingExtraError."""
    require("jinja2")
    import jinja2

    room = files("compressor.reporting")
    names = ("report.html", "comparison.html", "students.html", "parts.html")
    texts = {name: (room / name).read_text("utf-8") for name in names}
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(texts),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: clean(value) if type(value) is str else value,  # what is markup already stays
    )
    return environment.get_template(template).render(**values)


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One headline figure: the teacher's, the shipped file's, and how they compare."""

    title: str
    before: str
    after: str
    change: str


def tiles(report: Report) -> list[Tile]:
    """Teacher → shipped student: accuracy, latency, size, memory; what was not measured is left out."""
    rows = headline.rows(report)
    teacher = next((r for r in rows if r.label == "teacher"), None)
    student = next((r for r in rows if r.label == "exported" and r.model == "student.onnx"), None)
    student = student or next((r for r in rows if r.label == "student"), None)
    if teacher is None or student is None:
        return []
    found = []
    if teacher.top1 is not None and student.top1 is not None:
        points = 100 * (student.top1 - teacher.top1)
        found.append(Tile(title="Top-1 on test", before=f"{100 * teacher.top1:.1f} %",
                          after=f"{100 * student.top1:.1f} %", change=f"{points:+.1f} points"))  # fmt: skip
    before, after = (language.mean(row.told, "perplexity")[0] for row in (teacher, student))
    if before and after:
        found.append(Tile(title="Perplexity of the test text", before=f"{before:.2f}", after=f"{after:.2f}",
                          change=f"{after / before:.2f}×"))  # fmt: skip
    for title, unit, scale, digits, before, after in (
        (
            "Time per token p50" if any(not one.masked for one in student.told) else "Latency p50",
            "ms",
            1.0,
            2,
            teacher.p50_ms,
            student.p50_ms,
        ),
        ("File", "MB", 1e6, 1, teacher.bytes, student.bytes),
        ("Peak memory", "MB", 1.0, 0, teacher.peak_rss_mb, student.peak_rss_mb),
    ):
        if before and after:
            found.append(Tile(title=title, before=f"{before / scale:.{digits}f} {unit}",
                              after=f"{after / scale:.{digits}f} {unit}",
                              change=f"{after / before:.2f}×"))  # fmt: skip
    return found


@dataclass(frozen=True, kw_only=True)
class Link:
    """A stage of the chain, over its seeds."""

    role: str
    name: str
    params: int | None
    seeds: int
    figure: str
    """What it comes to on test, mean over the seeds."""
    apart: bool
    """Whether it has no part in the chain: the baseline."""


def chain(report: Report) -> list[Link]:
    """The stages in order; the baseline last."""
    groups: dict[str, list[Model]] = {}
    for model in report.models:
        groups.setdefault(model.stage, []).append(model)
    found = [
        Link(role=models[0].role, name=models[0].name, params=models[0].params, seeds=len(models),
             figure=_figure(models), apart=models[0].role == "baseline")
        for _, models in sorted(groups.items())
    ]  # fmt: skip
    return sorted(found, key=lambda link: link.apart)


def _figure(models: list[Model]) -> str:
    """Perplexity of language models, else top-1."""
    perplexity, _ = language.mean(
        [model.language["test"] for model in models if "test" in model.language], "perplexity"
    )
    if perplexity is not None:
        return f"perplexity {perplexity:.2f}"
    return f"top-1 {tables.number(_mean([model.top1 for model in models if model.top1 is not None]), '.3f')}"


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def host_line(report: Report) -> str:
    """The machine in one line."""
    host = report.host or Host()
    known = [
        host.cpu,
        f"{host.cores_usable} cores" if host.cores_usable else None,
        f"{host.memory_mb / 1e3:.1f} GB of memory" if host.memory_mb else None,
        f"instructions {', '.join(host.instructions)}" if host.instructions else None,
        f"governor {host.governor}" if host.governor else None,
        ", ".join(host.gpus) or None,
        host.system,
    ]
    return "; ".join(part for part in known if part)
