"""Is a model worth it? One sentence per model, from speed, memory, size and accuracy together. Pure functions."""

from __future__ import annotations

from typing import Any, Literal

from compressor.benchmarking.compare import decide

Worth = Literal["worth it", "a trade", "not worth it", "undecided"]

SMALLER = 0.9
"""A file or a process that needs at most this share counts as smaller; at least 1 / 0.9 of it as larger."""
SIGNIFICANT = 0.05
NOT_COMPARED = "accuracy not compared (give --data)"


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """`file`, `against`, `provider`, `worth` and `text`, one entry per judged file and provider.

    The fp32 student is judged against the teacher, its int8 and fp16 against the fp32 student, any other file
    against the reference, at the first batch and thread count that both were measured at.
    """
    models, against = document["models"], document["reference"]
    teacher = next((label for label, facts in models.items() if facts["role"] == "teacher"), None)
    providers = list(dict.fromkeys(row["provider"] for row in document["rows"]))
    found = []
    for label, facts in models.items():
        if label == teacher or (label == against and teacher is None):
            continue
        other = teacher if label == against else against
        for provider in providers:
            text = _one(document, label, str(other), provider)
            if text is not None:
                where = f" on {provider}" if len(providers) > 1 else ""
                subject = _subject(label, facts)
                said = {"worth": text[0], "text": f"{subject} {_SAYS[text[0]]} here{where}: {text[1]}."}
                found.append({"file": label, "against": other, "provider": provider, **said})
    return found


_SAYS = {"worth it": "is worth it", "a trade": "is a trade", "not worth it": "is not worth it",
         "undecided": "is not decided"}  # fmt: skip


def _subject(label: str, facts: dict[str, Any]) -> str:
    if facts["role"] == "student":
        return "The student" if facts["precision"] == "fp32" else str(facts["precision"])
    return label


def _one(document: dict[str, Any], label: str, other: str, provider: str) -> tuple[Worth, str] | None:
    """The verdict on `label` against `other`; None where they were not measured side by side."""
    rows = {(r["file"], r["batch"], r["threads"]): r for r in document["rows"] if r["provider"] == provider}
    key = next((k for k in rows if k[0] == label and (other, *k[1:]) in rows), None)
    if key is None:
        return None
    own, base = rows[key], rows[other, *key[1:]]
    facts, others = document["models"][label], document["models"][other]
    entry = own["ratio"] or base["ratio"]
    if entry is None:
        return None
    speed = {k: entry[k] for k in ("value", "low", "high", "verdict")}
    if entry is not own["ratio"]:  # this one is the reference: the ratio is the other's, turned around
        speed = turned(speed)
    accuracy = facts.get("accuracy")
    paired = accuracy and accuracy["teacher" if others["role"] == "teacher" else "fp32"]
    measured_memory = own["peak_rss_mb"] is not None and base["peak_rss_mb"] is not None
    return judge(
        speed=speed,
        size=facts["bytes"] / others["bytes"],
        memory=own["peak_rss_mb"] / base["peak_rss_mb"] if measured_memory else None,
        accuracy=paired or None,
        noisy=bool(own["noisy"] or base["noisy"]),
        unknown="accuracy unknown: random weights" if "sketch" in (facts["role"], others["role"]) else NOT_COMPARED,
    )


def turned(speed: dict[str, Any]) -> dict[str, Any]:
    """The ratio of the second to the first from that of the first to the second."""
    value, low, high = (1 / max(speed[key], 1e-9) for key in ("value", "high", "low"))
    verdict = "undecided" if speed["verdict"] == "undecided" else decide(value, low, high)
    return {"value": value, "low": low, "high": high, "verdict": verdict}


def judge(
    *,
    speed: dict[str, Any],
    size: float,
    memory: float | None,
    accuracy: dict[str, Any] | None,
    noisy: bool = False,
    unknown: str = NOT_COMPARED,
) -> tuple[Worth, str]:
    """The verdict and its reasons.

    worth it: faster, or as fast and smaller, and no less accurate (McNemar's p ≥ 0.05, or a gain);
    a trade: such an advantage for a loss of accuracy that is no chance;
    not worth it: slower, or no advantage; undecided: what would decide was not measured well enough.

    Args:
        speed: `value`, `low`, `high` of the latency over the other's, and `verdict`.
        size, memory: bytes and peak memory over the other's; memory None where it was not measured.
        accuracy: `top1_gain` and `mcnemar_p` against the other; None where it was not measured.
        noisy: something disturbed the timing.
        unknown: what is said where the accuracy is None.
    """
    parts = [_speed_text(speed), f"{size:.2f}× the size"]
    if memory is not None:
        parts.append(f"{memory:.2f}× the memory")
    worse = False
    if accuracy is not None:
        worse = accuracy["top1_gain"] < 0 and accuracy["mcnemar_p"] < SIGNIFICANT
        sure = accuracy["mcnemar_p"] < SIGNIFICANT
        points = f"{100 * accuracy['top1_gain']:+.1f}".replace("-", "−")
        parts.append(f"{points} points" + ("" if sure else " (within noise)"))
    else:
        parts.append(unknown)
    if noisy:
        parts.append("timed on a busy machine")
    smaller = size <= SMALLER or (memory is not None and memory <= SMALLER)
    faster, slower = speed["verdict"] == "faster", speed["verdict"] == "slower"
    worth: Worth
    if slower or (speed["verdict"] == "same" and not smaller):
        worth = "not worth it"
    elif accuracy is None or (speed["verdict"] == "undecided" and not smaller):
        worth = "undecided"
    elif worse:
        worth = "a trade" if faster or smaller else "not worth it"
    else:
        worth = "worth it"
    return worth, ", ".join(parts)


def _speed_text(speed: dict[str, Any]) -> str:
    value, low, high = speed["value"], speed["low"], speed["high"]
    if speed["verdict"] == "faster":
        return f"{1 / value:.{_digits(1 / value)}f}× faster"
    if speed["verdict"] == "slower":
        return f"{value:.{_digits(value)}f}× slower"
    if speed["verdict"] == "same":
        return "as fast"
    return f"speed undecided ({low:.2f} to {high:.2f} of the time)"


def _digits(factor: float) -> int:
    """1.06× needs two digits to be told from 1×; 5.5× does not."""
    return 2 if factor < 1.2 else 1
