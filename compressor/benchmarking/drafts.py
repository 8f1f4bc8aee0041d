"""The document of `compress speculate`: a target alone, with a draft, and with n-grams."""

from __future__ import annotations

from compressor.benchmarking import compare
from compressor.document import Document
from compressor.runnote import Host


class Drafting(Document):
    """What one way of guessing came to, over all prompts."""

    drafted: int
    """Tokens that were guessed."""
    accepted: int
    """Those of them that the target itself took."""
    acceptance: float | None
    """accepted / drafted; null where nothing was guessed."""
    passes: int
    """Of the target, those over the prompts among them."""
    tokens_per_pass: float
    """Tokens written per pass of the target."""
    tokens_per_second: float
    """From the prompt to the last token."""
    ratio: float
    """Time per token over that of the target alone: geometric mean over prompts; below 1 is faster."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    """Upper end."""
    verdict: compare.Verdict
    """By the rule of `compress benchmark`, with prompts in the place of processes."""


class Difference(Document):
    """Where a text written with guesses is another one than the target's own."""

    prompt: str
    """File and line, or how it begins."""
    by: str
    """`draft` or `n-gram`."""
    token: int
    """The first token that differs, counted from 0 behind the prompt."""
    alone: int | None
    """The token there of the target alone; null where its text has ended."""
    drafted: int | None
    """The token there of the other text."""
    gap: float | None
    """How far the target's logits of the two are apart; null where one is the end of a text and none is known."""
    tie: bool
    """Whether that is float noise between passes over one token and over several; else it is a fault."""


class Speculation(Document):
    """What `compress speculate` measured: greedy speculative decoding against the target alone, on the same prompts."""

    target: str = ""
    """The file."""
    drafted_by: str = ""
    """The draft's file."""
    prompts: int
    """How many texts were written, each by all three in turn."""
    guesses: int
    """Tokens that are guessed at a time."""
    max_tokens: int
    """Tokens of a text, at most."""
    threads: int | None = None
    """onnxruntime's threads; null: it chose."""
    tokens: int
    """Written by the target alone, over all prompts."""
    tokens_per_second: float
    """Of the target alone, from the prompt to the last token."""
    identical: int
    """Prompts whose text with the draft is the target's own, token by token."""
    draft: Drafting
    """With the draft."""
    n_gram: Drafting
    """With no model: what followed the text's last tokens before (prompt lookup), the control."""
    differences: list[Difference] = []
    """Texts that are others than the target's own."""
    host: Host | None = None
    """Where this was measured."""
