"""Texts without labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compressor.errors import DataError
from compressor.modalities import UNLABELLED
from tests.data.text.conftest import Load, numbered, table

ROWS = numbered(40)
LINES = [f"unlabelled line {i}" for i in range(6)]


@pytest.mark.parametrize("kind", ["x.txt", "folder", "x.csv", "x.jsonl"])
def test_unlabelled_texts_follow_and_what_is_held_out_stays_out(tmp_path: Path, load: Load, kind: str) -> None:
    data = table(tmp_path / "data.csv", ROWS)
    plain = load(data)
    held = plain.read(int(plain.splits["test"][0]))
    lines = [*LINES, held.upper(), LINES[0]]
    place = tmp_path / "more" / kind
    place.parent.mkdir()
    if kind == "folder":
        place.mkdir()
        (place / "a.txt").write_text("\n".join(lines[:3]))
        (place / "b.txt").write_text("\n\n".join(lines[3:]))
    elif kind == "x.csv":
        table(place, [(line, str(i)) for i, line in enumerate(lines)], "text,nr")
    elif kind == "x.jsonl":
        place.write_text("\n".join(json.dumps({"text": line}) for line in lines))
    else:
        place.write_text("\n".join(lines))
    dataset = load(data, unlabeled=str(place))
    added = dataset.splits["unlabeled"]
    assert [dataset.read(int(i)) for i in added] == LINES
    assert (dataset.labels[added] == UNLABELLED).all()
    assert dataset.read(0) == plain.read(0)
    assert dataset.fingerprint != plain.fingerprint
    assert dataset.prints is not None
    assert len(dataset.prints.exact) == len(dataset.ids) == 46
    assert any("1 of the unlabelled texts are validation or test" in note for note in dataset.notes)
    assert len(load(data, unlabeled=str(place), limit=4).splits["unlabeled"]) == 4


def test_nothing_to_add_is_said(tmp_path: Path, load: Load) -> None:
    data = table(tmp_path / "data.csv", ROWS)
    with pytest.raises(DataError, match=r"no texts at .*nowhere.*from --unlabeled"):
        load(data, unlabeled=str(tmp_path / "nowhere"))
    (tmp_path / "x.txt").write_text("\n\n")
    with pytest.raises(DataError, match="holds no records"):
        load(data, unlabeled=str(tmp_path / "x.txt"))


def test_single_texts_dont_follow_pairs(tmp_path: Path, load: Load) -> None:
    rows = [(f"one {text}", f"two {text}", label) for text, label in ROWS]
    data = table(tmp_path / "data.csv", rows, "premise,hypothesis,label")
    (tmp_path / "x.txt").write_text("a line")
    with pytest.raises(DataError, match="has single texts, where the data have pairs"):
        load(data, unlabeled=str(tmp_path / "x.txt"))
