"""`generate`: a text written on, from the exported file alone. No torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compressor import runfolder
from compressor.artifact.text import language
from compressor.artifact.text.document import Continuation
from compressor.artifact.text.generation import Pick, Sampled, Spelling, Written, greedy, prompt_ids
from compressor.display import surroundings
from compressor.errors import UsageError
from compressor.options import within
from compressor.packages import require
from compressor.progress import Progress
from compressor.reporting import screen
from compressor.reporting.screen import Block, Shown
from compressor.seeds import leaves_no_trace

LARGEST_K = 1_000_000


@dataclass(frozen=True, kw_only=True)
class GenerateResult(Shown):
    """A text and what it took."""

    document: Continuation

    def blocks(self) -> list[Block]:
        """What was written."""
        return [self.document.text]

    @property
    def summary(self) -> str:
        """How it ended and how fast it was."""
        return screen.continuation(self.document)


@leaves_no_trace
def generate(
    model: str | Path,
    prompt: str,
    *,
    max_tokens: int = 64,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    provider: str = "cpu",
    threads: int | None = None,
    stream: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> GenerateResult:
    """Writes a prompt on, from the exported file alone, until the model ends the text or has no room for more.

    Args:
        model: an ONNX file, or the folder that it was exported in.
        prompt: what the text begins with; it is not in the answer.
        max_tokens: of the answer.
        temperature: 0 takes the most probable token each time; above it one is drawn, logits divided by it.
        top_k: draws among so many tokens, the most probable ones.
        top_p: draws among the fewest tokens that hold this much of the probability.
        seed: of the draws.
        stream: is given the text piece by piece, as soon as its characters are whole.

    Raises:
        UsageError: a number out of its range, or a prompt that is longer than the model can read.
        ArtifactError: the file holds no language model.
    """
    progress = progress or surroundings()
    within("max-tokens", max_tokens, 1, 1_000_000)
    pick = _pick(temperature, top_k, top_p, seed)
    if threads is not None:
        within("threads", threads, 1, 4096)
    require("onnxruntime")
    loaded = language.load(runfolder.exported(model), provider=provider, threads=threads)
    about = loaded.about
    ids = prompt_ids(prompt, about)
    start = time.perf_counter()
    found = Written(loaded.reader(), ids, limit=max_tokens, end=about.generation.end, pick=pick)
    spelling, pieces, count = Spelling(about.tokenizer), [], 0
    for count, token in enumerate(found, 1):  # noqa: B007  # read after the loop
        pieces.append(spelling.add(token))
        if stream and pieces[-1]:
            stream(pieces[-1])
    pieces.append(spelling.rest())
    if stream and pieces[-1]:
        stream(pieces[-1])
    seconds = time.perf_counter() - start
    assert found.stopped is not None
    document = Continuation(
        prompt=prompt, text="".join(pieces), prompt_tokens=len(ids), tokens=count, stopped=found.stopped,
        positions=about.generation.positions, temperature=temperature, top_k=top_k, top_p=top_p,
        seed=seed if temperature else None, seconds=seconds,
    )  # fmt: skip
    result = GenerateResult(document=document)
    progress.say(result.summary)
    return result


def _pick(temperature: float, top_k: int | None, top_p: float | None, seed: int) -> Pick:
    if not 0 <= temperature <= 100:
        raise UsageError(f"--temperature {temperature:g}: give a number (0 to 100)")
    if top_p is not None and not 0 < top_p <= 1:
        raise UsageError(f"--top-p {top_p:g}: give a share of the probability (above 0, at most 1)")
    if top_k is not None:
        within("top-k", top_k, 1, LARGEST_K)
    within("seed", seed, 0, 2**63 - 1)
    if temperature:
        return Sampled(rng=np.random.default_rng(seed), temperature=temperature, top_k=top_k, top_p=top_p)
    if top_k is not None or top_p is not None:
        raise UsageError(
            "--top-k and --top-p bound what is drawn, and nothing is at temperature 0: give --temperature 1"
        )
    return greedy
