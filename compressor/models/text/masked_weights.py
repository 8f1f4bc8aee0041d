"""BERT with its masked-word head in Hugging Face's format (`BertForMaskedLM`): its architecture and its weights."""

from __future__ import annotations

import re
from typing import Any

import torch

from compressor.errors import UsageError
from compressor.files import read_json
from compressor.models.family import StateDict
from compressor.models.text import weights
from compressor.models.text.bert import TextArchitecture
from compressor.models.text.masked import FAMILY, HEAD

RENAMED = (
    (r"cls\.predictions\.transform\.dense\.", "transform."),
    (r"cls\.predictions\.transform\.LayerNorm\.", "transform_norm."),
    (r"cls\.predictions\.(decoder\.)?bias$", "bias"),
)
"""How a tensor's name there begins → here, beside the encoder's own."""

DECODER = "cls.predictions.decoder.weight"
"""The table of words once more, where the file has it."""


def architecture(source: str, classes: int) -> TextArchitecture:
    """What the folder or the hub's model is. Raises UsageError, CompressorError as `weights.architecture`."""
    found = weights.architecture(source, classes)
    read: Any = read_json(weights.located(source) / "config.json")
    if not read.get("tie_word_embeddings", True):
        raise UsageError(_untied(source))
    return found.model_copy(update={"family": FAMILY, "labels": (), "pooling": "first"})


def state(about: TextArchitecture) -> StateDict:
    """The weights of `about.source`, under our names; without a head where the folder has none.

    Raises:
        UsageError: nothing is there, the hub can't be reached, or its head has a table of words of its own.
        CheckpointError: damaged, or more than tensors in it.
    """
    assert about.source is not None
    found: StateDict = {}
    decoder = None
    for old, tensor in weights.tensors(weights.located(about.source)).items():
        name = renamed(old)
        if name is not None:
            found[name] = tensor
        if old == DECODER:
            decoder = tensor
    if decoder is not None and "words.weight" in found and not torch.equal(decoder, found["words.weight"]):
        raise UsageError(_untied(about.source))
    # Half a head is none: what is left of it would not fit.
    whole = all(name in found for name in HEAD)
    return found if whole else {name: tensor for name, tensor in found.items() if name not in HEAD}


def renamed(name: str) -> str | None:
    """Our name of a tensor; None where it is neither the encoder's nor the head's."""
    name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name))
    for old, new in RENAMED:
        if re.match(old, name):
            return re.sub(f"^{old}", new, name)
    encoder = weights.renamed(name)
    return None if encoder is None or encoder.startswith(("pooler.", "classifier.")) else encoder


def _untied(source: str) -> str:
    return (
        f"{source} is a BERT whose masked-word head has a table of words of its own: only those whose head is the "
        "embedding of words can be read"
    )
