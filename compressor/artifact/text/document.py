"""What is written down of a text that a language model wrote on."""

from __future__ import annotations

from compressor.artifact.text.generation import Stop
from compressor.document import Document


class Continuation(Document):
    """What `compress generate` gives."""

    prompt: str
    """As it was given."""
    text: str
    """What follows it."""
    prompt_tokens: int
    """Tokens of the prompt."""
    tokens: int
    """Tokens of the text."""
    stopped: Stop
    """`end`: the model ended the text; `tokens`: as many as were asked for; `positions`: no room for more."""
    positions: int
    """Tokens that the model can read, the prompt's among them."""
    temperature: float
    """0: the most probable token each time."""
    top_k: int | None = None
    """Drawn among so many tokens; null: all."""
    top_p: float | None = None
    """Drawn among the fewest tokens that hold this much of the probability; null: all."""
    seed: int | None = None
    """Of the draws; null where none was made."""
    seconds: float
    """From the prompt to the last token, without loading the file."""
