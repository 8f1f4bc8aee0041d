"""Our GPT-2 against what `transformers` answers, with and without a cache."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compressor.errors import CheckpointError, UsageError
from compressor.models.text import gpt2_weights
from compressor.models.text.gpt2 import Gpt2, Gpt2Architecture
from tests.models.text import folders, gpt2s, make_golden_gpt2


def agrees(folder: Path, logits: np.ndarray[Any, Any], hidden: np.ndarray[Any, Any]) -> None:
    """Logits and each layer's states, to 1e-5."""
    model, _ = gpt2_weights.loaded(str(folder))
    with torch.no_grad():
        last, tapped, _ = model.encode(gpt2s.batch(), taps=tuple(range(len(hidden) - 1)))
        assert torch.equal(model.logits(last), model(gpt2s.batch()))
    np.testing.assert_allclose(model.logits(last).detach().numpy(), logits, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip([*tapped, last], hidden, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", gpt2s.CASES)
def test_logits_and_every_hidden_state_are_what_transformers_answered(case: str, tmp_path: Path) -> None:
    with np.load(make_golden_gpt2.GOLDEN) as golden:
        agrees(gpt2s.write(tmp_path, **gpt2s.CASES[case]), golden[f"{case}/logits"], golden[f"{case}/hidden"])


@pytest.mark.slow
@pytest.mark.parametrize("case", gpt2s.CASES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_logits_and_every_hidden_state_are_what_transformers_answers(case: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    folder = gpt2s.write(tmp_path, **gpt2s.CASES[case])
    agrees(folder, **make_golden_gpt2.answers(folder))


@pytest.mark.parametrize("case", gpt2s.CASES)
def test_a_text_read_piece_by_piece_has_the_logits_of_the_whole(case: str, tmp_path: Path) -> None:
    model, _ = gpt2_weights.loaded(str(gpt2s.write(tmp_path, **gpt2s.CASES[case])))
    ids = gpt2s.batch()
    cache: Any = ()
    given = []
    with torch.no_grad():
        for piece in ids.split([3, 1, 1, 2], dim=1):
            hidden, _, cache = model.encode(piece, cache)
            given.append(model.logits(hidden))
        np.testing.assert_allclose(torch.cat(given, dim=1), model(ids), atol=1e-5, rtol=1e-5)


def test_no_token_sees_what_follows_it(tmp_path: Path) -> None:
    model, _ = gpt2_weights.loaded(str(gpt2s.write(tmp_path)))
    ids = gpt2s.batch()
    other = ids.clone()
    other[:, 4:] = 3
    with torch.no_grad():
        np.testing.assert_allclose(model(ids)[:, :4], model(other)[:, :4], atol=1e-6, rtol=0)


def test_names_with_and_without_a_prefix_are_read(tmp_path: Path) -> None:
    plain, _ = gpt2_weights.loaded(str(gpt2s.write(tmp_path / "a")))
    prefixed, _ = gpt2_weights.loaded(str(gpt2s.write(tmp_path / "b", prefix="transformer.")))
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, prefixed.state_dict()[name])


def test_what_is_no_gpt2_of_ours_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="type bert, and only causal language models of type gpt2"):
        gpt2_weights.loaded(str(folders.write(tmp_path / "bert")))
    with pytest.raises(UsageError, match="a GPT-2 with a head of its own"):
        gpt2_weights.loaded(str(gpt2s.write(tmp_path / "untied", tie_word_embeddings=False)))
    with pytest.raises(UsageError, match="knows 200 tokens, and the tokenizer beside it has 262"):
        gpt2_weights.loaded(str(gpt2s.write(tmp_path / "few", vocab_size=200)))
    torn = gpt2s.write(tmp_path / "torn")
    (torn / "config.json").write_text((torn / "config.json").read_text().replace('"n_layer": 2', '"n_layer": 3'))
    with pytest.raises(CheckpointError, match=r"12 tensors missing .*layers\.2\.norm"):
        gpt2_weights.loaded(str(torn))


def test_fresh_weights_are_gpt2s() -> None:
    torch.manual_seed(0)
    model = Gpt2(Gpt2Architecture(name="x", classes=300, layers=8, hidden=64, heads=4, intermediate=256))
    assert model.get_parameter("words.weight").std().item() == pytest.approx(0.02, rel=0.03)
    assert model.get_parameter("layers.3.down.weight").std().item() == pytest.approx(0.005, rel=0.03)
    assert model.get_parameter("layers.3.parts.bias").abs().sum() == 0
    assert bool((model.get_parameter("norm.weight") == 1).all())
