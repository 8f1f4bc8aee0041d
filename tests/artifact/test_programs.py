"""The minimal programs of docs/deployment.md, run as they stand there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compressor.data.config import DataConfig
from compressor.data.load import load_dataset
from compressor.exporting import export as exporting
from compressor.exporting.config import ExportConfig
from compressor.models import checkpoint
from compressor.progress import Silent
from compressor.workflows.export import validation_inputs
from tests.conftest import compress

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "deployment.md").read_text(encoding="utf-8")
MODULES = ("onnxruntime-web", "pngjs")


def program(language: str, path: Path) -> Path:
    (source,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    path.write_text(source, encoding="utf-8")
    return path


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Photos larger and smaller than the model's input, wide and high."""
    rng = np.random.default_rng(0)
    paths = []
    for i, (width, height) in enumerate([(32, 32), (32, 61), (61, 40), (33, 90), (12, 17), (200, 210)]):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(tmp_path / f"{i}.png")
        paths.append(tmp_path / f"{i}.png")
    return paths


@pytest.fixture
def pixels_file(run: Path, tmp_path: Path, torchscript: None) -> Path:
    """The student with pixels in, probabilities out, two at a time."""
    model, card = checkpoint.load(run)
    card = card.model_copy(update={"temperature": 1.5})
    path = tmp_path / "pixels.onnx"
    exporting.export(
        model, card, path, precision="fp32", config=ExportConfig(uint8_input=True, batch=2),
        inputs=validation_inputs(load_dataset(DataConfig(limit=160)), card, 8), recipe=None, progress=Silent(),
    )  # fmt: skip
    return path


def agrees(command: list[str], model: Path, photos: list[Path]) -> None:
    """The program names the class that `predict` names, at nearly the same probability."""
    told = json.loads(compress("predict", model, *photos, "--json").stdout)
    for photo, expected in zip(photos, told, strict=True):
        done = subprocess.run([*command, str(model), str(photo)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        label, probability = done.stdout.split()
        (best,) = expected["classes"]
        assert label == best["class"]
        assert float(probability) == pytest.approx(best["probability"], abs=0.02)


def test_the_python_program_gives_the_labels_of_predict(
    run: Path, pixels_file: Path, photos: list[Path], tmp_path: Path
) -> None:
    command = [sys.executable, str(program("python", tmp_path / "p.py"))]
    agrees(command, run / "student.onnx", photos)
    agrees(command, pixels_file, photos[:2])


@pytest.fixture
def sure(run: Path, tmp_path: Path, torchscript: None) -> Path:
    """The student at temperature 0.5: without it every probability is another one."""
    model, card = checkpoint.load(run)
    card = card.model_copy(update={"temperature": 0.5})
    path = tmp_path / "sure.onnx"
    exporting.export(
        model, card, path, precision="fp32", config=ExportConfig(),
        inputs=validation_inputs(load_dataset(DataConfig(limit=160)), card, 8), recipe=None, progress=Silent(),
    )  # fmt: skip
    return path


def test_the_python_program_divides_by_the_temperature(sure: Path, photos: list[Path], tmp_path: Path) -> None:
    path = program("python", tmp_path / "p.py")
    agrees([sys.executable, str(path)], sure, photos[:1])
    path.write_text(path.read_text().replace('(about["temperature"] or 1)', "1"))
    with pytest.raises(AssertionError):
        agrees([sys.executable, str(path)], sure, photos[:1])


def test_the_javascript_program_gives_the_labels_of_predict(
    run: Path, sure: Path, photos: list[Path], tmp_path: Path
) -> None:
    """Give the folder with the packages as NODE_PATH: npm install --prefix DIR onnxruntime-web pngjs."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    look = "; ".join(f"require.resolve('{name}')" for name in MODULES)
    if subprocess.run([node, "-e", look], capture_output=True, cwd=tmp_path, env=dict(os.environ)).returncode:
        pytest.skip(f"node finds no {' or '.join(MODULES)}; install them and set NODE_PATH")
    command = [node, str(program("javascript", tmp_path / "p.js"))]
    agrees(command, run / "student.onnx", photos)
    agrees(command, sure, photos[:2])
