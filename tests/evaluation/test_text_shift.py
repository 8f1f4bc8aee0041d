"""Accuracy under damaged texts: the damage itself, and that models are asked about it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from compressor.artifact.preprocessing import Inputs, Preprocessing
from compressor.data.config import DataConfig
from compressor.data.dataset import build
from compressor.data.text.read import read_texts
from compressor.evaluation.shift import damaged_things, under_shift
from compressor.evaluation.text_damages import DAMAGES, NEIGHBOURS
from compressor.progress import Silent
from tests.data.text.conftest import Encoding, numbered, table

TEXT = "Hello, my card hasn't come (yet): what can I do about it; shall I wait? Please answer, I need it - today! "


def hurt(kind: str, strength: int, text: Any = TEXT, seeds: int = 30) -> list[Any]:
    return [DAMAGES[kind].how(text, strength, seed) for seed in range(seeds)]


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_grows_with_strength_and_repeats(kind: str) -> None:
    def amount(strength: int) -> float:
        found = hurt(kind, strength)
        if kind in ("lost spaces", "no punctuation"):
            return float(np.mean([len(TEXT) - len(text) for text in found]))
        assert all(len(text) == len(TEXT) for text in found)
        return float(np.mean([sum(a != b for a, b in zip(text, TEXT, strict=True)) for text in found]))

    amounts = [amount(strength) for strength in DAMAGES[kind].strengths]
    assert len(amounts) == 5
    assert amounts[0] > 0
    assert all(a < b for a, b in pairwise(amounts))
    assert hurt(kind, 3) == hurt(kind, 3)
    assert len(set(hurt(kind, 3))) > 10


def test_each_damage_is_what_it_is_called() -> None:
    assert hurt("upper case", 5, seeds=1) == [TEXT.upper()]
    assert hurt("no punctuation", 5, "a, b! (c) – d.", seeds=1) == ["a b c  d"]
    assert all(sorted(text) == sorted(TEXT) for text in hurt("swapped letters", 5))
    assert all(text.replace(" ", "") == TEXT.replace(" ", "") for text in hurt("lost spaces", 5))
    for text in hurt("typos", 5):
        moved = [(a.lower(), b.lower()) for a, b in zip(TEXT, text, strict=True) if a != b]
        assert all(b in NEIGHBOURS[a] for a, b in moved)
    assert set(NEIGHBOURS["g"]) == set("tyfhvb")
    assert all(a in NEIGHBOURS[b] for a, others in NEIGHBOURS.items() for b in others)


def test_both_texts_of_a_pair_are_damaged_and_nothing_stays_nothing() -> None:
    found = hurt("typos", 5, (TEXT, TEXT), seeds=5)
    assert all(one != TEXT and other != TEXT and one != other for one, other in found)
    assert hurt("typos", 5, "", seeds=1) == [""]
    assert hurt("upper case", 3, (" ", ""), seeds=1) == [(" ", "")]


def test_models_are_asked_about_every_damage(tmp_path: Path) -> None:
    config = DataConfig(source=str(table(tmp_path / "x.csv", numbered(200, ("long long word", "bad")))))
    dataset = build(read_texts(config, Silent()), config)
    encoding = Encoding(64)

    def spaces(inputs: Inputs) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Says one class of texts of five words, and the other of all others."""
        begun = ((inputs["input_ids"] >= 5) & (inputs["input_ids"] < 31)).sum(axis=1)
        right = begun == 4
        return np.stack([right, ~right], axis=1).astype(np.float32)

    found = under_shift({"model": (spaces, cast(Preprocessing, encoding), None)}, dataset, "test", Silent())
    assert len(found.rows) == 1 + 5 * len(DAMAGES)
    clean = found.rows[0].models["model"].top1
    by = {(row.kind, row.strength): row.models["model"].top1 for row in found.rows}
    assert by["upper case", 5] == by["no punctuation", 5] == clean
    assert by["lost spaces", 5] != clean

    def typed(split: str) -> dict[int, bytes]:
        parts = damaged_things(dataset, split, cast(Preprocessing, encoding), "typos", 2, DAMAGES["typos"])
        return {
            int(i): row.tobytes() for part, inputs in parts for i, row in zip(part, inputs["input_ids"], strict=True)
        }

    whole = typed("all")
    assert all(whole[i] == row for i, row in typed("test").items())  # whatever the batches
