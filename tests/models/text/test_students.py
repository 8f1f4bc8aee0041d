"""Students by their teacher, and by name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from compressor.errors import UsageError
from compressor.models.outputs import pair
from compressor.models.text import names
from compressor.models.text.family import BERT
from compressor.models.weights import build, load_matching
from tests.models.text import folders
from tests.models.text.helpers import SETUP, known, loaded


def test_distilberts_layers_are_the_published_ones() -> None:
    assert names.kept(6, 12) == (0, 2, 4, 7, 9, 11)
    assert names.kept(3, 6) == (0, 2, 5)
    assert names.kept(1, 6) == (0,)
    assert names.kept(12, 12) == tuple(range(12))


def test_a_students_first_weights_are_exactly_its_teachers_layers(tmp_path: Path) -> None:
    folder = folders.write(tmp_path, num_hidden_layers=5)
    teacher = loaded(folder).model
    architecture, preprocessing = BERT.describe("layers:3", classes=7, setup=SETUP, stem="keep", teacher=known(folder))
    assert (architecture.layers, architecture.kept, architecture.source) == (3, (0, 2, 4), None)
    assert preprocessing == known(folder).preprocessing
    student = build(architecture)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    assert not load_matching(student, BERT.shrunk(teacher, architecture), source="the teacher")
    for name, tensor in student.state_dict().items():
        old = name
        for new, place in enumerate(architecture.kept):
            if name.startswith(f"layers.{new}."):
                old = name.replace(f"layers.{new}.", f"layers.{place}.", 1)
        expected = before[name] if name.startswith("classifier.") else teacher.state_dict()[old]
        assert torch.equal(tensor, expected), name


def test_a_student_shares_no_memory_with_its_teacher(tmp_path: Path) -> None:
    folder = folders.write(tmp_path)
    teacher = loaded(folder).model
    architecture, _ = BERT.describe("layers:1", classes=2, setup=SETUP, stem="keep", teacher=known(folder))
    taken = BERT.shrunk(teacher, architecture)
    taken["words.weight"].zero_()
    assert teacher.get_parameter("words.weight").abs().sum() > 0


def test_a_narrower_student_is_fresh_and_keeps_the_heads_width(tmp_path: Path) -> None:
    folder = folders.write(tmp_path)
    architecture, _ = BERT.describe("layers:2,hidden:8", classes=2, setup=SETUP, stem="keep", teacher=known(folder))
    assert (architecture.hidden, architecture.heads, architecture.intermediate, architecture.kept) == (8, 1, 12, ())
    with pytest.raises(UsageError, match="another width"):
        BERT.shrunk(loaded(folder).model, architecture)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("layers:3", "more layers than its teacher"),
        ("layers:1,hidden:10", "multiple of 8"),
        ("layers:1,hidden:24", "at most 16"),
    ],
)
def test_a_student_larger_than_its_teacher_is_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        BERT.describe(name, classes=2, setup=SETUP, stem="keep", teacher=known(folders.write(tmp_path)))


@pytest.mark.parametrize("name", ["layers:3", "bert_tiny"])
def test_a_name_without_tokens_needs_a_teacher(name: str) -> None:
    with pytest.raises(UsageError, match="give an encoder as --teacher"):
        BERT.describe(name, classes=2, setup=SETUP, stem="keep")


def test_a_size_by_name_reads_its_teachers_tokens(tmp_path: Path) -> None:
    architecture, preprocessing = BERT.describe(
        "bert_tiny", classes=2, setup=SimpleNamespace(pair=True, max_length=64, mask=0.0), stem="keep",
        teacher=known(folders.write(tmp_path)),
    )  # fmt: skip
    assert (architecture.layers, architecture.hidden, architecture.heads, architecture.vocabulary) == (2, 128, 2, 31)
    assert (preprocessing.max_length, preprocessing.pair) == (40, True)
    with pytest.raises(UsageError, match="nobody publishes"):
        BERT.pretrained(architecture)


@pytest.mark.parametrize("spelled", ["layers:", "layers:0", "layers:3,hidden:", "bert_smal", "no/such/folder"])
def test_a_name_that_means_nothing_is_refused(spelled: str) -> None:
    with pytest.raises(UsageError, match=r"layers:3, or layers:3,hidden:192|bert_small"):
        BERT.resolve(spelled, "student")


def test_kin_are_the_sizes_between() -> None:
    assert BERT.kin("layers:2")[:2] == ["layers:3", "layers:4"]
    assert BERT.kin("layers:2,hidden:64")[0] == "layers:3,hidden:64"
    assert "bert_mini" in BERT.kin("bert_tiny")


def test_layers_are_paired_with_those_they_were_copied_from(tmp_path: Path) -> None:
    about = known(folders.write(tmp_path, num_hidden_layers=12))
    student, _ = BERT.describe("layers:6", classes=2, setup=SETUP, stem="keep", teacher=about)
    own, other = (BERT.taps(build(a), about.preprocessing)[0] for a in (student, about.architecture))
    assert [(p.student.index, p.teacher.index) for p in pair(own, other)] == list(enumerate((0, 2, 4, 7, 9, 11)))
    fresh, _ = BERT.describe("layers:4,hidden:8", classes=2, setup=SETUP, stem="keep", teacher=about)
    own = BERT.taps(build(fresh), about.preprocessing)[0]
    assert [(p.student.index, p.teacher.index) for p in pair(own, other)] == [(0, 2), (1, 5), (2, 8), (3, 11)]
