"""Tables on the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compressor.benchmarking.regression import Findings
from compressor.cli.console import Console
from compressor.reporting import comparison as compared
from compressor.reporting import headline, tables
from compressor.runfolder import RunFolder


def report(console: Console, run: RunFolder, found: dict[str, Any]) -> None:
    """The headline table of a run, what the help was worth, and where everything lies."""
    console.result("")
    console.table(headline.COLUMNS, headline.cells(headline.rows(found)))
    console.result("")
    for line in (
        *(entry["text"] for entry in found["verdicts"]),
        headline.help_line(found),
        headline.measured_on(found),
    ):
        if line:
            console.result(line)
    for warning in found["warnings"]:
        console.result(f"Note: {warning}")
    console.result(f"Report: {run.path / 'report.md'} and report.html · ship: {run.artifact('fp32')}")


def comparison(console: Console, document: dict[str, Any], output: Path) -> None:
    """Several runs side by side."""
    console.table(compared.COLUMNS, compared.lines(document))
    for warning in document["warnings"]:
        console.result(f"Note: {warning}")
    console.result(f"Written: {output / 'comparison.html'} and comparison.md")


def plan(console: Console, planned: Any, estimate: dict[str, Any]) -> None:
    """What `--dry-run` prints."""
    dataset = planned.dataset
    names = ", ".join(dataset.classes[:8]) + (" …" if len(dataset.classes) > 8 else "")
    console.result(
        f"{dataset.name}: {len(dataset.classes)} classes ({names}); {len(dataset.splits['train'])} training, "
        f"{len(dataset.splits['validation'])} validation, {len(dataset.splits['test'])} test images; "
        + (f"{estimate['dataset']['unlabeled']} unlabelled; " if estimate["dataset"]["unlabeled"] else "")
        + f"{dataset.image_size} px"
    )
    header = ("stage", "model", "weights", "objective", "teacher", "parameters", "MACs", "epochs", "seeds", "time")
    lines: list[tuple[str, ...]] = [
        (
            s["role"], s["model"], s["weights"], s["objective"], s["teacher_is"], f"{s['params'] / 1e6:.2f} M",
            f"{s['macs'] / 1e6:.1f} M", str(s["epochs"]), str(s["seeds"]), f"{s['seconds'] / 60:.1f} min",
        )
        for s in estimate["stages"]
    ]  # fmt: skip
    console.table(header, lines)
    console.result(
        f"Estimate from measured steps: {estimate['seconds'] / 60:.1f} min of training, "
        f"{estimate['memory_mb']:.0f} MB of memory, {estimate['disk_mb']:.0f} MB on disk. Nothing was trained."
    )


def tuning(console: Console, found: dict[str, Any]) -> None:
    """What `compress tune` found: the best trials, the recipe's own among them."""
    trials = found["trials"]
    own = found["own"]["params"]
    best = sorted((t for t in trials if t["state"] == "complete"), key=lambda t: (-t["top1"], t["nll"]))
    shown = best[:5] + [t for t in best[5:] if t["params"] == own]
    lines = [
        (str(t["number"]), f"{t['top1']:.4f}", f"{t['nll']:.4f}", *(f"{v:.3g}" for v in t["params"].values()),
         "the recipe's own" if t["params"] == own else "")
        for t in shown
    ]  # fmt: skip
    console.table(("trial", "validation", "NLL", *own, ""), lines)
    stopped = len(trials) - len(best)
    console.result(
        f"{len(trials)} trials, {stopped} stopped early. The best of many is flattered by its validation figure: "
        "test decides."
    )
    console.result(f"Next: compress distill --recipe {found['recipe']}")


def exports(console: Console, entries: list[dict[str, Any]]) -> None:
    """What `compress export` made."""
    made = [entry for entry in entries if entry["file"]]
    if made:
        console.table(tables.EXPORT_COLUMNS, tables.export_lines({"exports": made}))
    for entry in entries:
        if "int8" in entry:
            console.result("")
            console.table(tables.LADDER_COLUMNS, tables.ladder_lines(entry["int8"]))
            console.result(tables.ladder_verdict(entry["int8"]))


def benchmark(console: Console, document: dict[str, Any]) -> None:
    """What `compress benchmark` measured."""
    console.table(tables.BENCHMARK_COLUMNS, tables.benchmark_lines({"benchmark": document["rows"]}))
    lines = tables.accuracy_lines(document["models"])
    if lines:
        console.result("")
        console.table(tables.ACCURACY_COLUMNS, lines)
    console.result("")
    for entry in document["verdicts"]:
        console.result(entry["text"])
    for warning in document["warnings"]:
        console.result(f"Note: {warning}")


def regressions(console: Console, found: Findings) -> None:
    """What `--check-regression` found."""
    for note in found.notes:
        console.result(f"Note: {note}")
    for text in found.worse:
        console.result(f"worse: {text}")
    if not found.worse:
        console.result(f"no regression in {found.compared} figures")


def evaluation(console: Console, found: dict[str, Any]) -> None:
    """What `compress evaluate` found."""
    for key in ("top1", "top5", "nll", "ece", "ece_calibrated", "balanced_accuracy"):
        console.result(f"{key:18} {tables.number(found[key], '.4f')}")
    worst = sorted((v, c) for c, v in found["per_class"].items() if v is not None)[:5]
    console.result("worst classes      " + ", ".join(f"{c} {v:.3f}" for v, c in worst))
    console.result(f"on {found['samples']} images ({found['split']} of {found['data']})")
    if "shift" in found:
        console.result("")
        shift(console, found)


def shift(console: Console, found: dict[str, Any]) -> None:
    """Accuracy under damage, per model, with its worst class and how many of the teacher's mistakes it copies."""
    classes = list(found["per_class"])
    roles = list(found["shift"][0]["models"])

    def cell(own: dict[str, Any]) -> str:
        worst = min((v, c) for v, c in zip(own["per_class"], classes, strict=True) if v is not None)
        copied = own["copied_mistakes"]
        share = f", copies {copied['share']:.0%}" if copied and copied["share"] is not None else ""
        return f"{own['top1']:.3f} (ECE {own['ece']:.2f}, worst {worst[1]} {worst[0]:.2f}{share})"

    lines = [
        (f"{row['kind']} {row['strength'] or ''}".strip(), *(cell(row["models"][role]) for role in roles))
        for row in found["shift"]
    ]
    console.table(("damage", *roles), lines)
    if "teacher" in roles:
        console.result("copies: the share of the teacher's mistakes that are made too, with the same wrong class.")
