"""What each command shows of its result: tables and lines, for the terminal and for a notebook alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from compressor.artifact.text.document import Continuation
from compressor.benchmarking.document import Benchmark
from compressor.benchmarking.regression import Findings
from compressor.distillation.document import Estimate, Tuning
from compressor.evaluation.document import Evaluation, LanguageEvaluation, ShiftFigures, ShiftRow
from compressor.files import finite
from compressor.quantization.document import ArtifactEntry
from compressor.reporting import comparison as compared
from compressor.reporting import headline, language, pilot, robustness, students, tables
from compressor.reporting.document import Comparison, Report
from compressor.runfolder import RunFolder
from compressor.text import clean


@dataclass(frozen=True)
class Table:
    """A table; every cell is text."""

    header: tuple[str, ...]
    lines: Sequence[tuple[str, ...]]


Block = str | Table
"""A line of text or a table."""


class Shown(ABC):
    """A result that shows itself: its blocks on a terminal, HTML in a notebook; `plain` is what `--json` prints."""

    document: Any
    """Everything that was found."""

    @abstractmethod
    def blocks(self) -> list[Block]:
        """Tables and lines for a person."""

    def plain(self) -> Any:
        """The document as mappings, lists, texts and numbers."""
        return finite(self.document)

    def _repr_html_(self) -> str:
        return to_html(self.blocks())


def framed(page: Path) -> str:
    """A page of its own within a notebook's: neither's style reaches the other."""
    return (
        '<iframe sandbox title="report" style="width: 100%; height: 720px; border: 1px solid #ccc" '
        f'srcdoc="{escape(page.read_text(encoding="utf-8"))}"></iframe>'
    )


def to_html(blocks: Sequence[Block]) -> str:
    """The blocks as a fragment of HTML."""
    parts = []
    for block in blocks:
        if isinstance(block, Table):
            head = "".join(f"<th>{escape(clean(cell))}</th>" for cell in block.header)
            body = "".join(
                "<tr>" + "".join(f"<td>{escape(clean(c))}</td>" for c in line) + "</tr>" for line in block.lines
            )
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        elif block:
            parts.append(f"<p>{escape(clean(block))}</p>")
    return "\n".join(parts)


def report(run: RunFolder, found: Report) -> list[Block]:
    """The headline table of a run, what the help was worth, and where everything lies."""
    blocks: list[Block] = []
    blocks.append("")
    blocks.append(Table(*language.table(found)))
    blocks.append("")
    for line in (
        headline.choice_line(found.choice),
        *(entry.text for entry in found.verdicts),
        language.help_line(found),
        language.windows_line(found),
        students.line(found.students),
        pilot.line(found),
        headline.time_line(found),
        robustness.slice_line(found),
        robustness.shift_line(found),
        headline.measured_on(found),
    ):
        if line:
            blocks.append(line)
    for warning in found.warnings:
        blocks.append(f"Note: {warning}")
    if found.slices:
        blocks += ["", Table(*robustness.slice_table(found.slices))]
    blocks.append(f"Report: {run.path / 'report.md'} and report.html · ship: {students.ships(run, found.students)}")
    blocks += [line for line in [language.next_line(found, run)] if line]
    return blocks


def comparison(document: Comparison, output: Path) -> list[Block]:
    """Several runs side by side."""
    blocks: list[Block] = []
    blocks.append(Table(*compared.table(document)))
    for warning in document.warnings:
        blocks.append(f"Note: {warning}")
    blocks.append(f"Written: {output / 'comparison.html'} and comparison.md")
    return blocks


def plan(estimate: Estimate) -> list[Block]:
    """What `--dry-run` prints."""
    blocks: list[Block] = []
    dataset = estimate.dataset
    classes = dataset.classes
    names = ", ".join(classes[:8]) + (" …" if len(classes) > 8 else "")
    kinds = f"{len(classes):,} kinds of tokens" if dataset.tokens else f"{len(classes)} classes ({names})"
    blocks.append(
        f"{dataset.name}: {kinds}; {dataset.train} training, "
        f"{dataset.validation} validation, {dataset.test} test samples; "
        + (f"{dataset.unlabeled} unlabelled; " if dataset.unlabeled else "")
        + dataset.input
    )
    blocks += [f"Not used: {entry}" for entry in dataset.unused]
    header = ("stage", "model", "weights", "objective", "teacher", "parameters", "MACs", "epochs", "seeds", "time")
    lines: list[tuple[str, ...]] = [
        (
            s.role, s.model, s.weights, s.objective, s.teacher_is, "–" if s.params is None else f"{s.params / 1e6:.2f} M",
            "–" if s.macs is None else f"{s.macs / 1e6:.1f} M", str(s.epochs), str(s.seeds), f"{s.seconds / 60:.1f} min",
        )
        for s in estimate.stages
    ]  # fmt: skip
    blocks.append(Table(header, lines))
    blocks.append(
        f"Estimate from measured steps: {estimate.seconds / 60:.1f} min of training, "
        f"{tables.number(estimate.memory_mb, '.0f', ' MB')} of memory, {estimate.disk_mb:.0f} MB on disk. Nothing was trained."
    )
    if estimate.targets_mb or estimate.decoded_mb:
        blocks.append(
            f"Stores, shared with other runs: {estimate.targets_mb:.0f} MB of teachers' answers, "
            f"{estimate.decoded_mb:.0f} MB of decoded images."
        )
    blocks += [headline.budget_line(estimate.budget)] if estimate.budget else []
    blocks += [f"Note: {note}" for note in estimate.notes]
    return blocks


def tuning(found: Tuning) -> list[Block]:
    """What `compress tune` found: the best trials, the recipe's own among them."""
    blocks: list[Block] = []
    trials, own = found.trials, found.own.params
    best = sorted((t for t in trials if t.state == "complete"), key=lambda t: (-(t.top1 or 0.0), t.nll or 0.0))
    shown = best[:5] + [t for t in best[5:] if t.params == own]
    lines = [
        (str(t.number), tables.number(t.top1, ".4f"), tables.number(t.nll, ".4f"),
         *(f"{v:.3g}" for v in t.params.values()), "the recipe's own" if t.params == own else "")
        for t in shown
    ]  # fmt: skip
    blocks.append(Table(("trial", "validation", "NLL", *own, ""), lines))
    stopped = len(trials) - len(best)
    blocks.append(
        f"{len(trials)} trials, {stopped} stopped early. The best of many is flattered by its validation figure: "
        "test decides."
    )
    blocks.append(f"Next: compress distill --recipe {found.recipe}")
    return blocks


