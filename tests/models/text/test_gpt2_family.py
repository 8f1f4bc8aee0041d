"""GPT-2's causal models as a family: rows, students by their teacher, and tokens that have to be the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from compressor.artifact.text import read as tokenizers
from compressor.artifact.text.tokenizer import Tokenizer
from compressor.artifact.text.window import WindowPreprocessing
from compressor.data.language.setup import LanguageSetup
from compressor.errors import UsageError
from compressor.models.family import Known
from compressor.models.text import gpt2_weights
from compressor.models.text.gpt2 import Gpt2, Gpt2Architecture
from compressor.models.text.gpt2_family import GPT2
from compressor.models.weights import initialise
from tests.models.text import gpt2s


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return gpt2s.write(tmp_path / "gpt2", n_layer=4, vocab_size=len(gpt2s.TOKENS) + 3)


def setup_of(tokenizer: Tokenizer, length: int = 16) -> LanguageSetup:
    return LanguageSetup(tokenizer=tokenizer, length=length)


def described(
    name: str, setup: LanguageSetup, teacher: Known | None = None
) -> tuple[Gpt2Architecture, WindowPreprocessing]:
    return GPT2.describe(name, classes=setup.tokenizer.size, setup=setup, stem="keep", teacher=teacher)


def taught(folder: Path) -> tuple[Gpt2, Known, LanguageSetup]:
    setup = setup_of(tokenizers.read(folder))
    architecture, preprocessing = described(str(folder), setup)
    model = initialise(architecture, "auto", role="teacher").model.eval()
    assert isinstance(model, Gpt2)
    return model, Known(architecture=architecture, preprocessing=preprocessing, model=lambda: model), setup


@torch.no_grad()
def test_a_folder_is_a_teacher_of_the_tokens_that_its_tokenizer_has(folder: Path) -> None:
    model, known, setup = taught(folder)
    assert known.architecture.classes == setup.tokenizer.size
    ids = torch.arange(24).view(2, 12)
    outputs = GPT2.forward(model, (ids,), embedding=True, taps=(1, 3))
    whole = gpt2_weights.loaded(str(folder))[0](ids).flatten(0, 1)
    assert outputs.logits == pytest.approx(whole[:, : setup.tokenizer.size], abs=1e-6)
    assert outputs.embedding is not None
    assert outputs.embedding.shape == (24, 32)
    assert [tuple(state.shape) for state in outputs.maps] == [(24, 32, 1, 1)] * 2
    assert outputs.logits == pytest.approx(outputs.embedding @ model.words.weight.T, abs=1e-5)


@torch.no_grad()
def test_no_row_sees_what_comes_after_it(folder: Path) -> None:
    model, _, _ = taught(folder)
    ids = torch.arange(16).view(1, 16)
    other = ids.clone()
    other[0, 9:] = 5
    a, b = (GPT2.forward(model, (given,)).logits for given in (ids, other))
    assert torch.equal(a[:9], b[:9])
    assert not torch.allclose(a[9:], b[9:])


def test_a_student_by_its_teacher_starts_as_its_layers_with_no_head_to_be_fitted(folder: Path) -> None:
    model, known, setup = taught(folder)
    architecture, _ = described("layers:2", setup, known)
    assert architecture.kept == (0, 3)
    loaded = initialise(architecture, "auto", role="student", teacher=known)
    assert (loaded.origin, loaded.head_fits) == ("teacher", True)
    own, theirs = loaded.model.state_dict(), model.state_dict()
    assert torch.equal(own["layers.1.up.weight"], theirs["layers.3.up.weight"])
    assert torch.equal(own["words.weight"], theirs["words.weight"])
    assert GPT2.head(loaded.model) == set()
    narrow, _ = described("layers:2,hidden:16", setup, known)
    assert (narrow.kept, narrow.heads, narrow.positions) == ((), 2, known.architecture.positions)  # type: ignore[attr-defined]
    assert initialise(narrow, "auto", role="student", teacher=known).origin == "scratch"


def test_a_teacher_from_scratch_reads_as_many_tokens_as_a_window_has(folder: Path) -> None:
    setup = setup_of(tokenizers.read(folder))
    found, preprocessing = described("layers:3,hidden:96", setup)
    assert (found.layers, found.hidden, found.heads, found.positions) == (3, 96, 3, 16)
    assert found.classes == setup.tokenizer.size
    assert GPT2.build(found)(*GPT2.example(preprocessing, 2)).shape == (2, 16, setup.tokenizer.size)


def test_other_tokens_and_longer_windows_are_refused_with_both_sizes(folder: Path, tmp_path: Path) -> None:
    _, known, setup = taught(folder)
    other = gpt2s.write(tmp_path / "other", tokens=[*gpt2s.TOKENS[:-1], "zz", gpt2s.END])
    with pytest.raises(UsageError, match=f"{len(gpt2s.TOKENS) + 1} tokens.* {len(gpt2s.TOKENS)}"):
        described(str(other), setup, known)
    fewer = setup_of(tokenizers.read(other))
    with pytest.raises(UsageError, match=f"knows {len(gpt2s.TOKENS)} tokens, and the data has {len(gpt2s.TOKENS) + 1}"):
        described("layers:2", fewer, known)
    with pytest.raises(UsageError, match=r"reads 64 tokens at most, .* 65"):
        described(str(folder), setup_of(setup.tokenizer, 65))
    model, _, _ = taught(folder)
    with pytest.raises(UsageError, match=r"data\.options\.length=64"):
        GPT2.forward(model, (torch.zeros(1, 65, dtype=torch.long),))


def test_what_a_window_is_survives_its_json_and_feeds_a_graph(folder: Path) -> None:
    own = WindowPreprocessing(tokenizer=tokenizers.read(folder), length=8)
    again = WindowPreprocessing.model_validate_json(own.model_dump_json())
    assert again.view_key == own.view_key
    inputs = again.encode([np.arange(8), np.arange(8) + 1])
    assert inputs["input_ids"].tolist() == [[*range(8)], [*range(1, 9)]]
    with pytest.raises(UsageError, match="compress generate"):
        own.sources("some words")
