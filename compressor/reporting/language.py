"""What a report says of language models: perplexity in the place of accuracy, and texts written on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compressor.evaluation.perplexity import MOST, difference
from compressor.exporting.document import ExportEntry
from compressor.reporting import headline, tables
from compressor.reporting.document import Model, Report
from compressor.reporting.foretold import Continued, Foretold, Helped
from compressor.runnote import LanguageFigures, StageNote
from compressor.text import markdown

TIME = "time per token p50"
"""Of a model that writes on; a masked one is timed as any other."""

COLUMNS = ("", "model", "perplexity", "bits per byte", "parameters", "file", TIME, "peak memory")

MODEL_COLUMNS = ("role", "model", "seed", "perplexity", "bits per byte", "NLL", "NLL on validation", "agrees with teacher",
                 "training", "weights")  # fmt: skip

EXPORT_COLUMNS = (
    "file",
    "precision",
    "size",
    "opset",
    "perplexity",
    "bits per byte",
    "relative error",
    "top-1 agreement",
)

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""Header and lines."""


def told(report: Report) -> bool:
    """Whether it is of language models."""
    return any(model.language for model in report.models)


def table(report: Report) -> Table:
    """The headline, of language models and of others."""
    rows = headline.rows(report)
    if not told(report):
        return headline.COLUMNS, headline.cells(rows)
    return timed(COLUMNS, hides=hides(report)), cells(rows)


def hides(report: Report) -> bool:
    """Whether it is of models that say what is hidden."""
    return any(one.masked for model in report.models for one in model.language.values())


def timed(columns: tuple[str, ...], *, hides: bool) -> tuple[str, ...]:
    """The columns with what their time is of."""
    return tuple("latency p50" if hides and name == TIME else name for name in columns)


def cells(found: list[headline.Line]) -> list[tuple[str, ...]]:
    """The rows as text, each figure with its ratio to the teacher's in brackets."""
    teacher = found[0] if found and found[0].label == "teacher" else None

    def figure(row: headline.Line, value: float | None, of: float | None, shown: str) -> str:
        if value is None:
            return "–"
        return shown + (f" ({value / of:.2f}×)" if of and row is not teacher else "")

    lines: list[tuple[str, ...]] = []
    for row in found:
        of = teacher or row
        (perplexity, spread), (bits, _) = mean(row.told, "perplexity"), mean(row.told, "bits_per_byte")
        shown = "" if perplexity is None else f"{perplexity:.2f}" + ("" if spread is None else f" ± {spread:.2f}")
        lines.append((
            row.label, row.model,
            figure(row, perplexity, mean(of.told, "perplexity")[0], shown),
            tables.number(bits, ".3f"),
            figure(row, row.params, of.params, f"{(row.params or 0) / 1e6:.2f} M"),
            figure(row, row.bytes, of.bytes, f"{(row.bytes or 0) / 1e6:.1f} MB"),
            figure(row, row.p50_ms, of.p50_ms, f"{row.p50_ms or 0:.3f} ms"),
            figure(row, row.peak_rss_mb, of.peak_rss_mb, f"{row.peak_rss_mb or 0:.0f} MB"),
        ))  # fmt: skip
    return lines


def mean(found: Sequence[LanguageFigures], name: str) -> tuple[float | None, float | None]:
    """A figure's mean over the seeds and its standard deviation; None where one is not known, or of a single one."""
    values = [getattr(one, name) for one in found]
    if not values or None in values:
        return None, None
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def help_of(notes: Sequence[StageNote]) -> Foretold | None:
    """What the teacher was worth on the test text, paired by seed; None without student and baseline, or of others."""
    found: dict[str, dict[int, LanguageFigures]] = {"student": {}, "baseline": {}}
    seconds: dict[int, list[float | None]] = {}
    for note in notes:
        if note.role in found and note.seed is not None and "test" in note.language:
            found[note.role][note.seed] = note.language["test"]
            seconds.setdefault(note.seed, []).append(note.train_seconds)
    seeds = sorted(found["student"].keys() & found["baseline"].keys())
    own, other = ([found[role][seed] for seed in seeds] for role in ("student", "baseline"))
    if not seeds or any(one.nll is None for one in (*own, *other)):
        return None
    apart = difference(own, other)
    verdict: Helped = "no difference"
    if len(seeds) == 1:  # whatever the text says: two trainings of one recipe differ, too
        verdict = "one training"
    elif apart is not None:
        verdict = "helped" if apart.high < 0 else "hurt" if apart.low > 0 else verdict
    each = [a.nll - b.nll for a, b in zip(own, other, strict=True) if a.nll is not None and b.nll is not None]
    known = [s for s in seconds[seeds[0]] if s is not None]
    return Foretold(
        seeds=seeds, difference=each, difference_mean=float(np.mean(each)),
        interval=None if apart is None else (apart.low, apart.high), verdict=verdict, tokens=own[0].tokens,
        length=own[0].length, stride=own[0].stride,
        three_seeds_seconds=2 * sum(known) if len(seeds) == 1 and len(known) == 2 else None,
    )  # fmt: skip


def help_line(report: Report) -> str | None:
    """One sentence on what the teacher was worth, with its sign, of language models and of others."""
    found = report.foretold
    if found is None:
        return headline.help_line(report)
    verdicts = {"helped": "It helped", "hurt": "It hurt", "no difference": "No difference can be told"}
    verdicts["one training"] = headline.one_training("stretches of the test text", found.three_seeds_seconds)
    seeds = f"{len(found.seeds)} seeds" if len(found.seeds) > 1 else "one seed"
    interval = ""
    if found.interval is not None:
        interval = f"95 % interval {found.interval[0]:+.3f} … {found.interval[1]:+.3f}; "
    return (
        f"The teacher changed the student's NLL by {found.difference_mean:+.3f} nats a token of the test text, where less is "
        f"better ({interval}{seeds}, {found.tokens:,} tokens). {verdicts[found.verdict]}."
    )


