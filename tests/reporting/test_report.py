"""The report: rebuilt from files, contract kept, nothing invented."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compressor.evaluation.predictions import Predictions
from compressor.reporting import build, headline, html, pull_request, screen
from compressor.reporting.document import Help, Report
from compressor.runfolder import RunFolder
from compressor.runnote import ArchitectureNote, StageNote


@pytest.fixture(scope="module")
def report(run: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((run / "report.json").read_text())
    return document


def load(document: dict[str, Any]) -> Report:
    return Report.model_validate(document)


def test_the_contracts_keys_are_there(report: dict[str, Any]) -> None:
    assert report["schema_version"] == 1
    assert {"name", "classes", "train", "validation", "test", "fingerprint"} <= set(report["dataset"])
    for model in report["models"]:
        assert {"role", "name", "seed", "params", "macs", "top1", "top5", "nll", "ece", "teacher_agreement",
                "train_seconds", "images_per_second", "weights"} <= set(model)  # fmt: skip
    for entry in report["exports"]:
        assert {"file", "precision", "bytes", "opset", "top1", "ece", "parity"} <= set(entry)
        assert {"max_relative_error", "top1_agreement", "samples"} <= set(entry["parity"])
    for row in report["benchmark"]:
        assert {"file", "provider", "placement", "threads", "batch", "samples", "p50_ms", "p90_ms", "p99_ms",
                "throughput", "load_ms", "first_run_ms", "peak_rss_mb", "noisy"} <= set(row)  # fmt: skip
    assert {m["role"] for m in report["models"]} == {"teacher", "student", "baseline"}


def test_a_rebuilt_report_is_the_same(run: Path, report: dict[str, Any]) -> None:
    assert build.build(RunFolder(run)).as_dict() == report


def test_what_was_not_measured_is_a_dash_not_a_number(report: dict[str, Any]) -> None:
    bare = copy.deepcopy(report)
    bare["benchmark"] = []
    rows = headline.rows(load(bare))
    assert all(row.p50_ms is None and row.peak_rss_mb is None for row in rows)
    assert {cells[5] for cells in headline.cells(rows)} == {"–"}
    assert headline.measured_on(load(bare)) is None


def test_the_table_gives_ratios_to_the_teacher(report: dict[str, Any]) -> None:
    rows = headline.rows(load(report))
    assert [row.label for row in rows] == ["teacher", "baseline", "student", "exported"]
    text = headline.cells(rows)
    ratio = rows[2].params / rows[0].params  # type: ignore[operator]
    assert text[2][3].endswith(f"({ratio:.2f}×)")
    assert "×" not in text[0][3]


def test_a_teacher_that_hurt_and_one_no_better_than_the_baseline_are_called_out(report: dict[str, Any]) -> None:
    changed = copy.deepcopy(report)
    for model, top1 in zip(changed["models"], (0.80, 0.81, 0.85), strict=True):
        model["top1"] = top1
    changed["help"] |= {"top1_gain_mean": -0.04, "interval": [-0.06, -0.02], "verdict": "hurt", "seeds": [0, 1, 2]}
    text = " ".join(build._warnings(load(changed)))
    assert "no better than the baseline (0.850)" in text
    assert "The teacher hurt: -4.0 points" in text
    line = headline.help_line(load(changed))
    assert line is not None
    assert line.startswith(
        "The teacher's help was worth -4.0 points of test accuracy (95 % interval -6.0 … -2.0; 3 seeds"
    )
    assert line.endswith("It hurt.")


@pytest.mark.parametrize(("role", "top1"), [("teacher", 0.0), ("baseline", 1.0)])
def test_one_without_the_other_is_not_compared(report: dict[str, Any], role: str, top1: float) -> None:
    changed = copy.deepcopy(report)
    changed["models"] = [model | {"top1": top1} for model in changed["models"] if model["role"] == role]
    assert "no better than" not in " ".join(build._warnings(load(changed)))


def test_one_training_tells_nothing_and_says_what_three_seeds_cost(report: dict[str, Any], run: Path) -> None:
    found = report["help"]
    assert found["verdict"] == "one training"
    trained = [m["train_seconds"] for m in report["models"] if m["role"] in ("student", "baseline")]
    assert found["three_seeds_seconds"] == pytest.approx(2 * sum(trained))
    assert found["interval"][0] < found["top1_gain_mean"] < found["interval"][1]
    line = headline.help_line(load(report))
    assert line is not None
    assert "The teacher's help came to " in line
    assert "One training can't tell" in line
    assert line.endswith(
        f"Three seeds (--seeds 3) may, for about {headline._lasting(2 * sum(trained))} more of training."
    )
    assert line in (run / "report.md").read_text()
    assert line in [block for block in screen.report(RunFolder(run), load(report)) if isinstance(block, str)]
    unknown = copy.deepcopy(report)
    unknown["help"]["three_seeds_seconds"] = None
    assert str(headline.help_line(load(unknown))).endswith("Three seeds (--seeds 3) may.")
    assert [headline._lasting(s) for s in (0.2, 62, 600, 9000)] == ["1 s", "62 s", "10 min", "2.5 h"]


def test_the_verdict_comes_from_paired_predictions(tmp_path: Path) -> None:
    labels = np.arange(400) % 4
    rng = np.random.default_rng(0)

    def predictions(accuracy: float) -> Predictions:
        said = np.where(rng.random(400) < accuracy, labels, (labels + 1) % 4)
        return Predictions(ids=np.arange(400).astype(str), labels=labels, logits=np.eye(4, dtype=np.float32)[said])

    def verdict(student: float, baseline: float, seeds: int = 3, seconds: float | None = 9.0) -> Help:
        stages = []
        for role, accuracy in (("student", student), ("baseline", baseline)):
            for seed in range(seeds):
                note = StageNote(
                    architecture=ArchitectureNote(name="m"), role=role, origin="scratch", seed=seed, params=1, macs=1,
                    train_seconds=seconds,
                )  # fmt: skip
                stages.append(build.Stage(folder=tmp_path, note=note, predictions=predictions(accuracy), epochs=[]))
        found = build._help(stages)
        assert found is not None
        assert found.interval[0] <= found.top1_gain_mean <= found.interval[1]
        return found

    assert verdict(0.95, 0.75).verdict == "helped"
    assert verdict(0.75, 0.95).verdict == "hurt"
    assert verdict(0.90, 0.90).verdict == "no difference"
    assert verdict(0.95, 0.75).three_seeds_seconds is None
    alone = verdict(0.75, 0.95, seeds=1)
    assert (alone.verdict, alone.three_seeds_seconds) == ("one training", 36.0)
    assert verdict(0.95, 0.75, seeds=1, seconds=None).three_seeds_seconds is None


def test_the_page_needs_no_network_and_escapes_names(report: dict[str, Any]) -> None:
    changed = copy.deepcopy(report)
    changed["run"]["name"] = "<script>alert(1)</script>"
    page = html.render(load(changed))
    assert "<script>" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_markdown_has_every_model_and_file(report: dict[str, Any]) -> None:
    text = pull_request.render(load(report))
    for name in ("test_resnet", "mobilenetv3_small_050", "student.onnx", "Worst classes"):
        assert name in text
