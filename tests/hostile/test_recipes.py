"""Recipes and command lines from strangers: refused with a message, at once, with nothing done."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compressor.errors import RecipeError, UsageError
from compressor.recipe import Recipe, load
from tests.conftest import compress
from tests.hostile import corpus

FEW, MANY = 60, 2000


@pytest.fixture(autouse=True)
def _nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    yield
    assert list((tmp_path / "work").iterdir()) == []
    assert list(tmp_path.glob("compress-*.log")) == [], "something that was not foreseen"


def tried(path: Path | None, given: dict[str, Any]) -> tuple[Recipe | None, str]:
    """The recipe, or why there is none."""
    try:
        return load(path, None, given), ""
    except RecipeError as error:
        return None, str(error)


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_generated_recipes_load_or_are_refused(tmp_path: Path, count: int) -> None:
    path = tmp_path / "r.yaml"
    outcomes = {"loaded": 0, "refused": 0}
    for seed in range(count):
        rng = random.Random(seed)
        path.write_text(corpus.recipe_text(rng), newline="")
        given = corpus.settings(rng)
        started = time.process_time()
        own, said = tried(path if seed % 2 else None, given)
        outcomes["refused" if own is None else "loaded"] += 1
        assert len(said) < 20_000, seed
        if own is not None:  # whatever is taken can be written down and read again
            again = tmp_path / "again.yaml"
            again.write_text(own.to_yaml())
            assert load(again) == own, seed
        assert time.process_time() - started < 2, seed
    assert min(outcomes.values()) > count // 50, outcomes


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_generated_command_lines_end_with_a_message(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def planned(*args: object) -> None:
        raise UsageError("this one is right")  # measuring its steps would take the longest

    monkeypatch.setattr("compressor.workflows.estimate.estimate", planned)
    for seed in range(count):
        line = corpus.command(random.Random(seed))
        started = time.process_time()
        result = compress(*line)
        told = f"{seed}: {line!r:.300}\n{result.output[-2000:]}"
        assert isinstance(result.exception, SystemExit | None), told
        assert result.exit_code in (1, 2) or line[0] in ("models", "cache"), told
        assert "Traceback" not in result.output, told
        assert result.output.strip(), told
        assert time.process_time() - started < 30, told


@pytest.mark.parametrize("name", corpus.bombs())
def test_a_recipe_that_stands_for_more_than_there_is_is_refused_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "r.yaml").write_text(corpus.bombs()[name]())
    started = time.process_time()
    result = compress("distill", "--recipe", tmp_path / "r.yaml", "--dry-run")
    assert result.exit_code == 2, result.output[-500:]
    assert "error: " in result.stderr
    assert len(result.output) < 5000
    assert time.process_time() - started < 2
    assert not os.path.exists("executed")