def warnings(report: Report) -> list[str]:
    """What a reader must know before trusting the result."""
    nll = {
        role: mean([m.language["test"] for m in report.models if m.role == role and "test" in m.language], "nll")[0]
        for role in ("teacher", "baseline")
    }
    found, taught, alone = [], nll["teacher"], nll["baseline"]
    if taught is not None and alone is not None and taught >= alone:
        found.append(
            f"The teacher ({taught:.3f} nats a token) foretells the test text no better than the baseline ({alone:.3f}): it has "
            "little to teach. Train it longer, use pretrained weights, or take a larger one."
        )
    if report.foretold and report.foretold.verdict == "hurt":
        found.append(
            f"The teacher hurt: {report.foretold.difference_mean:+.3f} nats a token against the same student without it. Try "
            "another objective (docs/objectives.md)."
        )
    return found


def windows_line(report: Report) -> str | None:
    """How perplexity was measured; None of others."""
    found = next((m.language["test"] for m in report.models if "test" in m.language), None)
    if found is None:
        return None
    if found.masked:
        return (
            f"Perplexity of the {found.tokens:,} tokens that are hidden in windows of {found.length} of the test text, seen from "
            "both sides: the same ones for all models, and not to be compared with that of a model which writes a text on."
        )
    return (
        f"Perplexity of the test text ({found.tokens:,} tokens, {found.bytes or 0:,} bytes), read in windows of {found.length} "
        f"tokens that go on by {found.stride}: each token is scored once, after at least {found.length - found.stride} others "
        "but at the beginning. Perplexities compare between models with the same tokens alone, bits per byte between all."
    )


def next_line(report: Report, run: Any) -> str | None:
    """What can be done with the files; None of others."""
    if not told(report):
        return None
    if hides(report):
        return f"Next: compress distill --teacher {run.path} --student {run.path} --data LABELLED_TEXTS"
    student = run.artifact("fp32")
    teacher = next((e.file for e in report.exports if e.role == "teacher" and e.file), None)
    more = f" · compress speculate {run.path / teacher} {student} --data PROMPTS" if teacher else ""
    return f'Next: compress generate {student} "…"{more}'


def model_lines(models: Sequence[Model]) -> list[tuple[str, ...]]:
    """One line per model and seed."""
    lines: list[tuple[str, ...]] = []
    for m in models:
        test, validation = m.language.get("test"), m.language.get("validation")
        lines.append((
            m.role, m.name, str(m.seed), *_figures(test), _nll(test),
            _nll(validation), tables.number(m.teacher_agreement, ".3f"),
            "–" if m.train_seconds is None else f"{m.train_seconds:.0f} s", m.weights,
        ))  # fmt: skip
    return lines


def export_lines(entries: Sequence[ExportEntry]) -> list[tuple[str, ...]]:
    """One line per exported file."""
    return [
        (
            e.file or "–", e.precision, "–" if e.bytes is None else f"{e.bytes / 1e6:.2f} MB", str(e.opset), *_figures(e.language),
            "–" if e.parity is None else f"{e.parity.max_relative_error:.1e}",
            "–" if e.parity is None else f"{e.parity.top1_agreement:.3f} of {e.parity.samples}",
        )
        for e in entries
    ]  # fmt: skip


def _figures(found: LanguageFigures | None) -> tuple[str, str]:
    if found is None:
        return "–", "–"
    return tables.number(found.perplexity, ".2f"), tables.number(found.bits_per_byte, ".3f")


def _nll(found: LanguageFigures | None) -> str:
    return "–" if found is None else tables.number(found.nll, ".4f")


def models_table(report: Report) -> Table:
    """Models of either kind."""
    if told(report):
        return MODEL_COLUMNS, model_lines(report.models)
    return tables.MODEL_COLUMNS, tables.model_lines(report.models)


def exports_table(entries: Sequence[ExportEntry]) -> Table:
    """Exported files of either kind."""
    if any(entry.language for entry in entries):
        return EXPORT_COLUMNS, export_lines(entries)
    return tables.EXPORT_COLUMNS, tables.export_lines(entries)


def what(report: Report) -> str:
    """The data in a few words, for a page's first line."""
    data = report.dataset
    if told(report):
        return (
            f"{data.name}: running text of {len(data.classes):,} kinds of tokens; {data.train:,} training windows. Figures are on "
            f"the test text, of a long one on its first {MOST:,} tokens."
        )
    return (
        f"{data.name}: {len(data.classes)} classes; {data.train} training, {data.validation} validation and {data.test} test "
        "samples. Figures are on test."
    )


CONTINUED = "Each writes the prompt on, a stretch of the test text, with the most probable token each time."


def shown(text: str) -> str:
    """On one line."""
    return text.replace("\r\n", "\n").replace("\n", " ⏎ ")


def continued(found: Sequence[Continued]) -> str:
    """Texts written on, as Markdown."""
    parts = [CONTINUED]
    for one in found:
        lines = [f"**{markdown(shown(one.prompt))}** …"]
        lines += [f"- {role}: {markdown(shown(text))}" for role, text in one.texts.items()]
        parts.append("\n".join([lines[0], "", *lines[1:]]))
    return "\n\n".join(parts)
