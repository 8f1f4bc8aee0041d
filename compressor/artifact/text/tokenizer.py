"""A tokenizer as data that travels in cards and exported files: WordPiece, or byte-level BPE, in plain Python.

Its ids are those of the `tokenizers` library. `read.py` makes one of a Hugging Face folder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from compressor.artifact import preprocessing
from compressor.artifact.text import bytelevel
from compressor.artifact.text.bytelevel import ByteLevel
from compressor.artifact.text.wordpiece import WordPiece

MOST = 1_000_000
"""Tokens of a vocabulary."""

LONGEST = preprocessing.LONGEST - 1000
"""Characters of a tokenizer's JSON; what is around it has the rest."""

NAMED = ("unknown", "pad", "first", "last", "mask", "end")

_SURROGATE = re.compile("[\ud800-\udfff]")


class Tokenizer(BaseModel):
    """What turns a text into numbers. Lone surrogates, which the library can't take, count as U+FFFD."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    kind: Literal["wordpiece", "bytelevel"]
    vocabulary: str = Field(min_length=1)
    """Tokens in the order of their ids, a line each."""
    merges: str = ""
    """Byte-level BPE: two tokens a line, the most urgent first."""
    lowercase: bool = False
    strip_accents: bool | None = None
    """None: as `lowercase`."""
    split_chinese: bool = True
    special: dict[str, int] = {}
    """Tokens that are recognised where a text spells them."""
    unknown: str | None = None
    pad: str | None = None
    first: str | None = None
    """`[CLS]`."""
    last: str | None = None
    """`[SEP]`."""
    mask: str | None = None
    end: str | None = None
    """What ends a text of a language model."""
    add_prefix_space: bool = False
    """Byte-level BPE: a text begins as if a space stood before it."""

    @model_validator(mode="after")
    def _carried(self) -> Tokenizer:
        if (size := len(self.model_dump_json())) > LONGEST:
            raise ValueError(f"a tokenizer of {size:,} characters, and an exported file carries {LONGEST:,} at most")
        return self

    @model_validator(mode="after")
    def _sound(self) -> Tokenizer:
        tokens = self.vocabulary.split("\n")
        if len(tokens) > MOST:
            raise ValueError(f"a vocabulary of {len(tokens)} tokens, more than {MOST}")
        if "" in tokens:
            raise ValueError(f"the vocabulary has no token {tokens.index('')}")
        if len(self._ids) != len(tokens):
            twice = next(token for number, token in enumerate(tokens) if self._ids[token] != number)
            raise ValueError(f"the vocabulary has the token {twice[:60]!r} twice")
        for name in NAMED:
            token = getattr(self, name)
            if token is not None and token not in self._ids:
                raise ValueError(f"the vocabulary lacks the token {token[:60]!r} ({name})")
        for token, number in self.special.items():
            if self._ids.get(token) != number:
                raise ValueError(f"the special token {token[:60]!r} is not the vocabulary's token {number}")
        if self.kind == "wordpiece" and self.unknown is None:
            raise ValueError("a WordPiece tokenizer needs a token for unknown words")
        if self.kind == "bytelevel":
            self._ranks  # noqa: B018  # merges of what is no token are found now
        return self

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def size(self) -> int:
        """How many tokens there are; ids are below it."""
        return len(self._tokens)

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits, equal for tokenizers that are. Defaults are left out, so that a field may join."""
        data = self.model_dump_json(exclude_defaults=True).encode()
        return hashlib.blake2b(data, digest_size=8).hexdigest()

    def id_of(self, token: str) -> int | None:
        """The id of a token as the vocabulary spells it."""
        return self._ids.get(token)

    @property
    def unknown_id(self) -> int | None:
        """Of what no other token stands for."""
        return self._named(self.unknown)

    @property
    def pad_id(self) -> int:
        """What fills up; 0 where the vocabulary names none, as nothing looks at it."""
        return self._named(self.pad) or 0

    @property
    def first_id(self) -> int | None:
        """Of `[CLS]`."""
        return self._named(self.first)

    @property
    def last_id(self) -> int | None:
        """Of `[SEP]`."""
        return self._named(self.last)

    @property
    def mask_id(self) -> int | None:
        """Of `[MASK]`."""
        return self._named(self.mask)

    @property
    def end_id(self) -> int | None:
        """Of the end of a text."""
        return self._named(self.end)

    def ids(self, text: str, limit: int | None = None) -> list[int]:
        """The ids of a text, none added; with a `limit` the first ones, reading no more of the text than these need."""
        flat = (number for word in self.words(text) for number in word)
        return list(islice(flat, limit))

    def words(self, text: str) -> Iterator[tuple[int, ...]]:
        """The ids word by word; a special token is one."""
        if not text.isascii():
            text = _SURROGATE.sub("\ufffd", text)
        at = 0
        if self._specials is not None:
            for match in self._specials.finditer(text):
                yield from self._encoder.words(text[at : match.start()])
                yield (self.special[match.group()],)
                at = match.end()
        yield from self._encoder.words(text[at:] if at else text)

    def decode(self, ids: Sequence[int], *, special: bool = False) -> str:
        """The text that ids stand for, with special tokens where `special`; ids that are none are left out.

        WordPiece: words with a space between; byte-level BPE: the very bytes, U+FFFD for those that are no UTF-8.
        """
        if self.kind == "bytelevel":
            return self.spelled(ids, special=special).decode(errors="replace")
        kept = self._kept(ids, special)
        return "".join(token[2:] if token.startswith("##") else f" {token}" for token in kept).removeprefix(" ")

    def spelled(self, ids: Sequence[int], *, special: bool = False) -> bytes:
        """Byte-level BPE: the bytes that ids stand for; a text that is not over may end within a character."""
        return bytelevel.bytes_of(self._kept(ids, special))

    def _kept(self, ids: Sequence[int], special: bool) -> Iterator[str]:
        tokens = (self._tokens[number] for number in ids if 0 <= number < self.size)
        return (token for token in tokens if special or token not in self.special)

    def _named(self, token: str | None) -> int | None:
        return None if token is None else self._ids[token]

    @cached_property
    def _tokens(self) -> list[str]:
        return self.vocabulary.split("\n")

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self._tokens)}

    @cached_property
    def _ranks(self) -> dict[tuple[int, int], tuple[int, int]]:
        """Two tokens → (rank, what they become). Raises ValueError."""
        found = {}
        for rank, line in enumerate(self.merges.split("\n") if self.merges else ()):
            left, _, right = line.partition(" ")
            a, b, both = self._ids.get(left), self._ids.get(right), self._ids.get(left + right)
            if a is None or b is None or both is None:
                raise ValueError(f"the merge {line[:60]!r} is not of the vocabulary's tokens")
            found[a, b] = (rank, both)
        return found

    @cached_property
    def _specials(self) -> re.Pattern[str] | None:
        longest = sorted(filter(None, self.special), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest))) if longest else None

    @cached_property
    def _encoder(self) -> WordPiece | ByteLevel:
        if self.kind == "bytelevel":
            return ByteLevel(
                ids=self._ids, merges=self._ranks, unknown=self.unknown_id, add_prefix_space=self.add_prefix_space
            )
        assert self.unknown_id is not None
        return WordPiece(
            begins={token: number for token, number in self._ids.items() if not token.startswith("##")},
            continues={token[2:]: number for token, number in self._ids.items() if token.startswith("##")},
            unknown=self.unknown_id,
            lowercase=self.lowercase,
            strip_accents=self.lowercase if self.strip_accents is None else self.strip_accents,
            split_chinese=self.split_chinese,
        )
