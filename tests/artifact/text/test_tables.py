"""The tables of characters say what the `tokenizers` library says, for every code point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import Regex
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, Split

from compressor.artifact.text import tables

CODES = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]


def normalised(**on: bool) -> Callable[[str], str]:
    off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
    made = BertNormalizer(**(off | on))
    return lambda text: str(made.normalize_str(text))


@pytest.mark.slow
def test_every_code_point_is_of_the_librarys_kind() -> None:
    clean, strip = normalised(clean_text=True), normalised(strip_accents=True)
    words, letter, number = BertPreTokenizer(), Split(Regex(r"\p{L}"), "isolated"), Split(Regex(r"\p{N}"), "isolated")
    kinds: dict[Any, Callable[[str], bool]] = {
        tables.CONTROL: lambda c: clean(f"a{c}b") == "ab",
        tables.MARK: lambda c: strip(c) == "",
        tables.PUNCTUATION: lambda c: len(words.pre_tokenize_str(f"a{c}b")) == 3,
        tables.LETTER: lambda c: len(letter.pre_tokenize_str(f"\1{c}\1")) == 3,
        tables.NUMBER: lambda c: len(number.pre_tokenize_str(f"\1{c}\1")) == 3,
    }
    for table, said in kinds.items():
        ours = {code for low, high in tables.ranges(table) for code in range(low, high + 1)}
        assert ours - set(range(0xD800, 0xE000)) == {code for code in CODES if said(chr(code))}


@pytest.mark.slow
def test_every_letter_gets_the_librarys_lower_case() -> None:
    lower = normalised(lowercase=True)
    for code in CODES:
        assert chr(tables.LOWER.get(code, code)).lower() == lower(chr(code)), hex(code)
