"""The table's one entry in the list of modalities, its data, and one finished run on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from compressor.modalities import MODALITIES, Modality
from tests.conftest import compress

ENTRY = Modality(
    preprocessing="tests.modality.table:TablePreprocessing",
    data="tests.modality.table:TABLE",
    families={"mlp": "tests.modality.table:MLP"},
)
"""All that the package is told of the modality."""

QUICK = [
    "--teacher", "mlp:64", "--student", "mlp:8", "--quiet", "--set", "stage.batch_size=32", "--epochs", "4",
    "--set", "stage.optimizer.lr=0.02", "--set", "teacher.epochs=6", "--set", "stage.targets.precision=fp32", "--set", "data.options.jitter=0.2", "--set", "benchmark.processes=1",
    "--set", "benchmark.samples=64", "--set", "benchmark.warmup_seconds=0", "--set", "benchmark.min_seconds=0",
]  # fmt: skip


@pytest.fixture(autouse=True, scope="session")
def _registered() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODALITIES, "table", ENTRY)
        yield


def write_table(path: Path, *, labels: int = 1, count: int = 240, columns: int = 6, split: bool = False) -> Path:
    """Numbers whose sums along a few directions decide the classes; `labels` of them for each line."""
    rng = np.random.default_rng(labels)
    values = rng.standard_normal((count, columns))
    bounds = np.array([-0.5, 0.5])
    ways = rng.standard_normal((columns, labels)) / np.sqrt(columns)
    found = np.searchsorted(bounds, values @ ways + 0.3 * rng.standard_normal((count, labels)))
    names = ["label"] if labels == 1 else [f"label_{i}" for i in range(labels)]
    parts = rng.choice(["train", "validation", "test"], count, p=[0.6, 0.2, 0.2])
    lines = [",".join([*(f"x{i}" for i in range(columns)), *names, *(["split"] if split else [])])]
    for numbers, classes, part in zip(values, found, parts, strict=True):
        words = [["low", "middle", "high"][c] for c in classes]
        lines.append(",".join([*(f"{v:.4f}" for v in numbers), *words, *([part] if split else [])]))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session", params=[1, 2], ids=["one-row", "two-rows"])
def table_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on a table with one or two supervised rows per sample. Read only."""
    home = tmp_path_factory.mktemp(f"rows{request.param}")
    table = write_table(home / "x.table.csv", labels=request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        result = compress("distill", *QUICK, "--data", table, "--name", "whole")
    assert result.exit_code == 0, result.output
    return home / "runs" / "whole"
