"""What a finished language model makes of the texts that it was not trained on."""

from __future__ import annotations

import torch
from torch import nn

from compressor.data.dataset import Dataset
from compressor.evaluation.perplexity import of_text
from compressor.evaluation.torch_predictor import reader_of
from compressor.models.text.gpt2 import Gpt2
from compressor.progress import Progress
from compressor.runnote import LanguageFigures


def figures(
    model: nn.Module, dataset: Dataset, device: torch.device | str, progress: Progress
) -> dict[str, LanguageFigures]:
    """Split → figures on the whole of validation and test, in the training's windows; nothing of what writes no text on.

    Predictions hold all logits of a part of the windows; these figures are of every token.
    """
    if not isinstance(model, Gpt2):
        return {}
    setup = dataset.setup
    read = reader_of(model, setup.tokenizer.size, device)
    return {
        split: of_text(
            read, setup.tokenizer, setup.stream(split), setup.bytes(split), length=setup.length, progress=progress
        )
        for split in ("validation", "test")
    }
