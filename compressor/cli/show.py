"""Tables on the screen."""

from __future__ import annotations

from typing import Any

from compressor.cli.console import Console
from compressor.reporting import markdown, table
from compressor.runfolder import RunFolder


def report(console: Console, run: RunFolder, found: dict[str, Any]) -> None:
    """The headline table of a run, what the help was worth, and where everything lies."""
    console.result("")
    console.table(table.COLUMNS, table.cells(table.rows(found)))
    console.result("")
    for line in (table.help_line(found), table.measured_on(found)):
        if line:
            console.result(line)
    for warning in found["warnings"]:
        console.result(f"Note: {warning}")
    console.result(f"Report: {run.path / 'report.md'} and report.html · ship: {run.artifact('fp32')}")


def plan(console: Console, planned: Any, estimate: dict[str, Any]) -> None:
    """What `--dry-run` prints."""
    dataset = planned.dataset
    names = ", ".join(dataset.classes[:8]) + (" …" if len(dataset.classes) > 8 else "")
    console.result(
        f"{dataset.name}: {len(dataset.classes)} classes ({names}); {len(dataset.splits['train'])} training, "
        f"{len(dataset.splits['validation'])} validation, {len(dataset.splits['test'])} test images; "
        f"{dataset.image_size} px"
    )
    header = ("stage", "model", "weights", "objective", "parameters", "MACs", "epochs", "seeds", "time")
    lines: list[tuple[str, ...]] = [
        (
            s["role"], s["model"], s["weights"], s["objective"], f"{s['params'] / 1e6:.2f} M",
            f"{s['macs'] / 1e6:.1f} M", str(s["epochs"]), str(s["seeds"]), f"{s['seconds'] / 60:.1f} min",
        )
        for s in estimate["stages"]
    ]  # fmt: skip
    console.table(header, lines)
    console.result(
        f"Estimate from measured steps: {estimate['seconds'] / 60:.1f} min of training, "
        f"{estimate['memory_mb']:.0f} MB of memory, {estimate['disk_mb']:.0f} MB on disk. Nothing was trained."
    )


def exports(console: Console, entries: list[dict[str, Any]]) -> None:
    """What `compress export` made."""
    made = [entry for entry in entries if entry["file"]]
    if made:
        console.table(markdown.EXPORT_COLUMNS, markdown.export_lines({"exports": made}))
    for entry in entries:
        if "int8" in entry:
            console.result("")
            console.table(markdown.LADDER_COLUMNS, markdown.ladder_lines(entry["int8"]))
            console.result(markdown.ladder_verdict(entry["int8"]))


def benchmark(console: Console, rows: list[dict[str, Any]]) -> None:
    """What `compress benchmark` measured."""
    console.table(markdown.BENCHMARK_COLUMNS, markdown.benchmark_lines({"benchmark": rows}))
    if any(row["noisy"] for row in rows):
        console.result("Note: rows marked noisy were measured while something else used the machine.")


def evaluation(console: Console, found: dict[str, Any]) -> None:
    """What `compress evaluate` found."""
    for key in ("top1", "top5", "nll", "ece", "ece_calibrated", "balanced_accuracy"):
        console.result(f"{key:18} {markdown.number(found[key], '.4f')}")
    worst = sorted((v, c) for c, v in found["per_class"].items() if v is not None)[:5]
    console.result("worst classes      " + ", ".join(f"{c} {v:.3f}" for v, c in worst))
    console.result(f"on {found['samples']} images ({found['split']} of {found['data']})")
