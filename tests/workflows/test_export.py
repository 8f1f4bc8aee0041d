"""Files that are exported again, from a finished run: what is measured of them, and on which images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from compressor.artifact import metadata, session
from compressor.exporting.export import write_metadata
from compressor.progress import Silent
from compressor.quantization import cpus
from compressor.workflows import benchmark as measuring
from tests.conftest import compress, fill


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    """The shared run, to be changed."""
    shutil.copytree(run, tmp_path / "copy")
    return tmp_path / "copy"


def rewritten(source: Path, target: Path, **changes: Any) -> Path:
    """A copy of an exported file that says something else of itself."""
    shutil.copyfile(source, target)
    write_metadata(target, session.load(source).metadata.model_copy(update=changes))
    return target


def test_a_classifier_is_not_evaluated_on_running_text(run: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("The cat sees a small dog.\n" * 50)
    done = compress("evaluate", run / "student.onnx", "--data", tmp_path / "corpus.txt")
    assert done.exit_code == 2
    assert "student.onnx names classes, and" in done.stderr
    assert "is running text without any" in done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("torchscript")
def test_a_replaced_file_loses_what_was_measured_of_the_old_one(copied: Path) -> None:
    rewritten(copied / "student.onnx", copied / "student.fp16.onnx", precision="fp16")
    timed = json.loads((copied / "benchmark.json").read_text())
    own = next(row for row in timed["rows"] if row["file"] == "student.onnx")
    timed["rows"].append(own | {"file": "student.fp16.onnx"})
    timed["models"]["student.fp16.onnx"] = timed["models"]["student.onnx"] | {"precision": "fp16"}
    said = {"file": "student.fp16.onnx", "against": "student.onnx", "provider": "cpu", "worth": "worth it", "text": "!"}
    timed["verdicts"].append(said)
    (copied / "benchmark.json").write_text(json.dumps(timed))
    done = compress("export", copied, "--precision", "fp16")
    assert done.exit_code == 0, done.output
    assert "student.fp16.onnx is no longer the file that was measured: compress benchmark" in done.stderr
    left = json.loads((copied / "benchmark.json").read_text())
    assert left["models"].keys() == timed["models"].keys() - {"student.fp16.onnx"}
    assert {row["file"] for row in left["rows"]} == left["models"].keys()
    assert not [v for v in left["verdicts"] if "student.fp16.onnx" in (v["file"], v["against"])]
    assert "fp16" not in {v["file"] for v in json.loads((copied / "report.json").read_text())["verdicts"]}
    compress("export", copied, "--batch", "2")  # what the others were compared with
    assert not (copied / "benchmark.json").exists()
    assert json.loads((copied / "report.json").read_text())["benchmark"] == []


def test_a_runs_file_is_not_judged_on_other_images(copied: Path, tmp_path: Path) -> None:
    other = fill(tmp_path / "others", classes=tuple("0123456789"))
    before = (copied / "exports.json").read_text()
    done = compress("export", copied, "--data", other)
    assert done.exit_code == 2
    assert "are not those that run" in done.stderr
    assert (copied / "exports.json").read_text() == before


@pytest.mark.parametrize(("command", "status"), [("distill", "interrupted"), ("tune", "tuning")])
def test_a_run_is_not_continued_on_other_images(copied: Path, command: str, status: str) -> None:
    note = json.loads((copied / "run.json").read_text())
    note["status"], note["dataset"]["fingerprint"] = status, "0" * 16
    (copied / "run.json").write_text(json.dumps(note))
    done = compress(command, "--resume", copied)
    assert done.exit_code == 2
    assert "have changed since run" in done.stderr


@pytest.mark.usefixtures("torchscript")
def test_a_place_that_cannot_be_written_is_one_sentence(run: Path) -> None:
    done = compress("export", run, "-o", run / "student.onnx" / "inside.onnx")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.output


def test_files_are_judged_on_images_that_none_was_trained_on(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the order: the first file may know nothing of the images, or have no metadata at all."""
    student = session.load(run / "student.onnx").metadata
    assert student.dataset is not None
    stranger = rewritten(run / "student.onnx", tmp_path / "stranger.onnx", dataset={})
    resplit = rewritten(run / "student.onnx", tmp_path / "resplit.onnx", dataset=student.dataset | {"split": "other"})
    files = (stranger, run / "student.onnx", resplit)
    said: list[str] = []
    progress = Silent()
    monkeypatch.setattr(progress, "say", said.append, raising=False)
    quick = {"processes": 1, "samples": 10, "warmup_seconds": 0, "min_seconds": 0}
    models = measuring.measured([str(file) for file in files], quick, progress, data="digits")[0].models
    counts = {Path(label).name: facts.accuracy.samples if facts.accuracy else None for label, facts in models.items()}
    assert counts["resplit.onnx"] is None
    assert counts["student.onnx"] is not None
    assert counts["stranger.onnx"] == counts["student.onnx"] < 400
    assert any("resplit.onnx was not measured: it has seen some of these test samples" in line for line in said)


def test_integers_for_another_cpu_are_simulated(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "detect", lambda: "x86")
    said: list[str] = []
    progress = Silent()
    monkeypatch.setattr(progress, "say", said.append, raising=False)
    seen: list[bool] = []
    load = session.load

    def spy(path: Path, *, fused: bool = True, **values: Any) -> session.Artifact:
        seen.append(fused)
        return load(path, fused=fused, **values)

    monkeypatch.setattr(session, "load", spy)
    for target, simulated in (("x86", False), ("x86-vnni", True), ("arm", True), ("\x1b[2J", False)):
        seen.clear()
        said.clear()
        cpus.open_artifact(rewritten(run / "student.onnx", tmp_path / "m.onnx", int8={"target": target}), progress)
        assert (not seen[-1]) is simulated
        assert [f"was made for {target}" in line for line in said] == [True] * simulated


def test_a_name_is_shown_only_when_a_terminal_does_not_obey_it() -> None:
    assert metadata.showable("Zürich 東京")
    assert not metadata.showable("\x1b[2J")
