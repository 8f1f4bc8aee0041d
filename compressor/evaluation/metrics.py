"""Metrics from labels and logits, in numpy alone. Fractions, not percent."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.artifact.session import softmax
from compressor.evaluation.quantiles import NORMAL, student_t

ECE_BINS = 15
TOGETHER = 1 << 19
"""Logits of the rows that are looked at together."""

Labels = NDArray[np.int64]
Logits = NDArray[np.float32]


def summary(labels: Labels, logits: Logits, *, temperature: float = 1.0) -> dict[str, float]:
    """`top1`, `top5`, `nll` (nats) and `ece` of logits divided by `temperature`."""
    return {
        "top1": top_k(labels, logits, 1),
        "top5": top_k(labels, logits, 5),
        "nll": nll(labels, logits, temperature=temperature),
        "ece": ece(labels, logits, temperature=temperature),
    }


def top_k(labels: Labels, logits: Logits, k: int) -> float:
    """Share of samples whose label is among the k largest logits (all classes where there are fewer)."""
    own = logits[np.arange(len(labels)), labels][:, None]
    before = logits > own  # of equal ones the first is named; what is no number comes last
    before |= (logits == own) & (np.arange(logits.shape[1]) < labels[:, None])
    before |= np.isnan(own) & (~np.isnan(logits) | (np.arange(logits.shape[1]) < labels[:, None]))
    return float((before.sum(axis=1) < k).mean())


def nll(labels: Labels, logits: Logits, *, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood of the labels, nats."""
    found = np.empty(len(labels))
    for part in _parts(logits):
        scaled = logits[part].astype(np.float64) / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        log_total = np.log(np.exp(scaled).sum(axis=1))
        found[part] = log_total - scaled[np.arange(len(scaled)), labels[part]]
    return float(found.mean())


def _parts(logits: Logits) -> Iterator[slice]:
    """Rows that are looked at together: memory that is given back to the system and asked for again costs more."""
    size = max(1, TOGETHER // max(1, logits.shape[1]))
    return (slice(start, start + size) for start in range(0, len(logits), size))


def ece(labels: Labels, logits: Logits, *, temperature: float = 1.0) -> float:
    """Expected calibration error: 15 equal-width bins on the top label's confidence (Guo et al. 2017, eq. 3)."""
    total = 0.0
    for row in reliability(labels, logits, temperature=temperature):
        total += row["count"] * abs(row["accuracy"] - row["confidence"])
    return total / len(labels)


def reliability(labels: Labels, logits: Logits, *, temperature: float = 1.0) -> list[dict[str, Any]]:
    """The bins of a reliability diagram that hold samples: `low`, `high`, `count`, `confidence`, `accuracy`."""
    probabilities = softmax(logits, temperature)
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    # (low, high]: a confidence of exactly 1 belongs to the last bin.
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(int) - 1, 0, ECE_BINS - 1)
    rows = []
    for b in range(ECE_BINS):
        inside = bins == b
        if inside.any():
            rows.append({
                "low": b / ECE_BINS,
                "high": (b + 1) / ECE_BINS,
                "count": int(inside.sum()),
                "confidence": float(confidence[inside].mean()),
                "accuracy": float(correct[inside].mean()),
            })  # fmt: skip
    return rows


def confidence(logits: Logits, temperature: float = 1.0) -> NDArray[np.float64]:
    """(samples,): the top class's probability at a temperature."""
    best: NDArray[np.float64] = softmax(logits, temperature).max(axis=1)
    return best


def agreement(a: Logits, b: Logits) -> float:
    """Share of samples on which two models name the same class."""
    return float((a.argmax(axis=1) == b.argmax(axis=1)).mean())


def per_class(labels: Labels, logits: Logits, classes: int) -> list[float | None]:
    """Accuracy within each class; None for a class without samples."""
    correct = logits.argmax(axis=1) == labels
    return [float(correct[labels == c].mean()) if (labels == c).any() else None for c in range(classes)]


def balanced_accuracy(labels: Labels, logits: Logits) -> float:
    """Mean of the classes' accuracies: a rare class counts as much as a common one."""
    return float(np.mean([v for v in per_class(labels, logits, logits.shape[1]) if v is not None]))


def copied_mistakes(labels: Labels, teacher: Logits, student: Logits) -> dict[str, float | int | None]:
    """How many of the teacher's mistakes the student makes, too, with the same wrong class.

    Returns:
        `teacher_mistakes`, `copied`, and `share` (None when the teacher makes none).
    """
    answers = teacher.argmax(axis=1)
    mistakes = answers != labels
    copied = int((mistakes & (student.argmax(axis=1) == answers)).sum())
    count = int(mistakes.sum())
    return {"teacher_mistakes": count, "copied": copied, "share": copied / count if count else None}


