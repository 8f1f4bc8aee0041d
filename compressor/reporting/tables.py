"""The report's tables, every cell of which is text, and how Markdown has them."""

from __future__ import annotations

from collections.abc import Sequence

from compressor.benchmarking import compare
from compressor.benchmarking.document import Accuracy, Against, ModelFacts, Ratio, Timed
from compressor.benchmarking.rows import setting
from compressor.evaluation.document import Gain
from compressor.exporting.document import ExportEntry
from compressor.quantization.document import Int8
from compressor.reporting import headline
from compressor.reporting.document import Model, Report
from compressor.text import markdown


def grid(header: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    out = [header, tuple("---" for _ in header), *lines]
    return "\n".join("| " + " | ".join(markdown(cell) for cell in line) + " |" for line in out)


TIME_COLUMNS = ("phase", "epochs", "planned", "taken")


def time_lines(report: Report) -> list[tuple[str, ...]]:
    """One line per phase of a run that was given a time; none without."""
    budget, taken = report.budget, report.taken
    if budget is None:
        return []
    epochs = {"teacher": budget.epochs.get("member", 0)} | budget.epochs
    return [
        (
            phase, str(epochs.get(phase) or "–"),
            *("–" if seconds is None else headline.lasted(seconds) for seconds in (budget.planned.get(phase), taken.get(phase))),
        )
        for phase in dict.fromkeys([*budget.planned, *taken])
    ]  # fmt: skip


MODEL_COLUMNS = ("role", "model", "seed", "top-1", "top-5", headline.SHIPPED_NLL, headline.SHIPPED_ECE, "temperature",
                 "agrees with teacher", "teacher's mistakes copied", "MACs", "training", "waiting for data", "weights")  # fmt: skip


def model_lines(models: Sequence[Model]) -> list[tuple[str, ...]]:
    """One line per model and seed."""
    lines: list[tuple[str, ...]] = []
    for m in models:
        copied = m.copied_mistakes
        lines.append((
            m.role, m.name, str(m.seed), number(m.top1, ".4f"), number(m.top5, ".4f"),
            headline.shipped(m.nll_calibrated, m.nll), headline.shipped(m.ece_calibrated, m.ece), number(m.temperature, ".3f"),
            number(m.teacher_agreement, ".3f"),
            "–" if copied is None else f"{copied.copied} of {copied.teacher_mistakes}",
            "–" if m.macs is None else f"{m.macs / 1e6:.1f} M",
            "–" if m.train_seconds is None
            else f"{m.train_seconds:.0f} s ({m.images_per_second:.0f} samples/s)",
            "–" if m.data_wait_share is None else f"{100 * m.data_wait_share:.1f} %",
            m.weights,
        ))  # fmt: skip
    return lines


EXPORT_COLUMNS = ("file", "precision", "size", "opset", "top-1", headline.SHIPPED_NLL, headline.SHIPPED_ECE, "temperature",
                  "relative error", "top-1 agreement")  # fmt: skip


def export_lines(entries: Sequence[ExportEntry]) -> list[tuple[str, ...]]:
    """One line per exported file."""
    return [
        (
            e.file or "–", e.precision, "–" if e.bytes is None else f"{e.bytes / 1e6:.2f} MB", str(e.opset),
            number(e.top1, ".4f"), headline.shipped(e.nll_calibrated, e.nll), headline.shipped(e.ece_calibrated, e.ece), _temperature(e),
            "–" if e.parity is None else f"{e.parity.max_relative_error:.1e}",
            "–" if e.parity is None else f"{e.parity.top1_agreement:.3f} of {e.parity.samples}",
        )
        for e in entries
    ]  # fmt: skip


def _temperature(entry: ExportEntry) -> str:
    """A file's calibration temperature and whose logits it was fitted to."""
    if entry.temperature is None:
        return "–"
    return f"{entry.temperature:.3f} ({'its own' if entry.temperature_of == 'file' else 'the model’s'})"


LADDER_COLUMNS = ("int8 tried", "size", "validation top-1", "points lost", "logits' error", "in float", "time / fp32")


def ladder_lines(int8: Int8) -> list[tuple[str, ...]]:
    """One line per rung of the int8 ladder, in the order it was tried; the one that was kept is marked."""
    return [
        (
            rung.name + (" ✓" if rung.name == int8.kept else ""),
            f"{rung.bytes / 1e6:.2f} MB", f"{rung.top1:.4f}", f"{rung.drop:+.2f}", f"{rung.error:.1e}",
            str(len(rung.float_nodes)),
            "–" if rung.speed is None
            else f"{rung.speed.ratio:.2f} ({rung.speed.low:.2f} – {rung.speed.high:.2f})",
        )
        for rung in int8.rungs
    ]  # fmt: skip


def ladder_verdict(int8: Int8) -> str:
    """One sentence: what was kept and why, and for which CPU."""
    bits = "7-bit" if int8.seven_bit_weights else "8-bit"
    made_for = f"{int8.activations} activations, {bits} int8 weights, for {int8.target}"
    if int8.kept is None:
        return f"No int8 file ({made_for}): {int8.reason}."
    return f"int8 ({made_for}): {int8.kept}, {int8.reason}."


_BENCHMARK_COLUMNS = ("file", "on", "p50", "ratio", "p90", "p99", "samples/s", "load", "first run", "memory", "nodes",
                      "samples", "noisy")  # fmt: skip


def benchmark_table(rows: Sequence[Timed]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header, and one line per measured combination; rows of an older benchmark have dashes for what it did not measure.

    A column for the length, with the share of padding, only where one was measured.
    """
    lines = _benchmark_lines(rows)
    if all(row.length is None for row in rows):
        return _BENCHMARK_COLUMNS, lines
    columns = (*_BENCHMARK_COLUMNS[:2], "length (padding)", *_BENCHMARK_COLUMNS[2:])
    return columns, [(*line[:2], _length(row), *line[2:]) for row, line in zip(rows, lines, strict=True)]


def _length(row: Timed) -> str:
    if row.length is None:
        return "–"
    return str(row.length) + ("" if row.padding is None else f" ({100 * row.padding:.0f} %)")


def _benchmark_lines(rows: Sequence[Timed]) -> list[tuple[str, ...]]:
    return [
        (
            r.file, setting(r),
            number(r.p50_ms, ".3f", " ms") + _span(r.p50_interval_ms), _ratio(r.ratio),
            number(r.p90_ms, ".3f", " ms"), number(r.p99_ms, ".3f", " ms"), number(r.throughput, ".0f"),
            number(r.load_ms, ".0f", " ms"), number(r.first_run_ms, ".1f", " ms"), _memory(r),
            ", ".join(f"{name.removesuffix('ExecutionProvider')} {n}" for name, n in r.placement.items()),
            str(r.samples) + (f" in {r.processes}" if r.processes else ""),
            {True: "yes", False: "no", None: "–"}[r.noisy],
        )
        for r in rows
    ]  # fmt: skip


def _span(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" ({interval[0]:.3f} … {interval[1]:.3f})"


def _ratio(ratio: Ratio | None) -> str:
    if ratio is None:
        return "–"
    return f"{ratio.value:.2f} ({compare.shown(ratio.low, ratio.high)}) {ratio.verdict}"


def _memory(row: Timed) -> str:
    """Peak resident memory after loading and after running, and the GPU's where it was seen."""
    text = f"{number(row.load_rss_mb, '.0f')} / {number(row.peak_rss_mb, '.0f', ' MB')}"
    return text + (f", GPU {row.gpu_memory_mb:.0f} MB" if row.gpu_memory_mb is not None else "")


ACCURACY_COLUMNS = ("file", "precision", "size", "MACs", "top-1", "top-5", headline.SHIPPED_ECE,
                    "agrees with teacher", "against teacher", "against fp32", "worst classes")  # fmt: skip


def accuracy_lines(models: dict[str, ModelFacts]) -> list[tuple[str, ...]]:
    """One line per measured file, where the accuracy of any was measured."""
    if not any(facts.accuracy for facts in models.values()):
        return []
    lines: list[tuple[str, ...]] = []
    for label, facts in models.items():
        lines.append((
            label, facts.precision or "–", f"{facts.bytes / 1e6:.2f} MB",
            "–" if facts.macs is None else f"{facts.macs / 1e6:.1f} M",
            *(_accuracy(facts.accuracy) if facts.accuracy else ("–",) * 7),
        ))  # fmt: skip
    return lines


def _accuracy(own: Accuracy) -> tuple[str, ...]:
    return (
        number(own.top1, ".4f"), number(own.top5, ".4f"), headline.shipped(own.ece_calibrated, own.ece),
        number(own.teacher.agreement if own.teacher else None, ".3f"), gained(own.teacher), gained(own.fp32),
        ", ".join(f"{worst.name} {worst.top1:.2f}" for worst in own.worst[:3]) or "–",
    )  # fmt: skip


def gained(paired: Gain | Against | None) -> str:
    """A paired gain in points, with its interval and McNemar's p."""
    if paired is None:
        return "–"
    points = 100 * paired.top1_gain
    low, high = 100 * paired.low, 100 * paired.high
    return f"{points:+.1f} pt ({low:+.1f} … {high:+.1f}), p {paired.mcnemar_p:.2g}"


def worst_classes(report: Report, count: int = 5) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and lines: per-class accuracy of every model on the classes where what ships does worst."""
    models = report.errors.models
    if not models:
        return ("class",), []
    student = next((m for m in models if m.role == report.shipped_role), models[-1])
    ranked = [i for _, i in sorted((value, i) for i, value in enumerate(student.per_class) if value is not None)]
    header = ("class", *(f"{m.role} {m.name}, seed {m.seed}" for m in models))
    lines = [(report.errors.classes[i], *(number(m.per_class[i], ".3f") for m in models)) for i in ranked[:count]]
    return header, lines


def number(value: float | None, spec: str, unit: str = "") -> str:
    """A figure, or a dash for what was not measured."""
    return "–" if value is None else f"{value:{spec}}{unit}"
