"""WordPiece as BERT's tokenizers do it: clean, split into words, take the longest known piece first."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

from compressor.artifact.text import tables

LONGEST_WORD = 100
"""Characters of a word; a longer one is unknown."""

CACHED = 100_000
"""Words whose ids are kept."""

SHORT = 500
"""Characters between two white spaces that are looked up at once; what is longer is cut into words as it is needed."""

_GAP = "\t\n\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # white space that is no control character
_CHUNK = re.compile(f"[^{_GAP}]+")
_CONTROL = re.compile(f"[{tables.inside(tables.CONTROL)}]+")
_HAN = re.compile(f"[{tables.HAN}]")
_MARK = re.compile(f"[{tables.inside(tables.MARK)}]+")
_WHOLE = re.compile(f"([{tables.WHOLE}]+)")
_PUNCTUATION = tables.inside(tables.PUNCTUATION)
_WORD = re.compile(f"[{_PUNCTUATION}]|[^{_PUNCTUATION} ]+")


@dataclass(frozen=True, kw_only=True)
class WordPiece:
    """Encodes what is no special token."""

    begins: dict[str, int]
    """Pieces that begin a word."""
    continues: dict[str, int]
    """Pieces that continue one, without `##`."""
    unknown: int
    lowercase: bool
    strip_accents: bool
    split_chinese: bool
    _cache: dict[str, tuple[int, ...]] = field(default_factory=dict, repr=False, compare=False)

    def words(self, text: str) -> Iterator[tuple[int, ...]]:
        """The ids of one word, or of a few, after the other; the text is read no further than asked for."""
        cache = self._cache
        for match in _CHUNK.finditer(text):
            chunk = match.group()
            known = cache.get(chunk)
            if known is not None:
                yield known
            elif len(chunk) > SHORT:
                yield from (self._pieces(word) for word in self._split(chunk))
            else:
                if len(cache) >= CACHED:
                    cache.clear()
                ids = tuple(number for word in self._split(chunk) for number in self._pieces(word))
                cache[chunk] = ids
                yield ids

    def _split(self, chunk: str) -> Iterator[str]:
        if chunk.isascii():
            chunk = _CONTROL.sub("", chunk)
            chunk = chunk.lower() if self.lowercase else chunk
        else:
            chunk = self._normalised(chunk)
        return (match.group() for match in _WORD.finditer(chunk))

    def _normalised(self, chunk: str) -> str:
        """In the library's order: a step sees what the one before left."""
        chunk = _CONTROL.sub("", chunk)
        if self.split_chinese:
            chunk = _HAN.sub(r" \g<0> ", chunk)
        if self.strip_accents:
            parts = _WHOLE.split(chunk)  # every second one is to stay whole
            parts[::2] = [unicodedata.normalize("NFD", part) for part in parts[::2]]
            chunk = _MARK.sub("", "".join(parts))
        if self.lowercase:
            # Letter by letter: Python alone knows that a sigma at a word's end is another one.
            chunk = chunk.translate(tables.LOWER).replace("Σ", "σ").lower()
        return chunk

    def _pieces(self, word: str) -> tuple[int, ...]:
        """The longest known piece first, from the left; a word with a rest that is none is unknown as a whole."""
        length = len(word)
        if length > LONGEST_WORD:
            return (self.unknown,)
        found, start, known = [], 0, self.begins
        while start < length:
            for end in range(length, start, -1):
                number = known.get(word[start:end])
                if number is not None:
                    break
            else:
                return (self.unknown,)
            found.append(number)
            start, known = end, self.continues
        return tuple(found)
