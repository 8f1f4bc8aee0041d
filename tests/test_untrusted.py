"""Folders and files from strangers: no path leads out of them, and nothing in them is executed."""

from __future__ import annotations

import ast
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compressor
from compressor.errors import CheckpointError, CompressorError, DataError, UsageError
from compressor.evaluation.predictions import Predictions
from compressor.models.table.read import read as read_table
from compressor.models.weights import read_state
from compressor.reporting import examples
from compressor.reporting.document import Example
from compressor.runfolder import RunFolder, open_run
from tests.artifact.test_hostile import tiny
from tests.conftest import compress, paint

PACKAGE = Path(compressor.__file__).parent


class Bomb:
    """Whoever unpickles it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.mark), "w"))


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A run folder as small as can be opened."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"schema_version": 1, "created": "2026-01-01T00:00:00+00:00"}))
    return run


def shown(run: Path, image: str) -> list[Any]:
    entry = Example(
        id="x", image=image, label="a", teacher="a", teacher_confidence=1.0, student="b", student_confidence=1.0
    )
    return examples.embedded(RunFolder(run), [entry])


@pytest.mark.parametrize(
    "name", ["../secret.png", "/SECRET", "examples/link.png", "examples/../../secret.png", "a\0b", ""]
)
def test_a_report_embeds_no_file_from_outside_its_run(name: str, foreign: Path, tmp_path: Path) -> None:
    paint(tmp_path / "secret.png", 0, 0)
    (foreign / "examples").mkdir()
    (foreign / "examples" / "link.png").symlink_to(tmp_path / "secret.png")
    paint(foreign / "examples" / "own.png", 0, 0)
    assert len(shown(foreign, "examples/own.png")) == 1
    assert shown(foreign, name.replace("/SECRET", str(tmp_path / "secret.png"))) == []


def test_a_report_embeds_pictures_alone(foreign: Path) -> None:
    (foreign / "notes.png").write_text("my notes")
    assert shown(foreign, "notes.png") == []


@pytest.mark.parametrize("name", ["stages", "examples", "student.onnx", "stages/00-teacher-x/seed0/predictions.npz"])
def test_a_run_with_a_link_out_of_its_folder_is_not_opened(name: str, foreign: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (foreign / name).parent.mkdir(parents=True, exist_ok=True)
    (foreign / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="leads out of it"):
        open_run(foreign)
    for command in ("report", "evaluate", "benchmark", "export"):
        done = compress(command, foreign)
        assert done.exit_code == 2, done.output
        assert "leads out of it" in done.output
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_links_within_a_run_and_to_a_run_are_followed(foreign: Path, tmp_path: Path) -> None:
    (foreign / "a").mkdir()
    (foreign / "b").symlink_to("a")
    (tmp_path / "named").symlink_to(foreign)
    assert open_run(tmp_path / "named").path == tmp_path / "named"


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors"])
def test_pickled_weights_are_not_executed(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "executed")))
    with pytest.raises(CheckpointError):
        read_state(path)
    import torch

    torch.save({"state_dict": Bomb(tmp_path / "executed")}, path)
    with pytest.raises(CheckpointError):
        read_state(path)
    assert not (tmp_path / "executed").exists()


def test_pickled_arrays_are_not_executed(tmp_path: Path) -> None:
    bomb = np.array([Bomb(tmp_path / "executed")], dtype=object)
    np.savez(tmp_path / "p.npz", ids=bomb, labels=bomb, logits=bomb)
    with pytest.raises(DataError):
        Predictions.load(tmp_path / "p.npz")
    np.savez(tmp_path / "t.npz", files=bomb, probabilities=bomb, classes=bomb)
    with pytest.raises(UsageError):
        read_table(tmp_path / "t.npz", ["a", "b"])
    (tmp_path / "raw.npz").write_bytes(pickle.dumps(Bomb(tmp_path / "executed")))
    for read in (lambda p: Predictions.load(p), lambda p: read_table(p, ["a", "b"])):
        with pytest.raises(CompressorError):
            read(tmp_path / "raw.npz")
    assert not (tmp_path / "executed").exists()


def test_a_pickle_in_place_of_a_models_files_is_not_executed(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", 0, 0)
    bomb = pickle.dumps(Bomb(tmp_path / "executed"))
    (tmp_path / "m.onnx").write_bytes(bomb)
    assert compress("predict", tmp_path / "m.onnx", tmp_path / "a.png").exit_code == 1
    tiny(tmp_path / "n.onnx", outside="n.data")
    (tmp_path / "n.data").write_bytes(bomb.ljust(24, b"\0"))
    compress("predict", tmp_path / "n.onnx", tmp_path / "a.png")
    (tmp_path / "recipe.yaml").write_text("seed: !!python/object/apply:os.mkdir ['executed']\n")
    done = compress("distill", "--recipe", tmp_path / "recipe.yaml", "--dry-run")
    assert done.exit_code == 2
    assert not (tmp_path / "executed").exists()
    assert not Path("executed").exists()


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    return [
        (ast.unparse(node.func), node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
    ]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_file_is_read_by_what_may_execute_it(path: Path) -> None:
    """Everywhere in the package: what is new has to say that it loads no pickle."""
    for name, call in calls(path):
        given = {k.arg: ast.unparse(k.value) for k in call.keywords}
        where = f"{path.name}:{call.lineno}: {name}"
        if name == "torch.load":
            assert given.get("weights_only") == "True", where
        if name in {"np.load", "numpy.load"}:
            assert given.get("allow_pickle") == "False", where
        if name == "yaml.load":
            assert given.get("Loader") == "_Loader", where  # a SafeLoader
        assert name not in {"pickle.load", "pickle.loads", "yaml.unsafe_load", "eval", "exec", "__import__"}, where
        if name.endswith("Image.open"):
            assert "formats" in given, where


def test_an_empty_name_removes_no_store(run: Path) -> None:
    """`compress cache rm "$UNSET"`."""
    before = json.loads(compress("cache", "ls", "--json").stdout)
    assert before
    for name in ("", " "):
        done = compress("cache", "rm", name)
        assert done.exit_code == 2
        assert "empty name" in done.output
    assert json.loads(compress("cache", "ls", "--json").stdout) == before


def test_models_that_were_exported_on_the_fly_are_stores_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path))
    tiny(tmp_path / "models" / "resnet18-224.onnx")
    (row,) = json.loads(compress("cache", "ls", "--json").stdout)
    assert (row["name"], row["kind"]) == ("resnet18-224.onnx", "models")
    assert compress("cache", "rm", "--all").exit_code == 0
    assert not (tmp_path / "models" / "resnet18-224.onnx").exists()


def test_a_store_whose_name_leads_elsewhere_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("x")
    (tmp_path / "cache" / "targets").mkdir(parents=True)
    (tmp_path / "cache" / "targets" / "abc").symlink_to(tmp_path / "precious")
    compress("cache", "rm", "--all")
    assert (tmp_path / "precious" / "file").exists()