def mcnemar(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Two-sided exact p-value that two classifiers err equally often on the same samples. McNemar 1947.

    Args:
        a, b: (samples,) whether each classifier was right.
    """
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    n, k = only_a + only_b, min(only_a, only_b)
    if n == 0:
        return 1.0
    log_half = n * math.log(0.5)
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) + log_half for i in range(k + 1)]
    return min(1.0, 2 * math.fsum(math.exp(v) for v in logs))


def sign_flip(differences: NDArray[np.int64]) -> float:
    """Two-sided p-value that paired differences are as often up as down; for −1, 0 and 1 McNemar's exact one.

    Each difference keeps its size and draws its sign anew (Fisher's randomisation test): exact up to a sum of
    4,000, beyond that by the normal distribution, which is within 1 % of it there for any p above 1e-5.

    Args:
        differences: (samples,): over the seeds, how often the first was right less how often the second was.
    """
    sizes = np.abs(differences[differences != 0])
    total, seen = int(sizes.sum()), abs(int(differences.sum()))
    if total == 0:
        return 1.0
    if total > 4000:
        return math.erfc((seen - 1) / math.sqrt(2 * float((sizes**2).sum()))) if seen else 1.0
    chances = np.ones(1)  # of sums from −total to total
    for size in sizes:
        wider = np.zeros(len(chances) + 2 * size)
        wider[: len(chances)] += chances / 2
        wider[2 * size :] += chances / 2
        chances = wider
    sums = np.arange(-total, total + 1)
    return min(1.0, float(chances[np.abs(sums) >= seen].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for having looked at all of them. Holm 1979."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = largest
    return corrected


def paired_gain(a: NDArray[Any], b: NDArray[Any], *, draws: int = 2000) -> dict[str, float]:
    """How much more often model `a` is right than model `b`: `mean`, and `low` … `high`, a 95 % bootstrap interval.

    It is about these two models on other samples, not about how they were trained: see `training_gain`.

    Args:
        a, b: (samples,) whether each was right, or the share of times it was.
    """
    difference = a.astype(np.float64) - b.astype(np.float64)
    rng = np.random.default_rng(0)
    means = [difference[rng.integers(len(difference), size=len(difference))].mean() for _ in range(draws)]
    low, high = np.percentile(means, [2.5, 97.5])
    return {"mean": float(difference.mean()), "low": float(low), "high": float(high)}


def training_gain(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> dict[str, float]:
    """How much more often models trained like `a` are right than those trained like `b`: `mean`, `low` … `high`.

    The 95 % interval is for another training on other samples. Its half width is √(t² s² / seeds + z² v / samples):
    s² is the variance of the seeds' gains and t Student's quantile at seeds − 1 degrees of freedom; v is the variance
    over the samples, which all seeds share, of their gain averaged over the seeds. Each part keeps its own quantile,
    so the interval covers at least what it says (Banerjee 1960), and what a seed's samples add to s² is counted
    twice. v is taken with one more sample won and one lost (Agresti and Min 2005): few disagreements say little.
    From a single seed the interval is over samples alone: what another training gives, it can't say.

    Args:
        a, b: (seeds, samples) whether each was right; row s of both comes from the same seed.
    """
    difference = a.astype(np.float64) - b.astype(np.float64)
    seeds, samples = difference.shape
    gains, over_seeds = difference.mean(axis=1), difference.mean(axis=0)
    half = NORMAL**2 * (samples * over_seeds.var() + 2) / (samples + 2) ** 2
    if seeds > 1:
        half += student_t(seeds - 1) ** 2 * gains.var(ddof=1) / seeds
    mean, half = float(gains.mean()), math.sqrt(half)
    return {"mean": mean, "low": mean - half, "high": mean + half}


def calibration_temperature(labels: Labels, logits: Logits) -> float:
    """The temperature at which logits / T are calibrated. Guo et al. 2017, section 4.2.

    Fitted to labels smoothed by 1 / (n + 2), as in Platt 1999, section 2.2: n samples without a mistake say
    that the error rate is below about 1 / n, not that it is zero, and the plain likelihood would drive T to 0.
    The doubt is no evidence that a model is too sure, though: a temperature above 1 under which the labels
    themselves are no likelier than at 1 is not applied.
    The likelihood is unimodal in T; searched by golden section over log T in ±log 20.
    """
    low, high = -np.log(20.0), np.log(20.0)
    golden = (np.sqrt(5) - 1) / 2
    doubt = 1 / (len(labels) + 2)
    others = max(logits.shape[1] - 1, 1)
    own = logits[np.arange(len(labels)), labels].astype(np.float64)
    # The smoothed target's mean logit: what the log-probabilities are expected under.
    mean = (1 - doubt) * own + doubt / others * (logits.sum(axis=1, dtype=np.float64) - own)

    def cost(log_temperature: float) -> float:
        temperature = np.exp(log_temperature)
        log_total = np.empty(len(labels))
        for part in _parts(logits):
            scaled = logits[part].astype(np.float64) / temperature
            top = scaled.max(axis=1)
            log_total[part] = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        return float((log_total - mean / temperature).mean())

    a, b = high - golden * (high - low), low + golden * (high - low)
    cost_a, cost_b = cost(a), cost(b)
    while high - low > 1e-4:
        if cost_a < cost_b:
            high, b, cost_b = b, a, cost_a
            a = high - golden * (high - low)
            cost_a = cost(a)
        else:
            low, a, cost_a = a, b, cost_b
            b = low + golden * (high - low)
            cost_b = cost(b)
    found = float(np.exp((low + high) / 2))
    softer = found > 1 and nll(labels, logits, temperature=found) >= nll(labels, logits)
    return 1.0 if softer else found
