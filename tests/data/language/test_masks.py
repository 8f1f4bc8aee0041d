"""Which tokens are hidden: by the seed alone, as many in each window, never the frame."""

from __future__ import annotations

import numpy as np
import pytest

from compressor.artifact.text.masked import MaskedPreprocessing, asked
from compressor.artifact.text.tokenizer import Tokenizer
from compressor.data.language.masks import masked, special, weights

FRAME = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOKENS = [*FRAME, *(f"w{i}" for i in range(195))]
TOKENIZER = Tokenizer(
    kind="wordpiece", vocabulary="\n".join(TOKENS), unknown="[UNK]", pad="[PAD]", first="[CLS]", last="[SEP]",
    mask="[MASK]", special={token: i for i, token in enumerate(FRAME)},
)  # fmt: skip
WORDS = ~special(TOKENIZER)


def window(length: int, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    ids = np.random.default_rng(seed).integers(5, 200, length, dtype=np.int32)
    ids[[0, -1]] = 2, 3
    return ids


@pytest.mark.parametrize("length", [8, 10, 33, 128, 512])
def test_every_window_has_as_many_questions_and_never_about_its_frame(length: int) -> None:
    ids = window(length)
    ids[3] = 1  # an unknown word
    for seed in range(50):
        found, labels = masked(ids, TOKENIZER, seed, words=WORDS)
        assert len(found.places) == len(labels) == asked(length) == max(1, round(0.15 * length))
        assert len(set(found.places)) == len(found.places)
        assert not {0, 3, length - 1} & set(found.places.tolist())
        assert np.array_equal(labels, ids[found.places])
        untouched = np.delete(np.arange(length), found.places)
        assert np.array_equal(found.ids[untouched], ids[untouched])


def test_the_seed_decides_and_nothing_else() -> None:
    ids = window(64)
    np.random.seed(1)
    first, again, other = (masked(ids, TOKENIZER, seed, words=WORDS)[0] for seed in (7, 7, 8))
    assert np.array_equal(first.ids, again.ids)
    assert np.array_equal(first.places, again.places)
    assert not np.array_equal(first.places, other.places)


def test_eight_of_ten_are_hidden_one_is_another_and_one_stays() -> None:
    kinds = np.zeros(3)
    for seed in range(600):
        ids = window(128, seed)
        found, labels = masked(ids, TOKENIZER, seed, words=WORDS)
        shown = found.ids[found.places]
        hidden, kept = shown == 4, shown == labels
        kinds += hidden.sum(), (~hidden & ~kept).sum(), kept.sum()
    assert kinds / kinds.sum() == pytest.approx([0.8, 0.1, 0.1], abs=0.012)


def test_places_are_spread_evenly_or_by_how_rare_a_word_is() -> None:
    ids = window(40)
    ids[1:-1] = np.where(np.arange(38) < 19, 5, 6)
    counts = np.zeros(200, dtype=np.int64)
    counts[5], counts[6] = 1000, 10
    found = {
        name: np.concatenate([masked(ids, TOKENIZER, s, words=WORDS, gladly=g)[1] for s in range(300)])
        for name, g in {"alike": None, "rare": weights(counts, 0.7)}.items()
    }
    assert (found["alike"] == 6).mean() == pytest.approx(0.5, abs=0.04)
    assert (found["rare"] == 6).mean() > 0.9


def test_a_window_with_too_few_words_is_asked_about_what_else_it_has() -> None:
    ids = np.full(40, 1, dtype=np.int32)
    ids[[0, 5, -1]] = 2, 9, 3
    found, labels = masked(ids, TOKENIZER, 0, words=WORDS)
    assert len(labels) == 6
    assert 5 in found.places
    assert not {0, 39} & set(found.places.tolist())


def test_a_tokenizer_that_can_hide_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no token for mask"):
        MaskedPreprocessing(tokenizer=TOKENIZER.model_copy(update={"mask": None}), length=16)
