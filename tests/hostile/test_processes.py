"""The command as a process of its own, with 2 GB and 30 s: what Python's own limits would hide shows here."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import compress, paint
from tests.hostile import corpus

LIMIT = 2 * 10**9


def bounded(*arguments: str | Path, cwd: Path, seconds: float = 30) -> tuple[int, str]:
    """Exit code and stderr of the command, in processor seconds and resident memory that it must not exceed."""

    def limits() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
        resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))

    temporary = cwd.parent / f"{cwd.name}-temporary"
    temporary.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "compressor.cli.app", *(str(a) for a in arguments)],
        cwd=cwd, capture_output=True, text=True, preexec_fn=limits, timeout=20 * seconds,
        env=os.environ | {"TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "name", ["a billion laughs", *(pytest.param(n, marks=pytest.mark.slow) for n in list(corpus.bombs())[1:])]
)
def test_a_bomb_takes_neither_memory_nor_time(tmp_path: Path, name: str) -> None:
    (tmp_path / "r.yaml").write_text(corpus.bombs()[name]())
    code, said = bounded("distill", "--recipe", "r.yaml", "--dry-run", cwd=tmp_path)
    assert code == 2, said
    assert "error: " in said
    assert "Traceback" not in said
    assert [p.name for p in tmp_path.iterdir()] == ["r.yaml"]


@pytest.mark.parametrize(
    "line", [["report", "run"], pytest.param(["distill", "--resume", "run"], marks=pytest.mark.slow)]
)
def test_documents_without_an_end_are_refused(tmp_path: Path, line: list[str]) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for text in ('{"a":' * 1_000_000, "[" * 1_000_000):
        (run / "run.json").write_text(text)
        code, said = bounded(*line, cwd=tmp_path)
        assert code == 1, said
        assert "run.json is damaged: nested too deep" in said
    with (run / "run.json").open("wb") as file:
        file.truncate(50 * 10**9)  # sparse: it takes no room
    code, said = bounded(*line, cwd=tmp_path)
    assert code == 1, said
    assert "run.json is larger than 200 MB" in said


@pytest.mark.slow
def test_out_of_memory_ends_with_advice(tmp_path: Path) -> None:
    code, said = bounded(
        "distill", "--teacher", "test_resnet", "--student", "test_efficientnet", "--image-size", "2048", "--batch-size", "64",
        "--set", "data.limit=80", "--dry-run", cwd=tmp_path, seconds=60,
    )  # fmt: skip
    assert code in (1, 2), said
    assert "error: out of memory" in said or "Take a smaller --batch-size" in said
    assert "Traceback" not in said


@pytest.mark.usefixtures("workdir")
@pytest.mark.parametrize("classes", [pytest.param(n, marks=pytest.mark.slow) for n in (400, 10_000)])
def test_as_many_classes_as_images_and_empty_ones_end_with_a_message(tmp_path: Path, classes: int) -> None:
    paint(tmp_path / "one.png", 0, 0, size=8)
    for i in range(classes):
        folder = tmp_path / "photos" / f"class {i:05d}"
        folder.mkdir(parents=True)
        os.link(tmp_path / "one.png", folder / "a.png")
    start = ["distill", "--teacher", "test_resnet", "--student", "test_efficientnet", "--dry-run", "--data"]
    code, said = bounded(*start, "photos", cwd=tmp_path)
    assert code == 2, said
    assert "Traceback" not in said
    (tmp_path / "photos" / "class 00000" / "a.png").unlink()
    result = compress(*start, "photos")
    assert result.exit_code == 2, result.output
    assert "class 00000" in result.stderr


@pytest.mark.usefixtures("workdir")
def test_empty_folders_and_files_end_with_a_message(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("a", "b"):
        (tmp_path / "zero" / name).mkdir(parents=True)
        for i in range(5):
            (tmp_path / "zero" / name / f"{i}.png").touch()
    for suffix in ("onnx", "csv", "npz", "safetensors", "pth", "yaml", "json"):
        (tmp_path / f"none.{suffix}").touch()
    start = ["distill", "--teacher", "test_resnet", "--student", "test_efficientnet", "--dry-run"]
    for line in (
        [*start, "--data", "empty"], [*start, "--data", "zero"], [*start, "--data", "none.json"],
        [*start, "--unlabeled", "empty"], [*start, "--teacher", "empty/"],
        *([*start, "--teacher", f"./none.{suffix}"] for suffix in ("onnx", "csv", "npz", "safetensors", "pth")),
        [*start, "--set", "teacher.init=none.pth"], [*start, "--set", "student.init=none.safetensors"],
        ["predict", "none.onnx", "empty"], ["evaluate", "none.onnx"], ["evaluate", "none.pth"], ["export", "none.safetensors"],
        ["benchmark", "none.onnx", "--check-regression", "none.json"], ["report", "empty"], ["distill", "--resume", "empty"],
    ):  # fmt: skip
        result = compress(*line)
        assert result.exit_code in (1, 2), (line, result.output)
        assert "error: " in result.stderr, (line, result.output)
        assert "not foreseen" not in result.stderr, (line, result.output)
