"""onnxruntime-web's names with a few bytes in each, in the place of 41 MB."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from compressor.web import assets
from tests.artifact.test_hostile import GOOD, tiny
from tests.conftest import paint


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """npm's archive, small; its digests are the pinned ones, and the cache is empty."""
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    contents = {name: f"// {name}\n".encode() for name in (*assets.WASM, *assets.WEBGPU)}
    path = tmp_path / "npm" / assets.ARCHIVE
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        for name, content in contents.items():
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    for table in ("WASM", "WEBGPU"):
        monkeypatch.setattr(assets, table, {name: assets.digest(contents[name]) for name in getattr(assets, table)})
    monkeypatch.setattr(assets, "INTEGRITY", "sha512-" + assets.digest(path.read_bytes()))
    return path


@pytest.fixture
def runtime(archive: Path) -> Path:
    """The same, in the cache."""
    assets.unpack(archive)
    return archive


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A run folder as far as the page looks at it: student, teacher, report, two examples."""
    run = tmp_path / "run"
    student = tiny(run / "student.onnx", about=GOOD | {"top1": 0.5})
    (run / "run.json").write_text(json.dumps({"schema_version": 1, "created": "2026-01-01T00:00:00+00:00"}))
    stage = run / "stages" / "00-teacher-big" / "seed0"
    tiny(stage / "model.onnx", about=GOOD | {"name": "big", "role": "teacher"})
    (stage / "model.json").write_text(
        json.dumps({"role": "teacher", "seed": 0, "architecture": {"name": "big"}, "origin": "scratch"})
    )
    (run / "report.html").write_text("<!doctype html><style>p { color: red }</style><p>A report")
    entries = []
    for number in range(2):
        paint(run / "examples" / f"{number:02d}.png", number, 0)
        entries.append({
            "id": str(number), "image": f"examples/{number:02d}.png", "label": "a", "teacher": "a",
            "teacher_confidence": 1.0, "student": "b", "student_confidence": 1.0,
        })  # fmt: skip
    entries.append(entries[0] | {"image": "../secret.png"})
    (run / "examples.json").write_text(json.dumps(entries))
    paint(tmp_path / "secret.png", 0, 0)
    return student.parent
