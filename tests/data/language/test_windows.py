"""Windows: samples with a row per token, whose views begin elsewhere, and whose splits never meet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compressor.artifact.text.window import WindowPreprocessing
from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset
from compressor.data.kind import kind_of
from compressor.data.language import read
from compressor.data.language.setup import LanguageSetup, shift_of
from compressor.data.load import load_dataset
from tests.data.language.corpora import prose, write

OPTIONS = {"length": 16, "vocabulary": 300}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return loaded(write(tmp_path_factory.mktemp("corpus") / "a.txt"))


def loaded(path: Path, **given: object) -> Dataset:
    return load_dataset(DataConfig.model_validate({"source": str(path), "task": "lm", "options": OPTIONS} | given))


def test_a_row_is_a_token_and_its_label_the_next_one(dataset: Dataset) -> None:
    setup: LanguageSetup = dataset.setup
    for split in ("train", "validation", "test"):
        whole = setup.stream(split)
        for place, sample in enumerate(dataset.splits[split][:3]):
            assert dataset.read(int(sample)).tolist() == whole[place * 16 : place * 16 + 16].tolist()
            assert dataset.labels[sample].tolist() == whole[place * 16 + 1 : place * 16 + 17].tolist()
    assert dataset.rows == 16
    assert dataset.classes == setup.tokenizer.vocabulary.split("\n")


def test_streams_are_the_whole_text_of_disjoint_splits(dataset: Dataset) -> None:
    setup: LanguageSetup = dataset.setup
    told = {split: setup.tokenizer.decode(setup.stream(split).tolist()) for split in ("train", "validation", "test")}
    assert "".join(told.values()) == prose()
    assert {split: setup.bytes(split) for split in told} == {split: len(text) for split, text in told.items()}
    every = np.concatenate([dataset.splits[split] for split in told])
    assert len(set(every.tolist())) == len(every)


def test_a_view_is_the_window_some_tokens_later_by_seed_and_number_alone(dataset: Dataset) -> None:
    kind = kind_of("language")
    setup: LanguageSetup = dataset.setup
    preprocessing = WindowPreprocessing(tokenizer=setup.tokenizer, length=16)
    stream, last = setup.stream("train"), int(dataset.splits["train"][-1])
    shifts = [shift_of(dataset.seed, view, 16) for view in range(20)]
    assert shifts[0] == 0
    assert set(shifts) <= set(range(16))
    assert len(set(shifts)) > 8
    for view, shift in enumerate(shifts):
        for sample in (0, 7, last):
            start = min(sample * 16 + shift, len(stream) - 17)
            ids = kind.view(dataset, (sample, view), preprocessing)["input_ids"]
            assert ids.tolist() == stream[start : start + 16].tolist()
            label = kind.labels(dataset, [(sample, view)])["label"]
            assert label.tolist() == stream[start + 1 : start + 17].tolist()
    assert [shift_of(1, view, 16) for view in range(20)] != shifts


def test_evaluation_sees_the_very_windows(dataset: Dataset) -> None:
    preprocessing = WindowPreprocessing(tokenizer=dataset.setup.tokenizer, length=16)
    part, inputs = next(dataset.inputs("test", preprocessing, 5))
    assert inputs["input_ids"].dtype == np.int32
    assert inputs["input_ids"].tolist() == [dataset.read(int(sample)).tolist() for sample in part]


def test_predictions_are_of_as_many_windows_as_have_room_from_first_to_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.txt")
    every = loaded(path)
    monkeypatch.setattr(read, "ROOM", dict.fromkeys(("validation", "test"), 3 * 16 * 4 * len(every.classes)))
    few = loaded(path)
    for split in ("validation", "test"):
        assert len(few.splits[split]) == 3 < len(every.splits[split])
        assert few.splits[split][[0, -1]].tolist() == every.splits[split][[0, -1]].tolist()
        assert few.setup.stream(split).tolist() == every.setup.stream(split).tolist()
    assert any("3 of" in note for note in few.notes)
    assert few.splits["train"].tolist() == every.splits["train"].tolist()


def test_a_limit_is_of_training_windows_and_a_larger_one_has_them_all(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt")
    small, large = (set(loaded(path, limit=count).splits["train"].tolist()) for count in (20, 50))
    assert (len(small), len(large)) == (20, 50)
    assert small < large


def test_fingerprints_tell_text_borders_and_tokens_apart(tmp_path: Path) -> None:
    path, other = write(tmp_path / "a.txt"), write(tmp_path / "b.txt", seed=1)
    plain, again, strange = loaded(path), loaded(path), loaded(other)
    longer = loaded(path, options=OPTIONS | {"length": 32})
    parted = loaded(path, test=0.3)
    assert plain.fingerprint == again.fingerprint
    assert plain.content == longer.content == parted.content != strange.content
    assert plain.split_fingerprint == longer.split_fingerprint != parted.split_fingerprint
    assert len({plain.fingerprint, longer.fingerprint, parted.fingerprint, strange.fingerprint}) == 4
    assert parted.split_otherwise(plain.card())
    assert not longer.split_otherwise(plain.card())
