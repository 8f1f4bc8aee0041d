"""What is shown of probabilities is what ships: at the calibration temperature, the raw figure named beside it."""

from __future__ import annotations

import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compressor.artifact import session
from compressor.artifact.session import softmax
from compressor.evaluation import metrics
from compressor.evaluation.predictions import Predictions
from compressor.reporting import build, headline, plots, pull_request, tables
from compressor.reporting.document import Report
from compressor.runfolder import RunFolder
from tests.conftest import compress, fill


@pytest.fixture(scope="module")
def report(run: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((run / "report.json").read_text())
    return document


def student(run: Path) -> tuple[Predictions, float]:
    """The shipped student's test predictions and its temperature."""
    folder = RunFolder(run).shipped()
    assert folder is not None
    temperature = json.loads((run / "student.json").read_text())["temperature"]
    assert abs(temperature - 1) > 0.05, "calibrated and raw would look the same"
    return Predictions.load(folder / "predictions.npz"), temperature


def figure(name: str, run: Path, spec: str) -> str:
    """`calibrated (raw)`, from the stored predictions."""
    seen, temperature = student(run)
    measure = getattr(metrics, name)
    return (
        f"{measure(seen.labels, seen.logits, temperature=temperature):{spec}} "
        f"({measure(seen.labels, seen.logits):{spec}} raw)"
    )


def test_the_headline_gives_the_shipped_figures_and_the_raw_ones_in_brackets(run: Path, report: dict[str, Any]) -> None:
    found = headline.rows(Report.model_validate(report))
    lines = [dict(zip(headline.COLUMNS, cells, strict=True)) for cells in headline.cells(found)]
    for line in (line for line in lines if line[""] in ("student", "exported")):
        assert line["ECE calibrated (raw)"] == figure("ece", run, ".3f")
        assert line["NLL calibrated (raw)"] == figure("nll", run, ".3f")


def test_the_reports_tables_say_the_same(run: Path, report: dict[str, Any]) -> None:
    found = Report.model_validate(report)
    text = pull_request.render(found)
    _, temperature = student(run)
    assert text.count(figure("ece", run, ".4f")) == 3  # the model, its file, the measured file
    assert text.count(figure("nll", run, ".4f")) == 2
    assert f"{temperature:.3f} (the model’s)" in text
    own = found.exports[0].model_copy(update={"temperature_of": "file"})
    assert f"{temperature:.3f} (its own)" in tables.export_lines([own])[0]


def test_a_figure_that_only_the_raw_probabilities_have_is_named_raw(report: dict[str, Any]) -> None:
    older = copy.deepcopy(report)
    for entry in older["exports"]:
        for key in ("nll", "nll_calibrated", "ece_calibrated", "temperature", "temperature_of"):
            del entry[key]
    (line, *_) = [line for line in headline.rows(Report.model_validate(older)) if line.label == "exported"]
    (cells,) = headline.cells([line])
    assert cells[-2:] == (f"– ({line.ece_raw:.3f} raw)", "–")


def test_the_reliability_plot_draws_what_ships_and_the_raw_faintly(run: Path, report: dict[str, Any]) -> None:
    seen, temperature = student(run)
    found = Report.model_validate(report)
    (own,) = (entry for entry in found.reliability if entry.kind == "student")
    for bins, at in ((own.calibrated, temperature), (own.bins, 1.0)):
        expected = metrics.reliability(seen.labels, seen.logits, temperature=at)
        assert [b.as_dict() for b in bins] == [pytest.approx(b) for b in expected]
    plot = plots.reliability(found)
    assert plot is not None
    parts = re.findall(r'<(?:path class="line"|circle class="mark") [^>]*>', plot.drawing)
    faint = ["opacity" in part for part in parts]
    assert any(faint)
    assert not all(faint)
    assert faint == sorted(faint, reverse=True), "what ships lies on top"
    assert len(plot.keys) == 2


def test_predict_gives_calibrated_probabilities_with_the_raw_ones_and_says_so(run: Path, tmp_path: Path) -> None:
    images = fill(tmp_path / "photos", count=1)
    done = compress("predict", run / "student.onnx", images, "--top", "3", "--json")
    artifact = session.load(run / "student.onnx")
    how, (_, temperature) = artifact.metadata.preprocessing, student(run)
    for answer in json.loads(done.stdout):
        (logits,) = artifact.logits(how.encode([how.open(Path(answer["image"]))]))
        for key, at in (("probability", temperature), ("raw_probability", 1.0)):
            best = np.sort(softmax(logits, at))[::-1][:3]
            assert [c[key] for c in answer["classes"]] == pytest.approx(best)
        assert answer["temperature"] == pytest.approx(temperature)
    assert f"probabilities are calibrated: softmax(logits / {temperature:.3g})" in done.stderr


def test_evaluate_prints_the_calibrated_figures_first(run: Path) -> None:
    done = compress("evaluate", run / "student.onnx", "--data", "digits")
    assert done.exit_code == 0, done.output
    lines = dict(re.findall(r"^(nll|ece) +(.*)$", done.stdout, re.MULTILINE))
    told = json.loads(compress("evaluate", run / "student.onnx", "--data", "digits", "--json").stdout)
    for key in ("nll", "ece"):
        assert lines[key] == f"{told[f'{key}_calibrated']:.4f} ({told[key]:.4f} raw)"
    assert "probabilities are calibrated: softmax(logits / " in done.stdout
    assert (told["temperature"], told["temperature_of"]) == (pytest.approx(student(run)[1]), "model")


def test_the_pictures_confidences_are_calibrated(run: Path, report: dict[str, Any]) -> None:
    seen, temperature = student(run)
    rows = {str(name): row for row, name in enumerate(seen.ids)}
    assert report["examples"]
    for entry in report["examples"]:
        own = softmax(seen.logits[rows[entry["id"]]], temperature)
        assert entry["student_confidence"] == pytest.approx(own.max())


def test_a_file_of_an_older_run_is_drawn_at_its_students_temperature(run: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(run, tmp_path / "own", ignore=shutil.ignore_patterns("state")))
    shutil.copy(own / "student.predictions.npz", own / "student.int8.predictions.npz")
    entries = json.loads((own / "exports.json").read_text())
    older = {k: v for k, v in entries[0].items() if k in ("role", "opset", "bytes", "top1", "ece", "parity")}
    older |= {"file": "student.int8.onnx", "precision": "int8", "role": "student"}
    (own / "exports.json").write_text(json.dumps([*entries, older]))
    (drawn,) = (e for e in build.build(RunFolder(own)).reliability if e.kind == "int8")
    assert drawn.temperature == pytest.approx(student(run)[1])
