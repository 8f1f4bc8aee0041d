"""Our BERT against what `transformers` answers, and what the family promises of it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compressor.models.cost import macs
from compressor.models.text.bert import Bert, TextArchitecture
from compressor.models.text.family import BERT
from compressor.models.weights import build
from tests.models.text import folders, make_golden
from tests.models.text.helpers import given, known, loaded


def agrees(folder: Path, logits: np.ndarray[Any, Any], hidden: np.ndarray[Any, Any]) -> None:
    """Logits and each layer's states of the real tokens, to 1e-5."""
    model = loaded(folder).model
    with torch.no_grad():
        said = BERT.forward(model, given(), taps=tuple(range(len(hidden))))
        assert torch.equal(said.logits, model(*given()))
    real = folders.batch()["attention_mask"].astype(bool)
    np.testing.assert_allclose(said.logits.numpy(), logits, atol=1e-5, rtol=0)
    for ours, theirs in zip(said.maps, hidden, strict=True):
        np.testing.assert_allclose(ours.numpy()[:, :, 0, 0], theirs[real], atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", folders.CASES)
def test_logits_and_every_hidden_state_are_what_transformers_answered(case: str, tmp_path: Path) -> None:
    with np.load(make_golden.GOLDEN) as golden:
        agrees(folders.write(tmp_path, **folders.CASES[case]), golden[f"{case}/logits"], golden[f"{case}/hidden"])


@pytest.mark.slow
@pytest.mark.parametrize("case", folders.CASES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_logits_and_every_hidden_state_are_what_transformers_answers(case: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    folder = folders.write(tmp_path, **folders.CASES[case])
    agrees(folder, **make_golden.answers(folder))


def test_padding_changes_nothing(tmp_path: Path) -> None:
    model = loaded(folders.write(tmp_path)).model
    ids, mask, types = given()
    with torch.no_grad():
        short, long = (model(t[1:2, :5], t2[1:2, :5], t3[1:2, :5]) for t, t2, t3 in [(ids, mask, types)] * 2)
        long = model(ids[1:2], mask[1:2], types[1:2])
    torch.testing.assert_close(short, long, atol=1e-6, rtol=0)


def test_a_batch_is_cut_to_its_longest_text(tmp_path: Path) -> None:
    about = known(folders.write(tmp_path))
    inputs = {
        "input_ids": torch.arange(12, dtype=torch.int32).view(2, 6),
        "attention_mask": torch.tensor([[1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]], dtype=torch.uint8),
        "token_type_ids": torch.zeros(2, 6, dtype=torch.uint8),
    }
    prepared = BERT.prepare(inputs, about.preprocessing)
    assert [(tuple(t.shape), t.dtype) for t in prepared] == [((2, 4), torch.int64)] * 3
    assert prepared[0][1].tolist() == [6, 7, 8, 9]


def test_fresh_weights_are_berts(tmp_path: Path) -> None:
    architecture, _, inputs = BERT.untrained("bert_tiny", 12)
    torch.manual_seed(0)
    model = build(architecture)
    assert model.get_parameter("words.weight").std().item() == pytest.approx(0.02, rel=0.02)
    for name, parameter in model.named_parameters():
        norm = "norm" in name
        assert not name.endswith("bias") or parameter.abs().sum() == 0
        assert not (norm and name.endswith("weight")) or bool((parameter == 1).all())
    prepared = tuple(torch.from_numpy(array).long() for array in inputs.values())
    assert tuple(model.eval()(*prepared).shape) == (4, 2)


def test_dropout_is_for_training_alone(tmp_path: Path) -> None:
    model = loaded(folders.write(tmp_path)).model
    assert torch.equal(model(*given()), model(*given()))
    model.train()
    assert not torch.equal(model(*given()), model(*given()))


def test_a_forwards_cost_is_what_it_multiplies() -> None:
    about = TextArchitecture(name="x", classes=2, layers=2, hidden=16, heads=2, intermediate=24, vocabulary=31)
    length, example = (
        10,
        (
            torch.zeros(1, 10, dtype=torch.int64),
            torch.ones(1, 10, dtype=torch.int64),
            torch.zeros(1, 10, dtype=torch.int64),
        ),
    )
    layer = length * (4 * 16 * 16 + 2 * 16 * 24) + 2 * length * length * 16
    assert macs(Bert(about), example) == 2 * layer + 16 * 16 + 16 * 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*will not be used:UserWarning")
def test_a_graph_answers_at_every_length(tmp_path: Path) -> None:
    import onnxruntime

    model = loaded(folders.write(tmp_path)).model
    path, sides = tmp_path / "model.onnx", {0: torch.export.Dim("batch", min=1, max=4096)}
    length = torch.export.Dim("length", min=1, max=1 << 16)
    example = tuple(t[:2] for t in given())
    torch.onnx.export(
        model, example, str(path), dynamo=True, external_data=False, verbose=False, opset_version=20,
        input_names=list(BERT.input_names(raw=False)), output_names=["logits"],
        dynamic_shapes=tuple(sides | {1: length} for _ in example),
    )  # fmt: skip
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for batch, width in ((1, 3), (3, 8), (2, 33)):
        ids = rng.integers(5, 31, (batch, width))
        mask = np.ones_like(ids)
        mask[0, 2:] = 0
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        with torch.no_grad():
            expected = model(*(torch.from_numpy(array) for array in feed.values())).numpy()
        np.testing.assert_allclose(session.run(None, feed)[0], expected, atol=1e-5, rtol=0)
