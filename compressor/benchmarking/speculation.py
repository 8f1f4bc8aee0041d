"""What a draft is worth to its target: acceptance, identical text, and speed, side by side on the same prompts. No torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from compressor.artifact.text import speculation
from compressor.artifact.text.language import Logits, Reader
from compressor.artifact.text.speculation import Draft, Lookup, ModelDraft, Told
from compressor.benchmarking import compare
from compressor.benchmarking.drafts import Difference, Drafting, Speculation
from compressor.progress import Progress, track

TIE = 1e-4
"""Two logits that are closer, as a share of the largest one's size, are told apart by float noise: passes over several
tokens add up in another order than a pass over one."""

NAMES = ("alone", "draft", "n-gram")


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What a text begins with."""

    shown: str
    ids: list[int]


@dataclass(frozen=True, kw_only=True)
class Timed:
    """A text that was written, and how long that took."""

    told: Told
    seconds: float


def measure(
    target: Reader,
    draft: Reader,
    prompts: Sequence[Prompt],
    *,
    guesses: int,
    limit: int,
    end: int | None,
    progress: Progress,
    clock: Callable[[], float] = time.perf_counter,
) -> Speculation:
    """Every prompt three times in turn: by the target alone, with its draft, and with an n-gram draft.

    Who is first changes from prompt to prompt. One text of each is written before, untimed.
    """
    drafts: dict[str, Draft | None] = {"alone": None, "draft": ModelDraft(draft), "n-gram": Lookup()}

    def written(name: str, prompt: Prompt) -> Timed:
        if name == "draft":
            draft.cut(0)
        start = clock()
        told = speculation.write(target, drafts[name], prompt.ids, guesses=guesses, limit=limit, end=end)
        return Timed(told=told, seconds=clock() - start)

    for name in NAMES:
        written(name, prompts[0])
    found: dict[str, list[Timed]] = {name: [] for name in NAMES}
    differences: list[Difference] = []
    for number, prompt in enumerate(track(progress, prompts, label="writing", total=len(prompts))):
        turn = number % len(NAMES)
        for name in (*NAMES[turn:], *NAMES[:turn]):
            found[name].append(written(name, prompt))
        own = found["alone"][-1].told.ids
        for name in NAMES[1:]:
            other = found[name][-1].told.ids
            if other != own:
                differences.append(_difference(target, prompt, name, own, other, end))
    return Speculation(
        prompts=len(prompts), guesses=guesses, max_tokens=limit, tokens=sum(len(t.told.ids) for t in found["alone"]),
        tokens_per_second=_speed(found["alone"]), differences=differences,
        identical=len(prompts) - len({d.prompt for d in differences if d.by == "draft"}),
        draft=_drafting(found["alone"], found["draft"]), n_gram=_drafting(found["alone"], found["n-gram"]),
    )  # fmt: skip


def _drafting(alone: list[Timed], other: list[Timed]) -> Drafting:
    passes = sum(t.told.passes for t in other)
    drafted, accepted = sum(t.told.drafted for t in other), sum(t.told.accepted for t in other)
    each = [_per_token(t) for t in alone], [_per_token(t) for t in other]
    ratio = compare.of_processes(*each, paired=True)
    return Drafting(
        drafted=drafted, accepted=accepted, passes=passes, acceptance=accepted / drafted if drafted else None,
        tokens_per_pass=sum(len(t.told.ids) for t in other) / passes, tokens_per_second=_speed(other),
        ratio=ratio.value, low=ratio.low, high=ratio.high, verdict=ratio.verdict,
    )  # fmt: skip


def _per_token(timed: Timed) -> float:
    """Seconds for a token; a text that ends at once took its one pass."""
    return max(timed.seconds, 1e-9) / max(1, len(timed.told.ids))


def _speed(texts: list[Timed]) -> float:
    return sum(len(t.told.ids) for t in texts) / max(sum(t.seconds for t in texts), 1e-9)


def _difference(
    target: Reader, prompt: Prompt, by: str, own: list[int], other: list[int], end: int | None
) -> Difference:
    """Where two texts part, and how close the target's two logits are there, one token read at a time."""
    place = speculation.common(own, other)
    a, b = (ids[place] if place < len(ids) else end for ids in (own, other))
    target.cut(0)
    logits: Logits = target.read(prompt.ids)[-1]
    for token in own[:place]:
        logits = target.read([token])[-1]
    gap = None if a is None or b is None else float(abs(logits[a] - logits[b]))
    tie = gap is not None and gap <= TIE * float(np.abs(logits).max())
    return Difference(prompt=prompt.shown, by=by, token=place, alone=a, drafted=b, gap=gap, tie=tie)
