"""Images without labels: who sees them, who doesn't, and which are refused."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compressor.artifact.images import open_image
from compressor.data.config import DataConfig
from compressor.data.images.decoded import with_decoded
from compressor.data.load import load_dataset
from compressor.distillation import fit
from compressor.errors import DataError
from compressor.progress import Silent
from compressor.workflows import distill as pipeline
from tests.conftest import TINY, compress, paint


@pytest.fixture
def loose(tmp_path: Path) -> Path:
    """Twenty images in a folder and one below it, of no known class."""
    for index in range(20):
        paint(tmp_path / "loose" / ("deep" if index % 2 else "") / f"{index}.png", index % 3, 500 + index)
    return tmp_path / "loose"


def test_they_join_training_alone(photos: Path, loose: Path) -> None:
    plain = load_dataset(DataConfig(source=str(photos)))
    dataset = load_dataset(DataConfig(source=str(photos), unlabeled=str(loose)))
    assert len(dataset.splits["unlabeled"]) == 20
    assert (dataset.labels[dataset.splits["unlabeled"]] == -1).all()
    for split in ("train", "validation", "test", "all"):
        assert (dataset.splits[split] == plain.splits[split]).all()
    joined = dataset.with_unlabeled()
    assert len(joined.splits["train"]) == len(plain.splits["train"]) + 20
    assert (np.diff(joined.splits["train"]) > 0).all()
    assert dataset.fingerprint != plain.fingerprint
    assert dataset.content == plain.content  # a teacher of the labelled images is still known as theirs
    assert len(set(dataset.ids)) == len(dataset.ids)
    stored = with_decoded(dataset, 32, Silent())
    last = int(dataset.splits["unlabeled"][-1])
    assert (np.asarray((stored.setup.stored or stored.read)(last)) == np.asarray(dataset.read(last))).all()


def test_validation_and_test_images_are_left_out_in_any_format(photos: Path, loose: Path) -> None:
    plain = load_dataset(DataConfig(source=str(photos)))
    held = [plain.ids[int(plain.splits[split][0])] for split in ("validation", "test")]
    shutil.copy(photos / held[0], loose / "seen-before.png")
    plain.read(plain.ids.index(held[1])).save(loose / "seen-before.bmp")
    (loose / "broken.jpg").write_bytes(b"no image")
    dataset = load_dataset(DataConfig(source=str(photos), unlabeled=str(loose)))
    assert len(dataset.splits["unlabeled"]) == 20
    assert any("2 of the unlabelled images are validation or test images" in note for note in dataset.notes)
    assert [Path(name).name for name in dataset.unreadable] == ["broken.jpg"]


def test_other_images_are_other_targets(photos: Path, loose: Path) -> None:
    before = load_dataset(DataConfig(source=str(photos), unlabeled=str(loose)))
    paint(loose / "0.png", 0, 999)
    after = load_dataset(DataConfig(source=str(photos), unlabeled=str(loose)))
    assert before.ids[-1] != after.ids[-1]
    assert before.fingerprint != after.fingerprint


def test_no_folder_and_no_image(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_dataset(DataConfig(source=str(photos), unlabeled=str(tmp_path / "nowhere")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no usable image"):
        load_dataset(DataConfig(source=str(photos), unlabeled=str(tmp_path / "empty")))


def baseline_epochs(run: Path) -> int:
    return len(next(run.glob("stages/*-baseline-*/seed0/metrics.jsonl")).read_text().splitlines())


def test_distill_with_them(photos: Path, loose: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: Counter[str] = Counter()
    original = open_image

    def noting(path: Path) -> Any:
        if path.is_relative_to(photos):
            opened.update([str(path.relative_to(photos))])
        return original(path)

    monkeypatch.setattr("compressor.data.images.unchanged.open_image", noting)
    monkeypatch.setattr(fit, "KEPT_BYTES", 0)
    monkeypatch.setattr(pipeline, "export_run", lambda *a, **k: {})
    monkeypatch.setattr(pipeline, "document", lambda *a, **k: {"rows": [], "host": None})
    common = ["distill", "--teacher", "test_resnet", "--student", "mobilenetv3_small_050", "--data", str(photos),
              "--unlabeled", str(loose), *TINY, "--set", "stage.batch_size=8"]  # fmt: skip
    result = compress(*common, "--name", "all")
    assert result.exit_code == 0, result.output
    run = workdir / "runs" / "all"
    data = load_dataset(DataConfig(source=str(photos)))
    held = {data.ids[i]: opened[data.ids[i]] for i in data.splits["validation"]}
    assert set(held.values()) == {1}, "three models, two epochs, no room in memory: each file is decoded once"
    assert json.loads((run / "report.json").read_text())["dataset"]["unlabeled"] == 20
    rows = {stage.name[3:].split("-")[0]: len((stage / "seed0" / "metrics.jsonl").read_text().splitlines())
            for stage in (run / "stages").iterdir()}  # fmt: skip
    assert rows == {"teacher": 2, "student": 2, "baseline": round(2 * (25 + 20) / 25)}
    result = compress(*common, "--name", "sure", "--set", "data.unlabeled_confidence=0.99",
                      "--set", f"teacher.model={next(run.glob('stages/00-*/seed0'))}")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "learns from 0 unlabelled samples" in result.output  # two epochs leave no teacher that sure
    assert baseline_epochs(workdir / "runs" / "sure") == 2, "as many steps as its student, which was given none of them"
    shutil.rmtree(loose)
    assert compress("evaluate", str(run), "--quiet").exit_code == 0
