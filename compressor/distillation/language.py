"""What a finished language model makes of the texts that it was not trained on."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from compressor.artifact.text.masked import MaskedPreprocessing
from compressor.data.dataset import HELD, Dataset
from compressor.evaluation import perplexity
from compressor.evaluation.perplexity import MOST, ROOM, of_text, surprise
from compressor.evaluation.torch_predictor import predictor_of, reader_of
from compressor.models.text.gpt2 import Gpt2
from compressor.models.text.masked import MaskedBert
from compressor.progress import Progress
from compressor.runnote import LanguageFigures


def figures(
    model: nn.Module, dataset: Dataset, device: torch.device | str, progress: Progress
) -> dict[str, LanguageFigures]:
    """Split → figures on the whole of validation and test, in the training's windows; nothing of what is no language model.

    Predictions hold all logits of a part of the windows; these figures are of all windows.
    """
    if isinstance(model, MaskedBert):
        return {split: _masked(model, dataset, split, device) for split in HELD}
    if not isinstance(model, Gpt2):
        return {}
    setup = dataset.setup
    read = reader_of(model, setup.tokenizer.size, device)
    return {
        split: of_text(
            read, setup.tokenizer, setup.stream(split), setup.bytes(split), length=setup.length, progress=progress
        )
        for split in HELD
    }


def _masked(model: MaskedBert, dataset: Dataset, split: str, device: torch.device | str) -> LanguageFigures:
    """Of what evaluation hides in every window of a split; a few windows at a time, whose logits have room."""
    setup = dataset.setup
    preprocessing = MaskedPreprocessing(tokenizer=setup.tokenizer, length=setup.length)
    whole, run = setup.corpus.samples(split)[: MOST // setup.length], predictor_of(model, preprocessing, device)
    step = max(1, ROOM // (dataset.rows * len(dataset.classes) * 4))
    scored = [
        surprise(run(inputs), dataset.labels[part].reshape(-1))
        for part, inputs in dataset.only(split, whole).inputs(split, preprocessing, step)
    ]
    return perplexity.figures(np.concatenate(scored), None, setup.length, setup.length, masked=True)
