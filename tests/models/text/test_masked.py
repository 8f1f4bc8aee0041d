"""Masked language models against what `transformers` answers, and what the family promises of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from compressor.errors import UsageError
from compressor.models.family import Known
from compressor.models.text.family import BERT
from compressor.models.text.masked import HEAD, MaskedBert
from compressor.models.text.masked_family import MASKED
from compressor.models.weights import build, check_input, initialise
from tests.models.text import folders, make_golden_masked, masked_folders
from tests.models.text.helpers import loaded


def agrees(folder: Path, logits: np.ndarray[Any, Any], hidden: np.ndarray[Any, Any]) -> None:
    """Logits of the asked places and each layer's states, to 1e-5."""
    found = masked_folders.loaded(folder)
    ids, places = masked_folders.batch()
    with torch.no_grad():
        said = MASKED.forward(found.model, (ids, places), embedding=True, taps=tuple(range(len(hidden))))
        assert torch.equal(said.logits, found.model(ids, places))
    rows = np.take_along_axis(logits, places.numpy()[:, :, None], 1).reshape(-1, logits.shape[2])
    np.testing.assert_allclose(said.logits.numpy(), rows, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(said.maps, hidden, strict=True):
        np.testing.assert_allclose(ours.numpy()[:, :, 0, 0], theirs.reshape(-1, theirs.shape[2]), atol=1e-5, rtol=1e-5)
    assert said.embedding is not None
    last = np.take_along_axis(hidden[-1], places.numpy()[:, :, None], 1).reshape(-1, hidden.shape[3])
    np.testing.assert_allclose(said.embedding.numpy(), last, atol=1e-5, rtol=1e-5)
    assert found.head_fits


@pytest.mark.parametrize("case", [*masked_folders.CASES, "distilbert"])
def test_logits_and_hidden_states_are_what_transformers_answered(case: str, tmp_path: Path) -> None:
    with np.load(make_golden_masked.GOLDEN) as golden:
        folder = masked_folders.of_case(tmp_path, case)
        agrees(folder, golden[f"{case}/logits"], golden[f"{case}/hidden"])


@pytest.mark.slow
@pytest.mark.parametrize("case", [*masked_folders.CASES, "distilbert"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_logits_and_hidden_states_are_what_transformers_answers(case: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    folder = masked_folders.of_case(tmp_path, case)
    agrees(folder, **make_golden_masked.answers(folder))


def test_a_distilbert_begins_a_classifier_and_has_no_second_text(tmp_path: Path) -> None:
    folder = masked_folders.write_distilbert(tmp_path)
    found = loaded(folder)
    assert not found.head_fits
    other = masked_folders.loaded(folder).model.state_dict()
    own = found.model.state_dict()
    assert all(torch.equal(own[name], other[name]) for name in own if not name.startswith(("pooler", "classifier")))
    pairs = SimpleNamespace(pair=True, max_length=None, mask=0.0)
    with pytest.raises(UsageError, match="can't tell the two texts of a pair apart"):
        BERT.describe(str(folder), classes=2, setup=pairs, stem="keep")


def test_a_folder_without_a_head_has_a_fresh_one(tmp_path: Path) -> None:
    found = masked_folders.loaded(folders.write(tmp_path))
    assert not found.head_fits
    assert found.origin == "pretrained"
    state = found.model.state_dict()
    words = folders.weights(folders.CONFIG)["bert.embeddings.word_embeddings.weight"]
    assert torch.equal(state["words.weight"], words)


def test_a_head_with_a_table_of_its_own_is_refused(tmp_path: Path) -> None:
    state = masked_folders.weights(folders.CONFIG)
    words = state["bert.embeddings.word_embeddings.weight"]
    masked_folders.loaded(
        masked_folders.write(tmp_path / "same", state | {"cls.predictions.decoder.weight": words.clone()})
    )
    other = masked_folders.write(tmp_path / "other", state | {"cls.predictions.decoder.weight": words + 1})
    with pytest.raises(UsageError, match="a table of words of its own"):
        masked_folders.loaded(other)
    with pytest.raises(UsageError, match="a table of words of its own"):
        masked_folders.loaded(masked_folders.write(tmp_path / "said", tie_word_embeddings=False))


def test_a_student_starts_as_six_of_its_teachers_layers_with_its_head(tmp_path: Path) -> None:
    folder = masked_folders.write(tmp_path, num_hidden_layers=12)
    architecture, preprocessing = MASKED.describe(
        str(folder), classes=len(folders.TOKENS), setup=masked_folders.setup(folder), stem="keep"
    )
    teacher = masked_folders.loaded(folder).model
    known = Known(architecture=architecture, preprocessing=preprocessing, model=lambda: teacher)
    about, _ = MASKED.describe(
        "layers:6", classes=len(folders.TOKENS), setup=masked_folders.setup(folder), stem="keep", teacher=known
    )
    found = initialise(about, "auto", role="student", teacher=known)
    assert (found.origin, found.head_fits) == ("teacher", True)
    own, other = found.model.state_dict(), teacher.state_dict()
    for new, old in enumerate((0, 2, 4, 7, 9, 11)):
        assert torch.equal(own[f"layers.{new}.query.weight"], other[f"layers.{old}.query.weight"])
    for name in (*HEAD, "words.weight", "places.weight", "norm.weight"):
        assert torch.equal(own[name], other[name])
        assert own[name].data_ptr() != other[name].data_ptr()


def test_an_encoder_from_nothing_has_the_corpus_tokens(tmp_path: Path) -> None:
    setup = masked_folders.setup(masked_folders.write(tmp_path))
    about, preprocessing = MASKED.describe("layers:3,hidden:32", classes=31, setup=setup, stem="keep")
    assert (about.layers, about.hidden, about.vocabulary) == (3, 32, 31)
    model = build(about)
    assert isinstance(model, MaskedBert)
    check_input(about, preprocessing)
    ids, places = MASKED.example(preprocessing, 2)
    assert model(ids, places).shape == (2 * places.shape[1], 31)


def test_what_does_not_go_together_is_refused_with_both_sizes(tmp_path: Path) -> None:
    folder = masked_folders.write(tmp_path / "small", vocab_size=20, max_position_embeddings=10)
    setup = masked_folders.setup(masked_folders.write(tmp_path / "tokens"))
    with pytest.raises(UsageError, match="knows 20 tokens, and the corpus is cut into 31"):
        MASKED.describe(str(folder), classes=31, setup=setup, stem="keep")
    short = masked_folders.write(tmp_path / "short", max_position_embeddings=10)
    with pytest.raises(UsageError, match="reads 10 tokens, and a window has 12"):
        MASKED.describe(str(short), classes=31, setup=setup, stem="keep")
    model = build(MASKED.describe("layers:1,hidden:32", classes=31, setup=setup, stem="keep")[0])
    with pytest.raises(UsageError, match=r"data\.options\.length=512"):
        MASKED.forward(model, (torch.zeros(1, 513, dtype=torch.long), torch.zeros(1, 1, dtype=torch.long)))


def test_as_many_other_tokens_are_refused(tmp_path: Path) -> None:
    """Rows of a table of words would be taken for those of other words, and nobody would see why nothing is learnt."""
    setup = masked_folders.setup(masked_folders.write(tmp_path / "tokens"))
    other = masked_folders.write(tmp_path / "other")
    MASKED.describe(str(other), classes=31, setup=setup, stem="keep")
    lines = (other / "vocab.txt").read_text().splitlines()
    (other / "vocab.txt").write_text("\n".join([*lines[:-1], "zz"]) + "\n")
    with pytest.raises(UsageError, match="vocabulary of 31 tokens, and the corpus is cut by another one of 31"):
        MASKED.describe(str(other), classes=31, setup=setup, stem="keep")