def exports(entries: list[ArtifactEntry]) -> list[Block]:
    """What `compress export` made."""
    blocks: list[Block] = []
    made = [entry for entry in entries if entry.file]
    if made:
        blocks.append(Table(*language.exports_table(made)))
    for entry in entries:
        if entry.int8:
            blocks.append("")
            blocks.append(Table(tables.LADDER_COLUMNS, tables.ladder_lines(entry.int8)))
            blocks.append(tables.ladder_verdict(entry.int8))
    return blocks


def benchmark(document: Benchmark) -> list[Block]:
    """What `compress benchmark` measured."""
    blocks: list[Block] = []
    blocks.append(Table(*tables.benchmark_table(document.rows)))
    lines = tables.accuracy_lines(document.models)
    if lines:
        blocks.append("")
        blocks.append(Table(tables.ACCURACY_COLUMNS, lines))
    blocks.append("")
    for entry in document.verdicts:
        blocks.append(entry.text)
    for warning in document.warnings:
        blocks.append(f"Note: {warning}")
    return blocks


def regressions(found: Findings) -> list[Block]:
    """What `--check-regression` found."""
    blocks: list[Block] = []
    for note in found.notes:
        blocks.append(f"Note: {note}")
    for text in found.worse:
        blocks.append(f"worse: {text}")
    if not found.worse:
        blocks.append(f"no regression in {found.compared} figures")
    return blocks


