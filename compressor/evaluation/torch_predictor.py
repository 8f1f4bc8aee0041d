"""A PyTorch model as a predictor."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressor.artifact.preprocessing import Preprocessing
from compressor.data.dataset import Dataset
from compressor.evaluation.predictions import Batches, Logits, Predictions, predict


def normalized(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """(batch, 3, size, size) uint8 → float32 with the model's mean and std, on the same device, channels_last."""
    shape = (1, 3, 1, 1)
    mean = torch.tensor(preprocessing.mean, device=pixels.device).view(shape) * 255
    std = torch.tensor(preprocessing.std, device=pixels.device).view(shape) * 255
    return ((pixels.float() - mean) / std).contiguous(memory_format=torch.channels_last)


def logits_of(model: nn.Module, preprocessing: Preprocessing, device: torch.device | str = "cpu") -> Logits:
    """`model` as a function from (batch, size, size, 3) uint8 to logits. Leaves it in eval mode."""
    model.eval()

    def run(pixels: NDArray[Any]) -> NDArray[np.float32]:
        images = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2)
        with torch.inference_mode():
            out: NDArray[np.float32] = model(normalized(images, preprocessing)).float().cpu().numpy()
        return out

    return run


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
    """What a PyTorch model says about a split; see `predict`."""
    run = logits_of(model, preprocessing, device)
    return predict(run, dataset, split, preprocessing, batch_size=batch_size, batches=batches)
