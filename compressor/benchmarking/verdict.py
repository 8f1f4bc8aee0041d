"""Is a model worth it? One sentence per model, from speed, memory, size and accuracy together. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from compressor.benchmarking import compare
from compressor.benchmarking.document import Benchmark, ModelFacts, Row, Verdict, Worth
from compressor.benchmarking.lengths import Length
from compressor.evaluation.perplexity import difference
from compressor.runnote import LanguageFigures

SMALLER = 0.9
"""A file or a process that needs at most this share counts as smaller; at least 1 / 0.9 of it as larger."""
SIGNIFICANT = 0.05
"""McNemar's p below which a difference in accuracy is no chance."""
COARSE = 1.2
"""Factors below this are given with two digits: 1.06× has to be told from 1×; 5.5× has not."""
NOT_COMPARED = "accuracy not compared (give --data)"


class Paired(Protocol):
    """A gain in accuracy over another model on the same samples, and McNemar's p."""

    @property
    def top1_gain(self) -> float:
        """A fraction."""

    @property
    def mcnemar_p(self) -> float:
        """Of erring equally often."""


def verdicts(document: Benchmark) -> list[Verdict]:
    """One entry per judged file and provider.

    The fp32 student is judged against the teacher, its int8 and fp16 against the fp32 student, any other file
    against the reference, at the first batch, thread count and length (the data's first) that both were measured at.
    """
    models, against = document.models, document.reference
    teacher = next((label for label, facts in models.items() if facts.role == "teacher"), None)
    providers = list(dict.fromkeys(row.provider for row in document.rows))
    found = []
    for label, facts in models.items():
        if label == teacher or (label == against and teacher is None):
            continue
        other = str(teacher if label == against else against)
        for provider in providers:
            judged = _one(document, label, other, provider)
            if judged is not None:
                worth, reasons = judged
                where = f" on {provider}" if len(providers) > 1 else ""
                text = f"{_subject(label, facts)} {_PREDICATES[worth]} here{where}: {reasons}."
                found.append(Verdict(file=label, against=other, provider=provider, worth=worth, text=text))
    return found


_PREDICATES: dict[Worth, str] = {"worth it": "is worth it", "a trade": "is a trade", "not worth it": "is not worth it",
                                 "undecided": "is not decided"}  # fmt: skip


def _subject(label: str, facts: ModelFacts) -> str:
    if facts.role == "student":
        return "The student" if facts.precision == "fp32" else str(facts.precision)
    return label


def _one(document: Benchmark, label: str, other: str, provider: str) -> tuple[Worth, str] | None:
    """The verdict on `label` against `other`; None where they were not measured side by side."""
    rows: dict[tuple[str, int, int, Length | None], Row] = {
        (r.file, r.batch, r.threads, r.length): r for r in document.rows if r.provider == provider
    }
    key = next((k for k in rows if k[0] == label and (other, *k[1:]) in rows), None)
    if key is None:
        return None
    own, base = rows[key], rows[other, key[1], key[2], key[3]]
    facts, others = document.models[label], document.models[other]
    entry = own.ratio or base.ratio
    if entry is None:
        return None
    speed = compare.Ratio(entry.value, entry.low, entry.high, entry.verdict)
    if own.ratio is None:  # this one is the reference: the ratio is the other's, turned around
        speed = turned(speed)
    accuracy = facts.accuracy
    paired = None if accuracy is None else accuracy.teacher if others.role == "teacher" else accuracy.fp32
    foretold = None if facts.language is None or others.language is None else told(facts.language, others.language)
    measured_memory = own.peak_rss_mb is not None and base.peak_rss_mb is not None
    return judge(
        speed=speed,
        size=facts.bytes / others.bytes,
        memory=own.peak_rss_mb / base.peak_rss_mb if measured_memory else None,  # type: ignore[operator]
        accuracy=paired or foretold,
        noisy=bool(own.noisy or base.noisy),
        unknown=_unknown(facts, others),
    )


