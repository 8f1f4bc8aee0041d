"""A corpus as windows of masked words: as many rows each, drawn by seed, sample and view alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compressor.artifact.text.masked import MaskedPreprocessing, asked
from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset
from compressor.data.kind import kind_of
from compressor.data.language.tokens import trained
from compressor.data.load import load_dataset
from compressor.errors import DataError
from compressor.progress import Silent
from tests.data.language.corpora import prose, write
from tests.models.text import gpt2s

LENGTH = 20


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("masked") / "corpus.txt", 6000)


def read(corpus: Path, *, seed: int = 0, **options: object) -> Dataset:
    given = {"length": LENGTH, "vocabulary": 300} | options
    return load_dataset(DataConfig(source=str(corpus), task="mlm", seed=seed, options=given))


def test_a_window_is_framed_and_its_labels_are_what_stood_there(corpus: Path) -> None:
    dataset = read(corpus)
    tokenizer = dataset.setup.tokenizer
    assert dataset.rows == asked(LENGTH) == 3
    assert (dataset.modality, dataset.classes[:5]) == ("masked", ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    for split in ("train", "validation", "test"):
        sample = int(dataset.splits[split][1])
        window = dataset.read(sample)
        assert (len(window.ids), window.ids[0], window.ids[-1]) == (LENGTH, tokenizer.first_id, tokenizer.last_id)
        restored = window.ids.copy()
        restored[window.places] = dataset.labels[sample]
        text = tokenizer.decode(restored[1:-1].tolist())
        assert text.replace(" .", ".") in " ".join(prose(6000).split()), "as it stands in the corpus"


def test_views_are_drawn_by_seed_sample_and_number_and_evaluation_has_one_of_its_own(corpus: Path) -> None:
    dataset, again, other = read(corpus), read(corpus), read(corpus, seed=1)
    kind = kind_of("masked")
    preprocessing = MaskedPreprocessing(tokenizer=dataset.setup.tokenizer, length=LENGTH)
    for sample, number in ((0, 0), (3, 0), (3, 1), (3, 7)):
        views = [kind.view(data, (sample, number), preprocessing) for data in (dataset, again, other)]
        labels = [kind.labels(data, [(sample, number)])["label"] for data in (dataset, again, other)]
        assert all(np.array_equal(views[0][name], views[1][name]) for name in views[0])
        assert np.array_equal(labels[0], labels[1])
        assert not all(np.array_equal(views[0][name], views[2][name]) for name in views[0])
        assert views[0]["places"].shape == labels[0].shape == (3,)
    seen = preprocessing.encode([dataset.read(3)])
    trained_on = kind.view(dataset, (3, 0), preprocessing)
    assert not np.array_equal(seen["places"][0], trained_on["places"])


def test_no_token_of_one_split_is_shown_in_another(corpus: Path) -> None:
    """The tokens of all views of a split's windows are those of its own part of the text."""
    dataset = read(corpus)
    kind, setup = kind_of("masked"), dataset.setup
    stream = setup.corpus.stream("train")
    inner, last = LENGTH - 2, int(dataset.splits["train"][-1])
    for number in range(20):
        window, labels = setup.view(last, dataset.ids[last], 0, number)
        restored = window.ids.copy()
        restored[window.places] = labels
        assert any(
            np.array_equal(restored[1:-1], stream[i : i + inner]) for i in range(last * inner, len(stream) - inner)
        )
    assert kind.distinct_views(dataset) is None


def test_rare_words_are_asked_about_more_often_where_it_is_wished(corpus: Path) -> None:
    alike, rare = read(corpus), read(corpus, rare=2.0)
    stop = alike.setup.tokenizer.id_of(".")
    assert (alike.labels == stop).mean() > 0.05
    assert (rare.labels == stop).mean() < 0.5 * (alike.labels == stop).mean()
    assert alike.fingerprint != rare.fingerprint
    with pytest.raises(DataError, match=r"data\.options\.rare"):
        read(corpus, rare=-1)


def test_the_same_texts_give_the_same_wordpiece_with_no_word_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for cache in ("a", "b"):
        monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / cache))
        found.append(trained([prose(3000), "ñandú éclair 東京"], "texts", 120, Silent(), "wordpiece"))
    assert found[0] == found[1]
    assert found[0].size <= 120
    assert found[0].unknown_id not in found[0].ids(prose(500, seed=3))
    assert found[0].decode(found[0].ids("Birds fly OVER")) == "birds fly over"


def test_the_librarys_ids_are_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = pytest.importorskip("tokenizers")
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path))
    own = trained([prose(3000)], "texts", 90, Silent(), "wordpiece")
    numbers = {token: number for number, token in enumerate(own.vocabulary.split("\n"))}
    library = theirs.Tokenizer(theirs.models.WordPiece(numbers, unk_token="[UNK]"))
    library.normalizer = theirs.normalizers.BertNormalizer(lowercase=True)
    library.pre_tokenizer = theirs.pre_tokenizers.BertPreTokenizer()
    text = prose(500, seed=5) + " Häuser, unheard-of words; houses' old-then."
    assert library.encode(text).ids == own.ids(text)


def test_a_tokenizer_that_can_hide_nothing_is_refused_by_name(corpus: Path, tmp_path: Path) -> None:
    folder = gpt2s.write(tmp_path)
    with pytest.raises(DataError, match=r"has no token for .*mask.*give an encoder's"):
        read(corpus, tokenizer=str(folder))
