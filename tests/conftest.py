"""Shared fixtures: a small folder of images, and one tiny run of the whole street, made once per session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before any import of the hub's client: tests never go online

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

SHARED = Path(__file__).resolve().parents[2] / "shared"

TINY = [
    "--set", "seeds=1",  # first, so that a test of `--seeds` can leave it out: settings beat options
    "--set", "teacher.epochs=2", "--set", "stage.epochs=2", "--set", "stage.batch_size=32",
    "--set", "data.limit=160", "--set", "benchmark.processes=1", "--set", "benchmark.samples=64",
    "--set", "benchmark.warmup_seconds=0", "--set", "benchmark.min_seconds=0",
]  # fmt: skip
"""A run of seconds: few images, few epochs."""


def compress(*arguments: str | Path, input: str | None = None) -> Result:
    """Runs the command in this process, as a person would type it."""
    from compressor.cli.app import app

    return CliRunner().invoke(app, [str(a) for a in arguments], input=input)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither see nor fill the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPRESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, so that `runs/` is the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paint(path: Path, label: int, index: int, *, size: int = 40) -> None:
    """A noisy image whose colour tells its class."""
    rng = np.random.default_rng([label, index])
    pixels = rng.integers(0, 90, (size, size, 3))
    pixels[..., label % 3] += 140
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def fill(root: Path, classes: tuple[str, ...] = ("blue", "green", "red"), count: int = 12) -> Path:
    """Class folders with `count` images each; those of folders named val and test are others than those of train."""
    first = {"val": 1000, "test": 2000}.get(root.name, 0)
    for label, name in enumerate(classes):
        for index in range(count):
            paint(root / name / f"{index:03d}.png", label, first + index)
    return root


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """An image folder: three classes of twelve images, not split."""
    return fill(tmp_path / "photos")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One finished run of the whole street on the digits, with tiny models. Read only.

    The taught student ships, whichever is better after two epochs: what ships is told from the baseline in `test_ship.py`.
    """
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        plain_exporter(patch)
        result = compress("distill", "--teacher", "test_resnet", "--student", "mobilenetv3_small_050",
                          "--name", "tiny", "--quiet", "--set", "ship=student", *TINY)  # fmt: skip
    assert result.exit_code == 0, result.output
    return home / "runs" / "tiny"


def plain_exporter(patch: pytest.MonkeyPatch) -> None:
    """The exporter that takes a second instead of ten; what dynamo makes of a model is tested elsewhere."""
    from compressor.exporting import export as exporting

    write = exporting._write

    def quick(*args: Any, dynamo: bool, **kwargs: Any) -> None:
        write(*args, dynamo=False, **kwargs)

    patch.setattr(exporting, "_write", quick)


@pytest.fixture
def torchscript(monkeypatch: pytest.MonkeyPatch) -> None:
    """See `plain_exporter`."""
    plain_exporter(monkeypatch)
