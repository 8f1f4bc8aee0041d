"""What a person may name where a model takes texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressor.artifact.text.sources import Text, named
from compressor.errors import UsageError


def texts(name: str | Path, *, pair: bool = False) -> list[Text]:
    return [text for _, text in named(str(name), pair=pair)]


def test_what_is_no_file_is_the_text() -> None:
    assert list(named("what is my balance?")) == [("what is my balance?", "what is my balance?")]
    assert texts("a\tb", pair=True) == [("a", "b")]
    ((shown, text),) = named("word " * 10_000)
    assert len(shown) <= 60
    assert len(text) == 50_000
    assert texts(" ") == [" "]
    assert texts("nul \0, \ud800") == ["nul \0, \ud800"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "one\r\n\ntwo\u2028too\n", ["one", "two\u2028too"]),
        ("a.csv", 'label,text\nx,"one, two"\ny,three\n', ["one, two", "three"]),
        ("a.csv", "anything\none\n", ["one"]),
        ("a.tsv", "Sentence\tlabel\none\tx\n", ["one"]),
        ("a.jsonl", '{"review": "one", "label": 1}\n\n{"review": "two"}\n', ["one", "two"]),
        ("a.jsonl", '"one"\n"two"\n', ["one", "two"]),
    ],
)
def test_a_file_has_a_text_a_row(tmp_path: Path, name: str, content: str, expected: list[str]) -> None:
    (tmp_path / name).write_bytes(content.encode())
    assert texts(tmp_path / name) == expected


def test_pairs_are_two_columns_or_two_sides_of_a_tab(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("premise,hypothesis\none,two\n")
    (tmp_path / "a.txt").write_text("one\ttwo\n")
    assert texts(tmp_path / "a.csv", pair=True) == texts(tmp_path / "a.txt", pair=True) == [("one", "two")]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.txt", "\n \n", "holds no texts"),
        ("a.csv", "", "holds no texts"),
        ("a.csv", "x,y\n1,2\n", "columns x, y"),
        ("a.csv", "text,label\n" + "x" * 200_000 + ",1\n", "can't be read"),
        ("a.csv", "label,text\nalone\n", "no text in text"),
        ("a.jsonl", "{", "no JSON"),
        ("a.jsonl", "[" * 100_000, "no JSON"),
        ("a.jsonl", "7", "neither"),
        ("a.jsonl", '{"text": 7}', "no text in text"),
    ],
)
def test_files_without_texts_are_refused(tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=says):
        texts(tmp_path / name)


def test_names_that_can_only_be_files_are_refused_where_there_is_none(tmp_path: Path) -> None:
    for name, says in (("", "empty text"), ("nowhere.csv", "no file"), (str(tmp_path), "is a folder")):
        with pytest.raises(UsageError, match=says):
            texts(name)
    with pytest.raises(UsageError, match="put a tab"):
        texts("alone", pair=True)
