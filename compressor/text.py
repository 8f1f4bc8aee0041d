"""Text that comes from elsewhere (file names, class names, messages), made safe for where it goes.

One function per place: `clean` for a terminal, `markdown` for Markdown, `redacted` where secrets must not stay,
`as_bytes` for fingerprints. HTML is escaped by jinja and `html.escape`, after `clean`.
"""

from __future__ import annotations

import os
import re

JOINERS = "\u200c\u200d"
"""Invisible and meant: Persian spelling needs the one, emoji of several people the other."""

_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN")
_SECRET = re.compile(r"\bhf_[A-Za-z0-9]{16,}|(?<=Bearer )[^\s,'\"]+|(?<=://)[^\s/@:]+:[^\s/@]+(?=@)")


def plain(text: str) -> bool:
    """Whether it shows as what it is: no control character, none that turns the direction, no part of a damaged name."""
    return text.isprintable() or all(c.isprintable() or c in JOINERS for c in text)


def clean(text: str, *, keep: str = "\n\t") -> str:
    """`text` with what a terminal would obey or can't show written out (`\\x1b`, `\\u202e`), and without secrets.

    Bytes of a file name that are no UTF-8 show as `\\xe9`. `keep` are characters that stay.
    """
    text = redacted(text)
    return text if plain(text) else "".join(c if plain(c) or c in keep else _written(c) for c in text)


def line(text: object) -> str:
    """A name as a part of a line: as `clean`, and it does not begin another one."""
    return clean(str(text), keep="")


def _written(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries a byte that is no UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def markdown(text: str) -> str:
    """`text` as itself within a line of Markdown: no tag, link, picture or cell of its own."""
    text = line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\|\[\]])", r"\\\1", text)


def redacted(text: str) -> str:
    """`text` without access tokens: the environment's, and whatever looks like one."""
    for name in _TOKENS:
        if len(own := os.environ.get(name, "").strip()) >= 8:
            text = text.replace(own, "***")
    return _SECRET.sub("***", text)


def as_bytes(text: str) -> bytes:
    """UTF-8, also of a file name that is none: what it was made of goes through as it is."""
    return text.encode("utf-8", "surrogatepass")