def _unknown(own: ModelFacts, other: ModelFacts) -> str:
    """What stands in the place of an accuracy that nobody knows."""
    if "sketch" in (own.role, other.role):
        return "accuracy unknown: random weights"
    return "perplexity not compared (compress evaluate)" if own.task == "lm" else NOT_COMPARED


@dataclass(frozen=True)
class Foretold:
    """A language model beside another one on the same text."""

    worse: bool
    """Beyond chance."""
    text: str


def told(own: LanguageFigures, other: LanguageFigures) -> Foretold | None:
    """By the interval of the difference over stretches of the text; None where their texts are others."""
    found = difference([own], [other])
    if found is None or own.perplexity is None or other.perplexity is None:
        return None
    noise = " (within noise)" if found.low <= 0 <= found.high else ""
    return Foretold(found.low > 0, f"perplexity {own.perplexity:.2f} against {other.perplexity:.2f}{noise}")


def turned(speed: compare.Ratio) -> compare.Ratio:
    """The ratio of the second to the first from that of the first to the second."""
    value, low, high = (1 / max(figure, 1e-9) for figure in (speed.value, speed.high, speed.low))
    undecided = speed.verdict == "undecided"
    return compare.Ratio(value, low, high, "undecided" if undecided else compare.decide(value, low, high))


def judge(
    *,
    speed: compare.Ratio,
    size: float,
    memory: float | None,
    accuracy: Paired | Foretold | None,
    noisy: bool = False,
    unknown: str = NOT_COMPARED,
) -> tuple[Worth, str]:
    """The verdict and its reasons.

    worth it: faster, or as fast and smaller, and no less accurate (McNemar's p ≥ 0.05, or a gain);
    a trade: such an advantage for a loss of accuracy that is no chance;
    not worth it: slower, or no advantage; undecided: speed or accuracy was not measured well enough. A file that is
    smaller but may be slower is undecided, too: nothing is worth it whose speed nobody knows.

    Args:
        speed: the latency over the other's.
        size, memory: bytes and peak memory over the other's; memory None where it was not measured.
        accuracy: against the other; None where it was not measured.
        noisy: something disturbed the timing.
        unknown: what stands in place of an accuracy that is None.
    """
    parts = [_speed_text(speed), f"{size:.2f}× the size"]
    if memory is not None:
        parts.append(f"{memory:.2f}× the memory")
    if isinstance(accuracy, Foretold):
        text, worse = accuracy.text, accuracy.worse
    else:
        text = unknown if accuracy is None else _accuracy_text(accuracy)
        worse = accuracy is not None and accuracy.top1_gain < 0 and accuracy.mcnemar_p < SIGNIFICANT
    parts.append(text)
    if noisy:
        parts.append("timed on a busy machine")
    smaller = size <= SMALLER or (memory is not None and memory <= SMALLER)
    worth: Worth
    if speed.verdict == "slower" or (speed.verdict == "same" and not smaller):
        worth = "not worth it"
    elif accuracy is None or speed.verdict == "undecided":
        worth = "undecided"
    elif worse:
        worth = "a trade" if speed.verdict == "faster" or smaller else "not worth it"
    else:
        worth = "worth it"
    return worth, ", ".join(parts)


def _accuracy_text(accuracy: Paired) -> str:
    points = f"{100 * accuracy.top1_gain:+.1f}".replace("-", "−")
    return f"{points} points" + ("" if accuracy.mcnemar_p < SIGNIFICANT else " (within noise)")


def _speed_text(speed: compare.Ratio) -> str:
    if speed.verdict == "faster":
        return f"{1 / speed.value:.{_digits(1 / speed.value)}f}× faster"
    if speed.verdict == "slower":
        return f"{speed.value:.{_digits(speed.value)}f}× slower"
    if speed.verdict == "same":
        return "as fast"
    if speed.high > compare.ENDLESS:
        return "speed undecided (one process tells no interval)"
    return f"speed undecided ({compare.shown(speed.low, speed.high, ' to ')} of the time)"


def _digits(factor: float) -> int:
    return 2 if factor < COARSE else 1
