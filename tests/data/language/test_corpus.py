"""What is read as running text, and where it is parted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compressor.data.config import DataConfig
from compressor.data.language.corpus import read_corpus
from compressor.data.language.options import Options
from compressor.data.load import load_dataset, modality_of
from compressor.errors import DataError, UsageError
from tests.data.language.corpora import prose, write


def corpus(path: Path, **given: float) -> dict[str, list[str]]:
    return read_corpus(DataConfig(source=str(path), task="lm", **given), Options()).texts  # type: ignore[arg-type]


def test_one_text_is_parted_from_its_end_at_ends_of_lines_and_nothing_is_lost(tmp_path: Path) -> None:
    text = prose()
    found = corpus(write(tmp_path / "a.txt"))
    (train,), (validation,), (test,) = found["train"], found["validation"], found["test"]
    assert train + validation + test == text
    assert len(test) / len(text) == pytest.approx(0.05, abs=0.01)
    assert len(validation) / len(text) == pytest.approx(0.05, abs=0.01)
    assert validation[-1] == train[-1] == "\n"
    wider = corpus(tmp_path / "a.txt", test=0.3, validation=0.15)
    assert len(wider["test"][0]) / len(text) == pytest.approx(0.3, abs=0.01)
    assert len(wider["validation"][0]) / len(text) == pytest.approx(0.15, abs=0.01)


def test_a_folder_is_one_text_in_the_order_of_names_or_has_splits_by_name(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        write(tmp_path / "plain" / f"{name}.txt", 600, seed=ord(name))
    found = corpus(tmp_path / "plain")
    assert found["train"][0] == prose(600, seed=ord("a"))
    assert "".join(found["test"]) in prose(600, seed=ord("c"))
    for name, seed in (("train-1", 1), ("train-2", 2), ("val", 3), ("test", 4), ("notes", 5), ("valley", 6)):
        write(tmp_path / "own" / f"{name}.txt", 300, seed)
    read = read_corpus(DataConfig(source=str(tmp_path / "own"), task="lm"), Options())
    assert read.texts == {
        "train": [prose(300, 1), prose(300, 2)], "validation": [prose(300, 3)], "test": [prose(300, 4)]
    }  # fmt: skip
    assert read.unused[0].count == 2


def test_the_column_of_texts_of_a_table_is_running_text(tmp_path: Path) -> None:
    lines = [json.dumps({"id": i, "text": prose(40, i)}) for i in range(30)]
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, json.dumps({"id": 99, "text": ""})]))
    read = read_corpus(DataConfig(source=str(tmp_path / "a.jsonl"), task="lm"), Options())
    assert read.texts["train"][:2] == [prose(40, 0), prose(40, 1)]
    assert sum(entry.count for entry in read.unused) == 1


def test_what_can_not_be_read_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("naïve ".encode("latin-1") * 500)
    (tmp_path / "short.txt").write_text("a b")
    (tmp_path / "empty").mkdir()
    for name, words in (("latin.txt", "no UTF-8 text \\(byte 2"), ("short.txt", "too few"), ("gone.txt", "nothing there"),
                        ("empty", "no running text in the folder")):  # fmt: skip
        with pytest.raises(DataError, match=words):
            corpus(tmp_path / name)
    write(tmp_path / "few.txt", 300)
    with pytest.raises(DataError, match=r"too short for windows of 512 tokens: .*test has"):
        load_dataset(DataConfig(source=str(tmp_path / "few.txt"), task="lm", options={"length": 512}))
    with pytest.raises(DataError, match=r"data\.options\.lenght"):
        load_dataset(DataConfig(source=str(tmp_path / "few.txt"), task="lm", options={"lenght": 512}))


def test_plain_text_without_a_task_names_the_task(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--task lm"):
        modality_of(str(write(tmp_path / "a.txt")))
    assert modality_of(str(tmp_path / "a.txt"), "lm") == "language"
    assert modality_of("digits") == "image"
