"""Predictions of a split: in its own order, whatever order the samples were asked about in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from compressor.artifact.preprocessing import Inputs
from compressor.artifact.text.preprocessing import TextPreprocessing
from compressor.data.config import DataConfig
from compressor.data.load import load_dataset
from compressor.evaluation import predictions
from compressor.evaluation.predictions import predict
from compressor.models.text.family import BERT
from tests.models.text import folders, helpers
from tests.workflows.test_text import write_texts


@pytest.mark.parametrize("window", [2, 64])
def test_texts_are_answered_with_others_of_their_length_and_come_back_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(predictions, "WINDOW", window)
    dataset = load_dataset(DataConfig(source=str(write_texts(tmp_path / "texts.csv"))))
    _, preprocessing = BERT.describe(
        str(folders.write(tmp_path / "encoder")), classes=3, setup=helpers.SETUP, stem="keep"
    )
    widths: list[int] = []

    def predictor(inputs: Inputs) -> NDArray[np.float32]:
        """Answers that are a function of a text's own tokens."""
        cut = TextPreprocessing.trimmed(inputs)
        widths.append(cut["input_ids"].size)
        ids = cut["input_ids"] * cut["attention_mask"]
        return np.stack([ids.sum(1), ids[:, 1], ids.max(1)], axis=1).astype(np.float32)

    batches = list(dataset.inputs("train", preprocessing, 8))
    plain = np.concatenate([predictor(inputs) for _, inputs in batches])
    padded, widths[:] = sum(widths), []
    seen = predict(predictor, dataset, "train", preprocessing, batch_size=8)
    assert np.array_equal(seen.logits, plain)
    assert seen.ids.tolist() == [dataset.ids[i] for i in dataset.splits["train"]]
    assert np.array_equal(seen.labels, dataset.labels[dataset.splits["train"]])
    assert sum(widths) < 0.9 * padded
    assert len(widths) == len(batches)
    kept = predict(predictor, dataset, "train", preprocessing, batches=batches)
    assert np.array_equal(kept.logits, plain)
