"""The page as a browser shows it, its plots and its pictures; runs side by side; CSV."""

from __future__ import annotations

import copy
import csv
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from compressor.evaluation.predictions import Predictions
from compressor.reporting import build, examples, headline, html, mistakes, plots, svg
from compressor.reporting.document import Report
from compressor.runfolder import RunFolder
from tests.conftest import compress
from tests.reporting import chromium

PLOTS = ["curves", "minutes", "pareto", "latencies", "reliability", "confusion"]


@pytest.fixture(scope="module")
def report(run: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((run / "report.json").read_text())
    return document


def load(document: dict[str, Any]) -> Report:
    return Report.model_validate(document)


@pytest.fixture
def own(run: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may change."""
    return Path(shutil.copytree(run, tmp_path / "own", ignore=shutil.ignore_patterns("state")))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Page]:
    if chromium.EXECUTABLE is None:
        pytest.skip("there is no Chromium here")
    page = chromium.Page(tmp_path_factory.mktemp("profile"))
    yield page
    page.close()


DRAWN = """[...document.querySelectorAll('svg.plot')].filter(plot =>
  plot.getBoundingClientRect().width > 200 &&
  [...plot.querySelectorAll('.line, .mark, .cell')].some(part => part.getBBox().width > 0)).map(plot => plot.id)"""


@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_opens_cleanly_in_a_browser(browser: chromium.Page, run: Path, width: int) -> None:
    browser.console.clear()
    browser.requests.clear()
    browser.open(run / "report.html", width)
    assert browser.ask(DRAWN) == PLOTS
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert browser.ask("document.body.scrollWidth") <= width
    pictures = "[...document.images].filter(i => i.complete && i.naturalWidth > 0).length"
    assert browser.ask(pictures) == len(json.loads((run / "examples.json").read_text())) > 0
    assert browser.console == []
    assert [r for r in browser.requests if not r.startswith(("data:", (run / "report.html").as_uri()))] == []


def test_the_browser_test_would_notice_what_is_wrong(browser: chromium.Page, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        '<!doctype html><meta name="viewport" content="width=device-width"><div style="width:900px">wide</div>'
        '<img src="http://127.0.0.1:9/x.png"><svg class="plot" id="empty"></svg><script>console.error("no")</script>'
    )
    browser.console.clear()
    browser.requests.clear()
    browser.open(page, 390)
    assert browser.ask("document.documentElement.scrollWidth") > 390
    assert browser.ask(DRAWN) == []
    assert any("no" in line for line in browser.console)
    assert "http://127.0.0.1:9/x.png" in browser.requests


def test_it_prints_on_a_few_pages(browser: chromium.Page, run: Path) -> None:
    browser.open(run / "report.html", 1440)
    pages = re.findall(rb"/Type\s*/Page\b", browser.pdf())
    assert 1 <= len(pages) <= 6


def test_every_plot_is_drawn_and_is_well_formed(report: dict[str, Any]) -> None:
    drawn = plots.plots(load(report))
    assert [plot.name for plot in drawn] == PLOTS
    for plot in drawn:
        root = ElementTree.fromstring(plot.drawing)
        assert root.get("aria-label")
        assert len(plot.drawing) < 20_000
        x, y = (float(v) for v in root.get("viewBox", "").split()[2:])
        for mark in root.iter("circle"):
            assert 0 <= float(mark.get("cx", "-1")) <= x
            assert 0 <= float(mark.get("cy", "-1")) <= y


def test_the_students_minutes_are_drawn_once_more_with_its_teachers_time_before_them(report: dict[str, Any]) -> None:
    def drawn(taken: dict[str, float]) -> plots.Plot:
        found = plots.minutes(load(copy.deepcopy(report) | {"taken": taken}))
        assert found is not None
        return found

    def starts(plot: plots.Plot) -> list[float]:
        paths = [p for p in ElementTree.fromstring(plot.drawing).iter("path") if p.get("class") == "line"]
        return [float(p.get("d", "M0 0")[1:].split()[0]) for p in paths]

    alone, after = drawn({}), drawn({"teacher": 120.0, "targets": 60.0, "export": 600.0})
    assert len(starts(after)) == len(starts(alone)) + 1
    assert starts(after)[-1] > 300, "three minutes, where the training itself took seconds"
    assert max(starts(after)[:-1]) < starts(after)[-1]
    assert "after the 3.0 min that its teachers" in after.remark
    assert [label for label, _, _ in after.keys][-1] == "student, with its teachers' time"


def test_nothing_measured_draws_no_plot(report: dict[str, Any]) -> None:
    bare = copy.deepcopy(report) | {"benchmark": [], "curves": [], "reliability": [], "confusion": None,
                                    "verdicts": [], "examples": []}  # fmt: skip
    assert plots.plots(load(bare)) == []
    page = html.render(load(bare))
    assert "<svg" not in page
    assert "disagree" not in page


def test_the_front_joins_what_nothing_beats(report: dict[str, Any]) -> None:
    changed = copy.deepcopy(report)
    tops = {"teacher": 0.9, "student": 0.8}
    for entry in changed["exports"]:
        entry["top1"] = tops[entry["role"]]
    for row, latency in zip(changed["benchmark"], (1.0, 3.0), strict=True):
        row["p50_ms"], row["p50_interval_ms"] = latency, [latency, latency]
    for model in changed["models"]:
        model["top1"] = 0.5  # the baseline, at the student's latency
    front = fronts(changed)
    assert len(front) == 1
    assert front[0].count("L") == 1  # from the student to the teacher
    changed["exports"][0]["top1"] = changed["exports"][1]["top1"] = 0.8  # the slower one is beaten
    assert fronts(changed) == []


def fronts(report: dict[str, Any]) -> list[str]:
    plot = plots.pareto(load(report))
    assert plot is not None
    root = ElementTree.fromstring(plot.drawing)
    assert {"teacher", "student", "baseline"} <= {text.text for text in root.iter("text")}
    return [str(path.get("d")) for path in root.iter("path") if path.get("class") == "line"]


@pytest.mark.parametrize(
    ("low", "high", "log", "expected"),
    [
        (0, 1, False, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.31, 0.47, False, [0.35, 0.4, 0.45]),
        (0.4, 9, True, [0.5, 1, 2, 5]),
        (1, 1000, True, [1, 10, 100, 1000]),
        (2.1, 2.4, True, [2.1, 2.2, 2.3, 2.4]),
    ],
)
def test_ticks_are_round(low: float, high: float, log: bool, expected: list[float]) -> None:
    found = svg.ticks(svg.Axis(label="", low=low, high=high, log=log))
    assert found == pytest.approx(expected) or set(np.round(expected, 9)) <= set(np.round(found, 9))
    assert len(found) <= 8


def test_labels_are_escaped() -> None:
    drawn = svg.heatmap("x", 'a "quoted" name', ["<b>", "&"], ["<b>", "&"], [[1, 2], [3, 4]])
    texts = [t.text for t in ElementTree.fromstring(drawn).iter("text")]
    assert texts.count("<b>") == 2


def seen(said: list[int], labels: list[int]) -> Predictions:
    logits = 3 * np.eye(3, dtype=np.float32)[said]
    return Predictions(ids=np.arange(len(said)).astype(str), labels=np.array(labels), logits=logits)


def test_pictures_show_disagreements_both_ways_the_worst_class_first() -> None:
    labels = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    teacher = seen([0, 0, 0, 1, 1, 0, 2, 2, 2, 2], labels)
    student = seen([1, 2, 0, 1, 0, 1, 2, 2, 2, 2], labels)
    chosen = examples.choose(teacher, student, 4)
    assert set(chosen) == {0, 1, 4, 5}
    assert chosen[0] in (0, 1)  # class 0 is the student's worst
    assert examples.choose(teacher, teacher) == []
    few = Predictions(ids=student.ids[:3], labels=student.labels[:3], logits=student.logits[:3])
    assert examples.choose(teacher, few) == []


def test_pictures_are_stored_once_and_survive_without_the_data(own: Path) -> None:
    document = build.write(RunFolder(own))
    assert 0 < len(document.examples) <= examples.COUNT
    for entry in document.examples:
        assert entry.image is not None
        assert (own / entry.image).stat().st_size < 10_000
        assert entry.student != entry.teacher
    assert "data:image/png;base64," in (own / "report.html").read_text()
    shutil.rmtree(own / "examples")
    build.write(RunFolder(own))
    assert "<img" not in (own / "report.html").read_text()


def test_report_finds_the_pictures_again_when_the_images_are_here(own: Path) -> None:
    before = (own / "examples.json").read_text()
    (own / "examples.json").unlink()
    shutil.rmtree(own / "examples")
    assert compress("report", own, "--quiet").exit_code == 0
    assert (own / "examples.json").read_text() == before


def test_confusions_add_up_to_the_test_images_of_each_class(run: Path, report: dict[str, Any]) -> None:
    found = report["confusion"]
    folder = RunFolder(run).shipped()
    assert folder is not None
    labels = Predictions.load(folder / "predictions.npz").labels
    classes = report["dataset"]["classes"]
    for name, counts in zip(found["rows"], found["counts"], strict=True):
        assert sum(counts) == (labels == classes.index(name)).sum()
    assert len(found["columns"]) <= mistakes.COLUMNS + 1


def test_reliability_is_of_teacher_student_and_what_was_quantised(own: Path) -> None:
    kinds = [entry.kind for entry in build.build(RunFolder(own)).reliability]
    assert kinds == ["teacher", "student"]
    shutil.copy(own / "student.predictions.npz", own / "student.int8.predictions.npz")
    entries = json.loads((own / "exports.json").read_text())
    student = next(e for e in entries if e["role"] == "student")
    (own / "exports.json").write_text(json.dumps([*entries, student | {"file": "student.int8.onnx",
                                                                       "precision": "int8"}]))  # fmt: skip
    found = build.build(RunFolder(own))
    assert [entry.kind for entry in found.reliability] == ["teacher", "student", "int8"]
    plot = plots.reliability(found)
    assert plot is not None
    assert [label for label, _, _ in plot.keys] == [
        "teacher test_resnet", "student mobilenetv3_small_050", "student.int8.onnx"
    ]  # fmt: skip


def test_the_csv_has_one_line_per_model_file_and_row(report: dict[str, Any], run: Path) -> None:
    lines = list(csv.DictReader(headline.csv(load(report)).splitlines()))
    kinds = [line["kind"] for line in lines]
    assert kinds == ["model"] * 3 + ["export"] * 2 + ["benchmark"] * 2
    assert float(lines[0]["top1"]) == report["models"][0]["top1"]
    assert float(lines[-1]["p50_ms"]) == report["benchmark"][-1]["p50_ms"]
    assert (run / "report.csv").read_text() == headline.csv(load(report))
    printed = compress("report", run, "--csv")
    assert printed.stdout == headline.csv(load(report))


def test_the_headline_says_what_teacher_and_student_cost(report: dict[str, Any]) -> None:
    found = {tile.title: tile for tile in html.tiles(load(report))}
    assert set(found) == {"Top-1 on test", "Latency p50", "File", "Peak memory"}
    assert found["File"].change.endswith("×")
    assert [link.role for link in html.chain(load(report))] == ["teacher", "student", "baseline"]


def test_runs_are_compared_image_by_image(run: Path, own: Path, tmp_path: Path) -> None:
    (folder,) = own.glob("stages/*-student-*/seed0")
    worse = Predictions.load(folder / "predictions.npz")
    worse.logits[:40] = -worse.logits[:40]
    worse.save(folder / "predictions.npz")
    result = compress("report", run, own, "--output", tmp_path / "side", "--json")
    assert result.exit_code == 0, result.output
    first, second = json.loads(result.stdout)["runs"]
    assert first["against_first"] is None
    assert second["against_first"]["low"] <= second["top1"] - first["top1"] <= second["against_first"]["high"]
    text = (tmp_path / "side" / "comparison.md").read_text()
    assert text.count("mobilenetv3_small_050") == 2
    page = (tmp_path / "side" / "comparison.html").read_text()
    assert "Runs compared" in page
    assert "http" not in page


def test_an_unknown_run_among_several_is_an_error(run: Path) -> None:
    result = compress("report", run, "nothing")
    assert result.exit_code == 2
    assert "run 'nothing' does not exist" in result.stderr
