"""The notebook in docs/, run from top to bottom on tiny models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "notebook.ipynb"


def outputs(cell: Any) -> str:
    """Everything that a cell shows."""
    return "\n".join(str(o.get("data") or o.get("text", "")) for o in cell.outputs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client.*", "ignore::DeprecationWarning:zmq.*")
def test_the_notebook_runs_and_shows_the_report(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (parameters,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    settings = dict(text.split("=", 1) for text in TINY[1::2])
    parameters.source = f"TEACHER, STUDENT = 'test_resnet', 'mobilenetv3_small_050'\nSETTINGS = {[f'{k}={v}' for k, v in settings.items()]}"
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(workdir)}}).execute()
    shown = {c.source.splitlines()[-1]: outputs(c) for c in notebook.cells if c.cell_type == "code"}
    assert (
        "Estimate from measured steps" in shown["compressor.plan(teacher=TEACHER, student=STUDENT, settings=SETTINGS)"]
    )
    assert '<iframe sandbox title="report"' in shown["made"]
    assert "seven.png" in shown['compressor.predict(made.student, "seven.png", top=3)']
    assert "<th>p50</th>" in shown["compressor.benchmark(made.run, batch=1)"]
    assert '<iframe sandbox title="report"' in shown["compressor.report(made.run)"]
