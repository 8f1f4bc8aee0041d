"""The report: rebuilt from files, contract kept, nothing invented."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from compressor.reporting import build, html, markdown, table
from compressor.runfolder import RunFolder


@pytest.fixture(scope="module")
def report(run: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((run / "report.json").read_text())
    return document


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
    assert build.build(RunFolder(run)) == report


def test_what_was_not_measured_is_a_dash_not_a_number(report: dict[str, Any]) -> None:
    bare = copy.deepcopy(report)
    bare["benchmark"] = []
    assert all(row.p50_ms is None and row.peak_rss_mb is None for row in table.rows(bare))
    assert {cells[5] for cells in table.cells(table.rows(bare))} == {"–"}
    assert table.measured_on(bare) is None


def test_the_table_gives_ratios_to_the_teacher(report: dict[str, Any]) -> None:
    rows = table.rows(report)
    assert [row.label for row in rows] == ["teacher", "baseline", "student", "exported"]
    text = table.cells(rows)
    ratio = rows[2].params / rows[0].params  # type: ignore[operator]
    assert text[2][3].endswith(f"({ratio:.2f}×)")
    assert "×" not in text[0][3]


def test_a_teacher_that_hurt_and_one_no_better_than_the_baseline_are_called_out(report: dict[str, Any]) -> None:
    changed = copy.deepcopy(report)
    for model, top1 in zip(changed["models"], (0.80, 0.81, 0.85), strict=True):
        model["top1"] = top1
    changed["help"] = build._help(changed["models"])
    text = " ".join(build._warnings(changed))
    assert "no better than the baseline (0.850)" in text
    assert "help was negative: -4.0 points" in text
    assert table.help_line(changed).startswith("The teacher's help was worth -4.0 points")  # type: ignore[union-attr]


def test_the_page_needs_no_network_and_escapes_names(report: dict[str, Any]) -> None:
    changed = copy.deepcopy(report)
    changed["run"]["name"] = "<script>alert(1)</script>"
    page = html.render(changed)
    assert "<script>" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_markdown_has_every_model_and_file(report: dict[str, Any]) -> None:
    text = markdown.render(report)
    for name in ("test_resnet", "mobilenetv3_small_050", "student.onnx", "Worst classes"):
        assert name in text
