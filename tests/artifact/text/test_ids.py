"""Our ids are the `tokenizers` library's, on whatever text."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers

from compressor.artifact.text.read import read
from compressor.artifact.text.tokenizer import Tokenizer
from tests.artifact.text import oracle
from tests.conftest import SHARED

MAKERS: dict[str, Callable[[], tokenizers.Tokenizer]] = {
    "uncased": lambda: oracle.wordpiece(lowercase=True),
    "cased": lambda: oracle.wordpiece(lowercase=False),
    "cased, no accents": lambda: oracle.wordpiece(lowercase=False, strip_accents=True, chinese=False),
    "uncased, accents": lambda: oracle.wordpiece(lowercase=True, strip_accents=False),
    "byte-level": lambda: oracle.bytelevel(prefix=False),
    "byte-level, prefixed": lambda: oracle.bytelevel(prefix=True),
}


@pytest.fixture(scope="module", params=MAKERS)
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tokenizer, tokenizers.Tokenizer]:
    """Ours, read from the library's file, and the library's."""
    theirs = MAKERS[request.param]()
    return read(oracle.saved(theirs, tmp_path_factory.mktemp("tokenizer"))), theirs


def agrees(ours: Tokenizer, theirs: tokenizers.Tokenizer, texts: list[str]) -> None:
    expected = theirs.encode_batch(texts, add_special_tokens=False)
    for text, known in zip(texts, expected, strict=True):
        found = ours.ids(text)
        assert found == known.ids, ascii(text)


def test_ids_are_the_librarys_on_strings_of_all_kinds(both: tuple[Tokenizer, tokenizers.Tokenizer]) -> None:
    agrees(*both, oracle.strings(1000))


@pytest.mark.slow
def test_ids_are_the_librarys_on_ten_thousand_strings(both: tuple[Tokenizer, tokenizers.Tokenizer]) -> None:
    agrees(*both, oracle.strings(10_000, seed=1))


def test_decoded_is_what_the_library_decodes(both: tuple[Tokenizer, tokenizers.Tokenizer]) -> None:
    ours, theirs = both
    for text in oracle.strings(300, seed=2):
        ids = theirs.encode(text, add_special_tokens=False).ids
        assert ours.decode(ids) == theirs.decode(ids), ascii(text)
        assert ours.decode(ids, special=True) == theirs.decode(ids, skip_special_tokens=False), ascii(text)


def test_bytes_that_are_no_text_decode_to_what_the_library_says(tmp_path: Path) -> None:
    theirs = oracle.bytelevel(prefix=False)
    ours = read(oracle.saved(theirs, tmp_path))
    ids = list(range(1, 257))
    for start in range(0, 250, 7):
        assert ours.decode(ids[start : start + 9]) == theirs.decode(ids[start : start + 9])


def test_the_first_ids_are_the_first_of_all(both: tuple[Tokenizer, tokenizers.Tokenizer]) -> None:
    ours, _ = both
    for text in oracle.strings(50, seed=3):
        assert ours.ids(text, 5) == ours.ids(text)[:5]


def test_a_lone_surrogate_counts_as_the_replacement_character(both: tuple[Tokenizer, tokenizers.Tokenizer]) -> None:
    ours, _ = both
    assert ours.ids("to\ud800p up \udfff") == ours.ids("to\ufffdp up \ufffd")


def test_merges_that_no_training_makes_give_the_librarys_ids(tmp_path: Path) -> None:
    """A pair may be more urgent than the merge that makes its part, and one token may come of two pairs."""
    vocabulary = {token: number for number, token in enumerate(["a", "b", "ab", "ba", "aba", "abab", "aa", "bab"])}
    merges = [("ab", "a"), ("a", "ba"), ("ab", "ab"), ("b", "a"), ("a", "b"), ("a", "a"), ("b", "ab"), ("ba", "b")]
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=merges))
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    ours = read(oracle.saved(theirs, tmp_path))
    words = [
        "".join("ab"[number >> bit & 1] for bit in range(length)) for length in range(9) for number in range(2**length)
    ]
    agrees(ours, theirs, [*words, "acab", "é ab"])


def real() -> dict[str, list[str]]:
    """The texts of the data sets that lie beside the repository."""
    folder, found = SHARED / "data" / "text", {}
    for path in sorted(folder.glob("banking77/*.csv")):
        with path.open(newline="", encoding="utf-8") as handle:
            found[path.parent.name + path.stem] = [row[0] for row in csv.reader(handle)]
    for path in folder.glob("clinc150/*.json"):
        splits = json.loads(path.read_text(encoding="utf-8"))
        found["clinc150"] = [text for split in splits.values() for text, _ in split]
    for path in [*folder.glob("tinyshakespeare/*.txt"), *folder.glob("war-and-peace/*.txt")]:
        found[path.parent.name] = [path.read_text(encoding="utf-8"), *path.read_text(encoding="utf-8").split("\n")]
    return found


@pytest.mark.slow
def test_ids_are_the_librarys_on_every_real_text(tmp_path: Path) -> None:
    """COMPRESS_TEST_ENCODER names a Hugging Face folder with a tokenizer, such as all-MiniLM-L6-v2's."""
    texts = real()
    if not texts:
        pytest.skip("no texts at ../shared/data/text")
    folders = [oracle.saved(MAKERS[name](), tmp_path / name) for name in ("uncased", "byte-level")]
    if named := os.environ.get("COMPRESS_TEST_ENCODER"):
        folders.append(Path(named))
    for folder in folders:
        theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        theirs.no_padding()
        theirs.no_truncation()
        for some in texts.values():
            agrees(read(folder), theirs, some)