def evaluation(found: Evaluation) -> list[Block]:
    """What `compress evaluate` found."""
    blocks: list[Block] = []
    for key in ("top1", "top5", "balanced_accuracy"):
        blocks.append(f"{key:18} {tables.number(getattr(found, key), '.4f')}")
    for key, raw, calibrated in (("nll", found.nll, found.nll_calibrated), ("ece", found.ece, found.ece_calibrated)):
        blocks.append(f"{key:18} {headline.shipped(calibrated, raw)}")
    blocks.append(probabilities_are(found.temperature, found.temperature_of))
    if worst := sorted((v, c) for c, v in found.per_class.items() if v is not None)[:5]:
        blocks.append("worst classes      " + ", ".join(f"{c} {v:.3f}" for v, c in worst))
    blocks.append(f"on {found.samples} samples ({found.split} of {found.data})")
    if found.slices:
        blocks += ["", Table(*robustness.slice_table(found.slices))]
    if found.shift:
        blocks.append("")
        blocks += shift(found.shift, list(found.per_class))
    if mean := found.shift_mean:
        blocks.append("mean over damages: " + ", ".join(f"{role} {top1:.3f}" for role, top1 in mean.top1.items()))
    return blocks


def perplexity(found: LanguageEvaluation) -> list[Block]:
    """What `compress evaluate` found of a language model."""
    own = found.language
    return [
        f"{'perplexity':18} {tables.number(own.perplexity, '.4f')}",
        f"{'bits per byte':18} {tables.number(own.bits_per_byte, '.4f')}",
        f"{'nll':18} {tables.number(own.nll, '.4f', ' nats a token')}",
        f"on {own.tokens:,} tokens, {own.bytes or 0:,} bytes ({found.split} of {found.data}), read in windows of {own.length} "
        f"tokens that go on by {own.stride}",
    ]


def probabilities_are(temperature: float | None, of: str | None) -> str:
    """One sentence: what divides the logits before the softmax, and where it comes from."""
    if temperature is None:
        return "probabilities are raw: no calibration temperature is known"
    whose = "this file's own" if of == "file" else "the model's"
    return (
        f"probabilities are calibrated: softmax(logits / {temperature:.3g}), "
        f"a temperature fitted to {whose} answers on validation"
    )


def shift(rows: list[ShiftRow], classes: list[str]) -> list[Block]:
    """Accuracy under damage, per model, with its worst class and how many of the teacher's mistakes it copies."""
    blocks: list[Block] = []
    roles = list(rows[0].models)

    def cell(own: ShiftFigures) -> str:
        worst = min((v, c) for v, c in zip(own.per_class, classes, strict=True) if v is not None)
        copied = own.copied_mistakes
        share = f", copies {copied.share:.0%}" if copied and copied.share is not None else ""
        ece = tables.number(own.ece if own.ece_calibrated is None else own.ece_calibrated, ".2f")
        return f"{own.top1:.3f} (ECE {ece}, worst {worst[1]} {worst[0]:.2f}{share})"

    lines = [(f"{row.kind} {row.strength or ''}".strip(), *(cell(row.models[role]) for role in roles)) for row in rows]
    blocks.append(Table(("damage", *roles), lines))
    if "teacher" in roles:
        blocks.append("copies: the share of the teacher's mistakes that are made too, with the same wrong class.")
    return blocks


def continuation(found: Continuation) -> str:
    """How a text that was written on ended, and how fast it was."""
    why = {
        "end": "the model ended the text",
        "tokens": "as many as were asked for",
        "positions": f"the model reads {found.positions} tokens at most",
    }[found.stopped]
    return f"{found.tokens} tokens ({why}), {found.tokens / max(found.seconds, 1e-9):.1f} a second"
