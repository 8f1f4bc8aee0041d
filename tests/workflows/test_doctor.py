"""`compress doctor --data`: a folder as a whole, before anything is trained on it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import compressor
from compressor.progress import Silent
from tests.conftest import compress, fill, paint


def photo(path: Path, index: int, *, side: int = 64, quality: int = 95) -> None:
    """A smooth picture that survives scaling."""
    coarse = np.random.default_rng(index).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC).resize((side, side)).save(path, quality=quality)


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    root = tmp_path / "messy"
    for split, start in (("train", 0), ("val", 100), ("test", 200)):
        for label, name in enumerate(("cat", "dog")):
            for index in range(12 if (split, name) == ("train", "cat") else 3):
                photo(root / split / name / f"{index}.jpg", start + 50 * label + index)
    shutil.copy(root / "test" / "cat" / "0.jpg", root / "train" / "cat" / "copy.jpg")
    photo(root / "train" / "dog" / "smaller.jpg", 250, side=48, quality=60)
    (root / "train" / "cat" / "broken.jpg").write_bytes(b"no image")
    (root / "train" / "cat" / "phone.heic").write_bytes(b"x")
    return root


def test_a_folder_is_described_before_anything_is_trained(messy: Path) -> None:
    found = compressor.doctor(data=messy, progress=Silent()).data
    assert found is not None
    assert (found.train, found.validation, found.test) == (16, 6, 6)
    assert {c.name: (c.samples, c.train) for c in found.classes} == {"cat": (19, 12), "dog": (10, 4)}
    assert {entry.reason: entry.examples for entry in found.unused} == {
        "damaged": ["train/cat/broken.jpg"],
        "unsupported type .heic": ["train/cat/phone.heic"],
        "repeated from test, taken out of train": ["train/cat/copy.jpg = test/cat/0.jpg"],
    }
    (alike,) = found.look_alikes
    assert (alike.splits, alike.pairs) == ("test and train", 1)
    assert alike.examples == ["test/dog/0.jpg ~ train/dog/smaller.jpg"]
    assert found.imbalance == pytest.approx(1.9)
    assert (found.smallest, found.largest) == ([48, 48], [64, 64])
    assert "1 samples can't be read" in found.problems[0], "more than data.max_unreadable allows"


def test_the_screen_and_the_document_say_it(messy: Path) -> None:
    shown = compress("doctor", "--data", messy)
    assert shown.exit_code == 0, shown.output
    for text in (
        "messy: 29 samples in 2 classes, 48 × 48 to 64 × 64 pixels",
        "Not used: 1 damaged",
        "Look alike: 1 pair",
    ):
        assert text in shown.output
    document = json.loads(compress("doctor", "--data", messy, "--json", "--quiet").stdout)
    assert document["data"]["train"] == 16
    assert document["host"]


def test_what_keeps_a_training_from_starting_is_a_problem_of_the_report(tmp_path: Path) -> None:
    fill(tmp_path / "few", ("a", "b"), count=5)
    paint(tmp_path / "few" / "c" / "only.png", 2, 1)
    found = compressor.doctor(data=tmp_path / "few", progress=Silent()).data
    assert found is not None
    assert found.problems
    assert "too few samples to split" in found.problems[0]
    assert [c.samples for c in found.classes] == [5, 5, 1]


def test_a_folder_that_is_none_is_an_error_in_a_sentence(tmp_path: Path) -> None:
    shown = compress("doctor", "--data", tmp_path / "nowhere")
    assert shown.exit_code == 2
    assert "nowhere" in shown.output
    assert "Traceback" not in shown.output


def test_the_machine_is_told_as_before() -> None:
    assert "data" not in compressor.doctor().document


def test_the_plan_and_strict_data_say_it_too(messy: Path) -> None:
    common = ["distill", "--teacher", "test_resnet", "--student", "test_resnet", "--data", str(messy),
              "--set", "data.max_unreadable=0.5", "--dry-run"]  # fmt: skip
    refused = compress(*common, "--strict-data")
    assert refused.exit_code == 2
    assert "train/cat/copy.jpg = test/cat/0.jpg" in refused.output
