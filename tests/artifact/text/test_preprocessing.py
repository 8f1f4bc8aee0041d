"""Texts framed, cut and padded as the `tokenizers` library does it, and fed to graphs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from pydantic import ValidationError

from compressor.artifact.preprocessing import GraphInput
from compressor.artifact.text.preprocessing import NAMES, TextPreprocessing
from compressor.artifact.text.read import read
from compressor.artifact.text.tokenizer import Tokenizer
from tests.artifact.text import oracle

THEIRS = oracle.wordpiece(lowercase=True)
"""Made once: two trainings break ties differently."""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return read(oracle.saved(THEIRS, tmp_path_factory.mktemp("tokenizer")))


def graph(*names: str, length: int | str = "length") -> list[GraphInput]:
    return [GraphInput(name=name, shape=("batch", length), type="tensor(int64)") for name in names]


def agrees(tokenizer: Tokenizer, things: list[Any], max_length: int) -> None:
    theirs = tokenizers.Tokenizer.from_str(THEIRS.to_str())
    theirs.enable_truncation(max_length)
    theirs.enable_padding(length=max_length, pad_id=0, pad_token="[PAD]")
    ours = TextPreprocessing(tokenizer=tokenizer, max_length=max_length, pair=True).encode(things)
    for row, known in enumerate(theirs.encode_batch(things)):
        assert ours["input_ids"][row].tolist() == known.ids, things[row]
        assert ours["attention_mask"][row].tolist() == known.attention_mask
        assert ours["token_type_ids"][row].tolist() == known.type_ids


@pytest.mark.parametrize("max_length", [4, 5, 8, 13, 64])
def test_texts_and_pairs_are_cut_and_padded_as_the_library_does_it(tokenizer: Tokenizer, max_length: int) -> None:
    texts = oracle.strings(300, seed=max_length)
    agrees(tokenizer, texts, max_length)
    agrees(tokenizer, list(zip(texts, reversed(texts), strict=True)), max_length)


def test_of_two_long_texts_the_longer_has_the_odd_token(tokenizer: Tokenizer) -> None:
    one, two = "a " * 300, "b " * 301
    agrees(tokenizer, [(one, two), (two, one), (one, one)], 64)


def test_arrays_have_one_width_and_small_types(tokenizer: Tokenizer) -> None:
    inputs = TextPreprocessing(tokenizer=tokenizer, max_length=16).encode(["the dog", ""])
    assert {name: (array.shape, str(array.dtype)) for name, array in inputs.items()} == {
        "input_ids": ((2, 16), "int32"), "attention_mask": ((2, 16), "uint8"), "token_type_ids": ((2, 16), "uint8"),
    }  # fmt: skip


def test_a_plain_frame_adds_nothing(tmp_path: Path) -> None:
    made = oracle.bytelevel(prefix=False)
    ours = TextPreprocessing(tokenizer=read(oracle.saved(made, tmp_path)), max_length=8, frame="plain")
    inputs = ours.encode(["the fox"])
    assert inputs["input_ids"][0, : inputs["attention_mask"].sum()].tolist() == made.encode("the fox").ids
    with pytest.raises(ValidationError, match="no tokens to frame"):
        TextPreprocessing(tokenizer=ours.tokenizer, max_length=8)


def test_a_graph_of_any_length_sees_the_longest_sample_of_the_batch(tokenizer: Tokenizer) -> None:
    ours = TextPreprocessing(tokenizer=tokenizer, max_length=64)
    inputs = ours.encode(["the", "the lazy dog"])
    mask, ids = ours.feed(inputs, graph("attention_mask", "input_ids"))
    width = inputs["attention_mask"].sum(axis=1).max()
    assert ids.shape == mask.shape == (2, width)
    assert ids.dtype == np.int64
    assert np.array_equal(ids, inputs["input_ids"][:, :width])
    assert np.array_equal(mask, inputs["attention_mask"][:, :width])
    assert ours.trimmed(inputs)["input_ids"].shape == (2, width)


def test_a_graph_of_one_length_is_filled_with_padding(tokenizer: Tokenizer) -> None:
    ours = TextPreprocessing(tokenizer=tokenizer.model_copy(update={"pad": "[MASK]"}), max_length=8)
    (ids,) = ours.feed(ours.encode(["the"]), graph("input_ids", length=12))
    assert ids.shape == (1, 12)
    assert ids[0, -4:].tolist() == [tokenizer.mask_id] * 4


def test_noise_is_of_the_vocabulary_and_no_padding(tokenizer: Tokenizer) -> None:
    ours = TextPreprocessing(tokenizer=tokenizer, max_length=64)
    for entries, width in ((graph(*NAMES), 64), (graph(*NAMES, length=10), 10)):
        ids, mask, types = ours.example(3, entries)
        assert ids.shape == mask.shape == types.shape == (3, width)
        assert 0 <= ids.min() <= ids.max() < tokenizer.size
        assert mask.all()
        assert not types.any()
    assert ours.example(2, graph("input_ids"), 32)[0].shape == (2, 32)


def test_a_graph_that_takes_other_things_contradicts(tokenizer: Tokenizer) -> None:
    ours = TextPreprocessing(tokenizer=tokenizer, max_length=16)
    assert ours.contradiction(graph(*NAMES)) is None
    assert ours.contradiction(graph("input_ids", length=16)) is None
    assert "16 tokens, where its graph has 8" in str(ours.contradiction(graph("input_ids", length=8)))
    assert "pixels" in str(ours.contradiction(graph("pixels")))


def test_it_survives_a_document_and_its_keys_are_short(tokenizer: Tokenizer) -> None:
    ours = TextPreprocessing(tokenizer=tokenizer, max_length=16)
    again = TextPreprocessing.model_validate_json(ours.model_dump_json())
    assert again == ours
    assert hash(again) == hash(ours)
    assert again.encoding == ours.encoding
    assert len(ours.encoding) < 80
    assert len(tokenizer.digest) == 16
    other = ours.model_copy(update={"max_length": 32})
    cased = ours.model_copy(update={"tokenizer": Tokenizer(**tokenizer.model_dump(exclude={"lowercase"}))})
    assert len({ours.view_key, other.view_key, cased.view_key}) == 3


HOSTILE = {
    "ten million letters": "a" * 10_000_000,
    "ten million marks of punctuation": "!" * 10_000_000,
    "ten million Chinese characters": "天" * 10_000_000,
    "ten million spaces": " " * 10_000_000,
    "a line of words": "the lazy dog " * 800_000,
    "control characters": "\0\x1b[31m\ufffd" * 1000,
    "marks that turn the direction": "\u202eabc\u202d" * 1000,
    "lone surrogates": "\ud800\udfff" * 1000,
    "accents on one letter": "e" + "\u0301" * 100_000,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_end_in_an_answer_soon(tokenizer: Tokenizer, name: str) -> None:
    start = time.process_time()
    inputs = TextPreprocessing(tokenizer=tokenizer, max_length=16).encode([HOSTILE[name]])
    assert inputs["input_ids"][0, 0] == tokenizer.first_id
    assert time.process_time() - start < 10


@pytest.mark.slow
def test_a_long_word_of_bytes_ends_soon(tmp_path: Path) -> None:
    ours = read(oracle.saved(oracle.bytelevel(prefix=False), tmp_path))
    start = time.process_time()
    assert len(ours.ids("the" * 1_000_000, 16)) == 16
    assert time.process_time() - start < 10
