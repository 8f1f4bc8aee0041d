"""The wheel, installed elsewhere with `[cpu]` alone: what a device gets. Needs the package index."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import fill

ROOT = Path(__file__).resolve().parents[1]


def call(*command: str | Path, cwd: Path) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COMPRESS"))}
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True, env=clean)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_every_package() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {str(p.parent.relative_to(ROOT)).replace(os.sep, ".") for p in (ROOT / "compressor").rglob("__init__.py")}
    assert set(listed) == there | {"compressor.recipes"}


@pytest.mark.slow
def test_a_device_with_only_the_cpu_extra_predicts_evaluates_and_benchmarks(run: Path, tmp_path: Path) -> None:
    call(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, ROOT, cwd=tmp_path)
    wheel = next(tmp_path.glob("compressor-*.whl"))
    call(sys.executable, "-m", "venv", "env", cwd=tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    call(python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", f"{wheel}[cpu]", cwd=tmp_path)
    packages = {p["name"].lower() for p in json.loads(call(python, "-m", "pip", "list", "--format=json", cwd=tmp_path))}
    assert not {"torch", "timm", "onnx", "scikit-learn"} & packages
    recipes = call(
        python,
        "-c",
        "from pathlib import Path; from compressor.recipe import find; print(find(Path('edge')))",
        cwd=tmp_path,
    )
    assert "site-packages" in recipes
    compress, student = tmp_path / "env" / "bin" / "compress", run / "student.onnx"
    device = tmp_path / "device"
    device.mkdir()
    (device / "student.onnx").write_bytes(student.read_bytes())
    fill(device / "photos", count=2)
    answers = json.loads(call(compress, "predict", "student.onnx", "photos", "--json", cwd=device))
    assert len(answers) == 6
    found = json.loads(call(compress, "evaluate", "student.onnx", "--json", cwd=device))
    assert found["split"] == "test"
    assert found["samples"] == 359  # the embedded digits' whole test split, as a self-test
    rows = json.loads(call(compress, "benchmark", "student.onnx", "--json", "--processes", "1", cwd=device))["rows"]
    assert rows[0]["p50_ms"] > 0
    refused = subprocess.run([compress, "distill"], cwd=device, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "pip install 'compressor[train]'" in refused.stderr
