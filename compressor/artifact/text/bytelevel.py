"""Byte-level BPE as GPT-2's tokenizer does it: words by its pattern, their bytes merged in the order of the merges."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from compressor.artifact.text import tables

CACHED = 100_000
"""Words whose ids are kept."""

LONGEST_WORD = 100_000
"""Characters that are merged as one word; a longer one is cut there, where the library would go on for minutes."""

_L, _N, _S = tables.inside(tables.LETTER), tables.inside(tables.NUMBER), tables.SPACE
_TO = f"{{1,{LONGEST_WORD}}}"
_WORD = re.compile(
    f"'s|'t|'re|'ve|'m|'ll|'d| ?[{_L}]{_TO}| ?[{_N}]{_TO}| ?[^{_S}{_L}{_N}]{_TO}|[{_S}]{_TO}(?![^{_S}])|[{_S}]{_TO}",
)


def alphabet() -> dict[int, str]:
    """Byte → the character that stands for it: itself where it shows, else one from U+0100 on. GPT-2's table."""
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in shown]
    return {byte: chr(byte) for byte in shown} | {byte: chr(0x100 + i) for i, byte in enumerate(hidden)}


CHARACTERS = "".join(alphabet()[byte] for byte in range(256))
BYTES = {ord(character): byte for byte, character in enumerate(CHARACTERS)}


@dataclass(frozen=True, kw_only=True)
class ByteLevel:
    """Encodes what is no special token."""

    ids: dict[str, int]
    merges: dict[tuple[int, int], tuple[int, int]]
    """Two tokens → (rank, what they become)."""
    unknown: int | None
    """For a byte that the vocabulary lacks; None leaves it out, as the library does."""
    add_prefix_space: bool
    _cache: dict[str, tuple[int, ...]] = field(default_factory=dict, repr=False, compare=False)

    def words(self, text: str) -> Iterator[tuple[int, ...]]:
        """The ids of one word after the other; the text is read no further than asked for."""
        if self.add_prefix_space and text and not text.startswith(" "):
            text = " " + text
        cache = self._cache
        for match in _WORD.finditer(text):
            word = match.group()
            known = cache.get(word)
            if known is None:
                known = self._merged(word)
                if len(cache) >= CACHED:
                    cache.clear()
                if len(word) <= 100:
                    cache[word] = known
            yield known

    def _merged(self, word: str) -> tuple[int, ...]:
        """The lowest rank first, the leftmost of equal ones; a merge is looked at again when its turn comes."""
        given = (self.ids.get(CHARACTERS[byte], self.unknown) for byte in word.encode())
        symbols: list[int | None] = [number for number in given if number is not None]
        before, after = list(range(-1, len(symbols) - 1)), list(range(1, len(symbols) + 1))
        end, merges = len(symbols), self.merges
        queue: list[tuple[int, int, int]] = []

        def consider(left: int, right: int) -> None:
            found = merges.get((symbols[left], symbols[right]))  # type: ignore[arg-type]
            if found is not None:
                heapq.heappush(queue, (found[0], left, found[1]))

        for left in range(end - 1):
            consider(left, left + 1)
        while queue:
            rank, left, merged = heapq.heappop(queue)
            right = after[left]
            if symbols[left] is None or right >= end:
                continue
            if merges.get((symbols[left], symbols[right]), (rank, None))[1] != merged:  # type: ignore[arg-type]
                continue
            symbols[left], symbols[right] = merged, None
            after[left] = right = after[right]
            if right < end:
                before[right] = left
                consider(left, right)
            if before[left] >= 0:
                consider(before[left], left)
        return tuple(number for number in symbols if number is not None)


def bytes_of(tokens: Iterator[str]) -> bytes:
    """What tokens spell, which may begin or end within a character."""
    spelled = bytearray()
    for token in tokens:
        codes = [BYTES.get(ord(character)) for character in token]
        known = [code for code in codes if code is not None]
        spelled += bytes(known) if len(known) == len(codes) else token.encode()
    return bytes(spelled)
