"""How well a language model foretells a text: perplexity in a sliding window, and two models stretch by stretch. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compressor.artifact.text.tokenizer import Tokenizer
from compressor.errors import UsageError
from compressor.evaluation.quantiles import student_t
from compressor.progress import Progress, Silent
from compressor.runnote import LanguageFigures

Read = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""(batch, n) tokens, each row a text from its beginning → (batch, n, vocabulary) logits of what follows each."""

BLOCKS = 64
"""Stretches of a text, at most."""
SHORTEST = 32
"""Tokens of a stretch, at least: neighbours depend on each other, far ones hardly."""
MOST = 500_000
"""Tokens of a text that are looked at, from its beginning."""
ROOM = 64_000_000
"""Bytes of the logits that are asked for at once."""


def perplexity(
    read: Read,
    tokens: Sequence[int] | NDArray[np.integer],
    *,
    length: int,
    stride: int | None = None,
    size: int | None = None,
    progress: Progress | None = None,
) -> LanguageFigures:
    """What a model makes of a text: every token but the first is scored once, with as much before it as the window has.

    The window reads `length` tokens and goes on by `stride`; what it has in common with the one before is read again
    and not scored again, so that a token has at least `length` − `stride` others before it, but at the beginning
    (Hugging Face, *Perplexity of fixed-length models*). A stride of `length` is the quickest and flatters nobody; a
    small one comes closest to a model that always sees all it can.

    Args:
        read: the model.
        tokens: (n,) the text.
        length: tokens read at a time, at most as many as the model can read.
        stride: 1 … `length`; None: half of it.
        size: bytes of what is scored, for bits per byte.

    Raises:
        UsageError: fewer than two tokens, or a stride that leaves tokens out.
    """
    text = np.asarray(tokens, dtype=np.int64)
    stride = max(1, length // 2) if stride is None else stride
    if not 1 <= stride <= length:
        raise UsageError(f"a stride of {stride} in a window of {length} tokens: give 1 to {length}")
    if len(text) < 2:
        raise UsageError(f"a text of {len(text)} tokens has none to foretell: give a longer one")
    scored = np.empty(len(text) - 1)
    with (progress or Silent()).bar("perplexity", len(scored)) as bar:
        for batch in _batches(_spans(len(scored), length, stride), _rows(read, text, length)):
            logits = read(np.stack([text[one.start : one.start + one.read] for one in batch]))
            for one, own in zip(batch, logits, strict=True):
                place = slice(one.start + one.read - one.scored, one.start + one.read)
                scored[place] = surprise(own[-one.scored :], text[place.start + 1 : place.stop + 1])
            bar.advance(sum(one.scored for one in batch))
    return figures(scored, size, length, stride)


def of_text(
    read: Read,
    tokenizer: Tokenizer,
    tokens: NDArray[np.integer],
    size: int,
    *,
    length: int,
    stride: int | None = None,
    progress: Progress | None = None,
) -> LanguageFigures:
    """`perplexity` of a text of `size` bytes with bits per byte, of its first `MOST` tokens where it is longer.

    Raises:
        UsageError: see `perplexity`.
    """
    unscored = len(tokenizer.spelled(tokens[:1].tolist()))
    if len(tokens) > MOST:
        tokens = tokens[:MOST]
        size = len(tokenizer.spelled(tokens.tolist()))
    return perplexity(read, tokens, length=length, stride=stride, size=max(1, size - unscored), progress=progress)


def surprise(logits: NDArray[np.floating], tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, vocabulary) logits and (n,) tokens → (n,) −log p of each, nats."""
    top = logits.max(axis=1, keepdims=True)
    total = np.exp(logits - top).sum(axis=1, dtype=np.float64)
    own = (logits[np.arange(len(tokens)), tokens] - top[:, 0]).astype(np.float64)
    found: NDArray[np.float64] = np.log(total) - own
    return found


@dataclass(frozen=True)
class Difference:
    """One model's NLL less another's on the same text, nats a token; below zero it is the better one."""

    mean: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end."""


def difference(own: Sequence[LanguageFigures], other: Sequence[LanguageFigures]) -> Difference | None:
    """How models trained alike differ from others on one text: `own[i]` and `other[i]` come from the same seed.

    The 95 % interval is for another training on another stretch of text, as `metrics.training_gain`'s is for samples:
    half of it is √(t² s² / seeds + t² v / blocks), s² the variance of the seeds' differences, v that of the stretches'
    differences averaged over the seeds, each with Student's t of its own degrees of freedom. From one seed it is over
    stretches alone: what another training gives, it can't say. None where the stretches are others, or fewer than two.
    """
    shapes = {(one.tokens, one.length, one.stride, len(one.blocks)) for one in (*own, *other)}
    if len(shapes) != 1 or min(len(one.blocks) for one in own) < 2:
        return None
    apart = np.array([one.blocks for one in own]) - np.array([one.blocks for one in other])
    seeds, blocks = apart.shape
    means, over = np.array([a.nll for a in own], float) - np.array([b.nll for b in other], float), apart.mean(axis=0)
    half = student_t(blocks - 1) ** 2 * over.var(ddof=1) / blocks
    if seeds > 1:
        half += student_t(seeds - 1) ** 2 * means.var(ddof=1) / seeds
    middle, half = float(means.mean()), math.sqrt(half)
    return Difference(mean=middle, low=middle - half, high=middle + half) if math.isfinite(middle + half) else None


@dataclass(frozen=True)
class _Span:
    """A window's place."""

    start: int
    read: int
    """Tokens that are read from there."""
    scored: int
    """Of what follows each of these, the last so many are scored."""


def _spans(count: int, length: int, stride: int) -> Iterator[_Span]:
    """Windows over `count` tokens that something follows; the last one ends with them."""
    done, start = 0, 0
    while done < count:
        end = min(start + length, count)
        yield _Span(start, end - start, end - done)
        done, start = end, start + stride


def _batches(spans: Iterator[_Span], rows: int) -> Iterator[list[_Span]]:
    """Windows of one length, at most so many at a time."""
    batch: list[_Span] = []
    for span in spans:
        if batch and (len(batch) == rows or span.read != batch[0].read):
            yield batch
            batch = []
        batch.append(span)
    yield batch


def _rows(read: Read, text: NDArray[np.int64], length: int) -> int:
    """Windows that are read at once."""
    vocabulary = int(read(text[None, :1]).shape[2])
    return max(1, ROOM // (4 * length * vocabulary))


def figures(
    scored: NDArray[np.float64], size: int | None, length: int, stride: int, *, masked: bool = False
) -> LanguageFigures:
    """Of (tokens,) surprises in the order of the text, nats."""
    total, count = float(scored.sum()), len(scored)
    with np.errstate(over="ignore"):
        nll, exponential = total / count, float(np.exp(total / count))
    known = math.isfinite(nll)
    parts = np.array_split(scored, min(BLOCKS, max(1, count // SHORTEST)))
    return LanguageFigures(
        nll=nll if known else None,
        perplexity=exponential if math.isfinite(exponential) else None,
        bits_per_byte=total / math.log(2) / size if size and known else None,
        tokens=count, bytes=size, length=length, stride=stride,
        blocks=[float(part.mean()) for part in parts] if known else [], masked=masked,
    )  # fmt: skip
