"""Exported files of texts: right at every length they take, in half precision, and with a frozen batch."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from compressor.artifact import session
from compressor.artifact.preprocessing import Inputs, taken
from compressor.data.config import DataConfig
from compressor.data.load import load_dataset
from compressor.errors import ParityError, UsageError
from compressor.evaluation.torch_predictor import predictor_of
from compressor.exporting import export as exporting
from compressor.exporting.config import ExportConfig
from compressor.models.checkpoint import Card
from compressor.models.text.bert import Bert
from compressor.progress import Silent
from tests.models.text import folders, helpers
from tests.workflows.test_text import write_texts

LONGEST = 40

Made = tuple[nn.Module, Card, Inputs]

pytestmark = pytest.mark.usefixtures("torchscript")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A tiny encoder with random weights and the texts that its files are checked on, at most 13 tokens each."""
    home = tmp_path_factory.mktemp("texts")
    dataset = load_dataset(DataConfig(source=str(write_texts(home / "texts.csv"))))
    return helpers.student(folders.write(home / "encoder", max_position_embeddings=LONGEST), dataset)


def export(made: Made, path: Path, precision: str = "fp32", **config: Any) -> exporting.Exported:
    model, card, inputs = made
    return exporting.export(
        model, card, path, precision=precision, config=ExportConfig(**config), inputs=inputs, recipe=None,
        progress=Silent(),
    )  # fmt: skip


def at_all_lengths(inputs: Inputs) -> Inputs:
    """Texts cut to 3 … 13 tokens, and made longer up to the longest that can be."""
    ids = np.where(inputs["attention_mask"] > 0, inputs["input_ids"], 7)
    lengths = np.arange(3, LONGEST + 1)
    mask = (np.arange(LONGEST) < lengths[:, None]).astype(np.uint8)
    return {
        "input_ids": np.resize(ids, mask.shape) * mask,
        "attention_mask": mask,
        "token_type_ids": np.zeros_like(mask),
    }


def difference(path: Path, made: Made, inputs: Inputs, batch: int = 3) -> float:
    """The largest of the logits' differences over the largest logit."""
    model, card, _ = made
    reference, artifact = predictor_of(model, card.preprocessing), session.load(path)
    parts = [taken(inputs, slice(k, k + batch)) for k in range(0, len(inputs["input_ids"]), batch)]
    expected, given = (np.concatenate([f(part) for part in parts]) for f in (reference, artifact.logits))
    return float(np.abs(expected - given).max() / np.abs(expected).max())


def test_a_file_in_half_precision_is_half_as_large_and_right_at_every_length(made: Made, tmp_path: Path) -> None:
    for precision in ("fp32", "fp16"):
        export(made, tmp_path / f"{precision}.onnx", precision)
    bytes_of = [sum(len(i.raw_data) for i in onnx.load(tmp_path / f"{p}.onnx").graph.initializer)
                for p in ("fp16", "fp32")]  # fmt: skip
    assert bytes_of[0] < 0.55 * bytes_of[1]
    texts = at_all_lengths(made[2])
    assert difference(tmp_path / "fp32.onnx", made, texts) < 1e-4
    assert 0 < difference(tmp_path / "fp16.onnx", made, texts) < 1e-2


@pytest.mark.parametrize(("place", "said"), [(30, "of 40 tokens"), (2, "of one token")])
def test_a_file_that_fails_only_at_lengths_that_validation_has_not_is_refused(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int, said: str
) -> None:
    write = exporting._write

    class Odd(nn.Module):
        """Wrong where so many tokens are given, or more; `of one token`: or fewer."""

        def __init__(self, model: Bert) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(input_ids, attention_mask, types)
            used = attention_mask.sum(1, keepdim=True)
            wrong = used > place if place > 3 else used < 4
            return logits + 10 * wrong * torch.tensor([1.0, 0.0, 0.0])

    def odd(model: Any, *rest: Any, **named: Any) -> None:
        write(Odd(copy.deepcopy(model)), *rest, **named)

    monkeypatch.setattr(exporting, "_write", odd)
    assert 4 < made[2]["attention_mask"].sum(1).min() <= made[2]["attention_mask"].sum(1).max() < 30
    with pytest.raises(ParityError, match=f"given samples {said}, does not reproduce"):
        export(made, tmp_path / "odd.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_frozen_batch_takes_its_number_of_texts_at_the_full_length(made: Made, tmp_path: Path) -> None:
    export(made, tmp_path / "frozen.onnx", batch=4)
    artifact = session.load(tmp_path / "frozen.onnx")
    assert {entry.shape for entry in artifact.inputs} == {(4, LONGEST)}
    assert not artifact.any_length
    assert difference(tmp_path / "frozen.onnx", made, at_all_lengths(made[2]), batch=7) < 1e-4
    assert artifact.logits(taken(made[2], slice(3))).shape == (3, 3)


def test_a_text_can_not_go_in_as_bytes(made: Made, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--uint8-input: a text goes in as numbers of tokens, which are no bytes"):
        export(made, tmp_path / "raw.onnx", uint8_input=True)
    assert list(tmp_path.iterdir()) == []
