"""The JSON documents: old ones load, new ones read back as they were written, damaged ones are one sentence."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compressor.benchmarking import regression
from compressor.benchmarking.document import Benchmark
from compressor.document import Document
from compressor.errors import CompressorError
from compressor.files import finite, read_document, read_documents, write_json
from compressor.quantization.document import ArtifactEntry, Int8
from compressor.reporting import html, pull_request
from compressor.reporting.document import Example, Report
from compressor.runnote import Epoch, RunNote, StageNote
from tests.conftest import compress

OLD = Path(__file__).parent / "old"
"""Written by version 0.1.0 of 22 November 2026, samples trimmed."""

MODELS: list[tuple[str, type[Document]]] = [
    ("run", RunNote), ("exports", ArtifactEntry), ("benchmark", Benchmark), ("report", Report), ("int8", Int8),
]  # fmt: skip


def lost(old: Any, new: Any, where: str = "") -> list[str]:
    """Where a value of the old document is another one in the new, or gone."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [text for key in old for text in lost(old[key], new.get(key, "gone"), f"{where}.{key}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [text for i, (a, b) in enumerate(zip(old, new, strict=True)) for text in lost(a, b, f"{where}[{i}]")]
    return [] if old == new and type(old) is type(new) else [where]


def read(path: Path, model: type[Document]) -> Any:
    return read_documents(path, model) if path.stem == "exports" else read_document(path, model)


@pytest.mark.parametrize(("name", "model"), [*MODELS, ("int8-refused", Int8)])
def test_an_old_document_loads_and_keeps_every_value(name: str, model: type[Document]) -> None:
    path = OLD / f"{name}.json"
    assert lost(json.loads(path.read_text()), finite(read(path, model))) == []


def test_what_an_older_document_lacks_is_not_invented() -> None:
    row = {"file": "a", "provider": "cpu", "threads": 1, "batch": 1, "samples": 2, "p50_ms": 1.0, "raw_ms": [[1, 1]]}
    (found,) = Benchmark.model_validate({"rows": [row]}).rows
    assert found.p99_ms is None
    assert found.noisy is None
    assert found.ratio is None
    note = RunNote.model_validate({"created": "2026-11-22T00:00:00+00:00", "something": "newer"})
    assert note.dataset is None


@pytest.mark.skipif(importlib.util.find_spec("jinja2") is None, reason="needs jinja2")
def test_an_old_report_is_shown_as_before() -> None:
    report = read_document(OLD / "report.json", Report)
    assert "| student | mobilenetv3_small_050 | 0 |" in pull_request.render(report)
    assert "digits" in html.render(report)


def test_an_old_benchmark_is_compared_with_itself() -> None:
    old = regression.read(OLD / "benchmark.json")
    assert regression.check(old, old).worse == []


@pytest.mark.parametrize(("name", "model"), [pair for pair in MODELS if pair[0] not in ("int8", "run")])
def test_a_document_is_read_and_written_again_as_it_was(
    run: Path, tmp_path: Path, name: str, model: type[Document]
) -> None:
    write_json(tmp_path / "again.json", read(run / f"{name}.json", model))
    assert (tmp_path / "again.json").read_text() == (run / f"{name}.json").read_text()


def test_every_other_document_of_a_run_has_a_model(run: Path) -> None:
    written = json.loads((run / "run.json").read_text())
    note = read_document(run / "run.json", RunNote)
    assert note.model_dump(mode="json", exclude_unset=True) == written
    assert read_documents(run / "examples.json", Example)
    for folder in run.glob("stages/*/seed*"):
        assert (read_document(folder / "model.json", StageNote).params or 0) > 0
        for line in (folder / "metrics.jsonl").read_text().splitlines():
            assert lost(json.loads(line), Epoch.model_validate_json(line).as_dict()) == []


def test_a_number_that_json_cannot_hold_is_null() -> None:
    entry = read_documents(OLD / "exports.json", ArtifactEntry)[0]
    assert finite(entry.model_copy(update={"ece": float("nan")}))["ece"] is None


def drop(*keys: str) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for key in keys[:-1]:
            document = document[int(key) if isinstance(document, list) else key]
        del document[keys[-1]]

    return change


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        ("run.json", drop("dataset", "classes"), "run.json is damaged: dataset.classes: Field required"),
        ("exports.json", drop("0", "role"), "exports.json is damaged: role: Field required"),
        ("benchmark.json", drop("rows"), "benchmark.json is damaged: rows: Field required"),
        ("benchmark.json", None, "benchmark.json is damaged: Expecting"),
        ("examples.json", None, "examples.json is damaged: "),
        ("stages/00-teacher-test_resnet/seed0/model.json", drop("role"), "model.json is damaged: role: Field required"),
        ("stages/00-teacher-test_resnet/seed0/metrics.jsonl", None, "metrics.jsonl is damaged: Expecting"),
    ],
)
def test_a_damaged_document_is_one_sentence(
    run: Path, tmp_path: Path, file: str, change: Callable[[Any], None] | None, reason: str
) -> None:
    own = Path(shutil.copytree(run, tmp_path / "own", ignore=shutil.ignore_patterns("state", "*.onnx")))
    path = own / file
    if change is None:
        path.write_text(path.read_text()[:40])
    else:
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))
    result = compress("report", own, "--quiet")
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.stderr.count("\n") == 1
    assert reason in result.stderr
    assert str(own) in result.stderr


def test_a_missing_document_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CompressorError, match=r"nothing\.json can't be read: No such file"):
        read_document(tmp_path / "nothing.json", Report)
    (tmp_path / "exports.json").write_text("{}")
    with pytest.raises(CompressorError, match=r"exports\.json is damaged: it holds no list"):
        read_documents(tmp_path / "exports.json", ArtifactEntry)


def test_the_schemas_and_their_list_are_current() -> None:
    path = Path(__file__).resolve().parents[2] / "docs" / "generate.py"
    spec = importlib.util.spec_from_file_location("generate", path)
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.DOCUMENTS.read_text() == generate.documents()
    for name in generate.MODELS:
        assert (generate.SCHEMAS / f"{name}.schema.json").read_text() == generate.schema(name)
