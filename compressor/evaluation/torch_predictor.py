"""A PyTorch model as a predictor."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from compressor.artifact.preprocessing import Inputs, Preprocessing
from compressor.data.dataset import Dataset
from compressor.evaluation.perplexity import Read
from compressor.evaluation.predictions import Batches, Predictions, Predictor, predict
from compressor.models.family import family_of
from compressor.models.table.family import Table


def predictor_of(model: nn.Module, preprocessing: Preprocessing, device: torch.device | str = "cpu") -> Predictor:
    """`model` as a function from encoded things to logits. Leaves it in eval mode."""
    model.eval()
    family = family_of(model)

    def run(inputs: Inputs) -> NDArray[np.float32]:
        given = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
        with torch.inference_mode():
            logits = family.forward(model, family.prepare(given, preprocessing)).logits
            out: NDArray[np.float32] = logits.float().cpu().numpy()
        return out

    return run


def reader_of(model: nn.Module, vocabulary: int, device: torch.device | str = "cpu") -> Read:
    """A causal language model, a module of (batch, n) tokens, as `perplexity` reads it. Leaves it in eval mode."""
    model.eval()

    def read(ids: NDArray[np.int64]) -> NDArray[np.float32]:
        with torch.inference_mode():
            out: NDArray[np.float32] = model(torch.from_numpy(ids).to(device)).float().cpu().numpy()
        return out[:, :, :vocabulary]

    return read


def predict_model(
    model: nn.Module,
    dataset: Dataset,
    split: str,
    preprocessing: Preprocessing,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    batches: Batches | None = None,
) -> Predictions:
    """What a PyTorch model says about a split; see `predict`. A table of probabilities: of the samples that it lists."""
    if isinstance(model, Table):
        indices = dataset.splits[split]
        rows = model.rows([dataset.ids[i] for i in indices])
        indices = indices[rows >= 0]
        return Predictions(
            ids=np.array(dataset.row_ids(indices), dtype=np.str_),
            labels=dataset.labels[indices],
            logits=model.logits(rows[rows >= 0]).cpu().numpy(),
        )
    run = predictor_of(model, preprocessing, device)
    return predict(run, dataset, split, preprocessing, batch_size=batch_size, batches=batches)
