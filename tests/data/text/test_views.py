"""Views of texts: what is hidden, that it repeats, and that no text is taken apart twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from compressor.artifact.preprocessing import Inputs, Preprocessing
from compressor.data.dataset import Dataset
from compressor.data.kind import kind_of
from compressor.data.text.kind import TEXTS
from compressor.data.text.setup import Kept
from compressor.data.text.views import masked
from compressor.errors import UsageError
from tests.data.text.conftest import SPECIAL, Encoding, Load, Pieces, numbered, table

MASK = 4


def view(dataset: Dataset, sample: int, number: int, encoding: Encoding) -> Inputs:
    return kind_of("text").view(dataset, (sample, number), cast(Preprocessing, encoding))


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    rows = [(f"abc defg h {text} zyx", label) for text, label in numbered(40)]
    return table(tmp_path / "x.csv", rows)


def test_without_a_mask_a_view_is_the_text_and_there_is_one(texts: Path, load: Load) -> None:
    dataset, encoding = load(texts), Encoding()
    plain = encoding.encode([dataset.read(3)])
    for number in (0, 1):
        found = view(dataset, 3, number, encoding)
        assert all((found[name] == plain[name][0]).all() for name in plain)
    assert TEXTS.distinct_views(dataset) == 1
    assert TEXTS.distinct_views(load(texts, options={"mask": 0.2})) is None


def test_views_repeat_and_differ_by_number_sample_and_seed(texts: Path, load: Load) -> None:
    dataset, encoding = load(texts, options={"mask": 0.4}), Encoding(64)

    def drawn(data: Dataset, sample: int, number: int) -> bytes:
        return cast(bytes, (view(data, sample, number, encoding)["input_ids"] == MASK).tobytes())

    first = drawn(dataset, 0, 0)
    assert drawn(load(texts, options={"mask": 0.4}), 0, 0) == first == drawn(dataset, 0, 0)
    assert len({drawn(dataset, 0, number) for number in range(8)}) > 4
    assert len({drawn(dataset, sample, 0) for sample in range(8)}) > 4
    assert drawn(load(texts, options={"mask": 0.4}, seed=1), 0, 0) != first


def test_whole_words_are_hidden_as_often_as_asked_and_specials_never(texts: Path, load: Load) -> None:
    dataset, encoding = load(texts, options={"mask": 0.3}), Encoding(64)
    hidden = words = 0
    for number in range(40):
        for sample in range(10):
            plain = encoding.encode([dataset.read(sample)])["input_ids"][0]
            found = view(dataset, sample, number, encoding)["input_ids"]
            masked = found == MASK
            assert (found[~masked] == plain[~masked]).all()
            assert not masked[plain < 5].any()
            begins = (plain >= 5) & (plain < 5 + 26)
            word = np.cumsum(begins)
            of_words = [masked[(word == w) & (plain >= 5)] for w in range(1, word.max() + 1)]
            assert all(part.all() or not part.any() for part in of_words)
            hidden, words = hidden + sum(bool(part.all()) for part in of_words), words + len(of_words)
    assert abs(hidden / words - 0.3) < 0.03


def test_a_text_is_taken_apart_once_and_what_is_kept_is_bounded(texts: Path, load: Load) -> None:
    dataset, encoding = load(texts, options={"mask": 0.3}), Encoding()
    for number in range(5):
        for sample in (0, 1):
            view(dataset, sample, number, encoding)["input_ids"][:] = 0  # a view is the caller's own
    assert encoding.calls == 2
    assert dataset.setup.kept.bytes > 0
    full = Kept(most=10)
    plain = {name: array[0] for name, array in encoding.encode(["abc def"]).items()}
    assert all((full.encoded("k", 0, lambda: plain)[name] == plain[name]).all() for name in plain)
    assert full.bytes == 0


def test_a_tokenizer_without_a_mask_is_refused(texts: Path, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, encoding = load(texts, options={"mask": 0.3}), Encoding()
    monkeypatch.setattr(encoding.tokenizer, "mask_id", None)
    with pytest.raises(UsageError, match="has no mask token"):
        view(dataset, 0, 0, encoding)


def test_byte_level_words_begin_where_a_space_does() -> None:
    tokenizer = Pieces()
    tokenizer.kind = "bytelevel"
    tokenizer.vocabulary = "\n".join([*SPECIAL, "He", "llo", "Ġthe", "re", "Ċ"])
    ids = np.array([2, 5, 6, 7, 8, 9, 5, 3, 0])  # Hello there \n He
    words = [[1, 2], [3, 4], [5, 6]]
    seen = set()
    for seed in range(40):
        hidden = masked(ids, (ids > 0).astype(np.uint8), tokenizer, 0.5, seed) == MASK
        assert all(len(set(hidden[word])) == 1 for word in words)
        assert not hidden[[0, 7, 8]].any()
        seen.add(tuple(bool(hidden[word[0]]) for word in words))
    assert len(seen) == 8


def test_both_texts_of_a_pair_lose_words(tmp_path: Path, load: Load) -> None:
    rows = [(f"one {text}", f"two {text}", label) for text, label in numbered(40)]
    dataset = load(table(tmp_path / "x.csv", rows, "premise,hypothesis,label"), options={"mask": 0.9})
    found = view(dataset, 0, 0, Encoding(64))["input_ids"]
    middle = int(np.flatnonzero(found == 3)[0])
    assert (found[:middle] == MASK).any()
    assert (found[middle:] == MASK).any()
    shown = TEXTS.exhibit(dataset, 0, tmp_path / "x")["text"]
    assert shown == "one text number 0 says so | two text number 0 says so"


def test_an_exhibit_is_one_short_line(tmp_path: Path, load: Load) -> None:
    dataset = load(table(tmp_path / "x.csv", [("word\x1b " * 200, "good"), *numbered(40)]))
    text = TEXTS.exhibit(dataset, 0, tmp_path / "x")["text"]
    assert "\x1b" not in text
    assert text.endswith("…")


def test_labels_and_what_views_depend_on(texts: Path, load: Load) -> None:
    dataset = load(texts, options={"mask": 0.3})
    items: list[Any] = [(0, 0), (1, 5), (0, 1)]
    assert TEXTS.labels(dataset, items)["label"].tolist() == [1, 0, 1]
    assert TEXTS.views_depend_on(dataset) != TEXTS.views_depend_on(load(texts))
    with pytest.raises(UsageError, match="no size in pixels"):
        TEXTS.resized(dataset, 64)
