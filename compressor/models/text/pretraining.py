"""A masked language model that was trained here, as the beginning of a classifier: its encoder, its tokens, no head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from compressor.artifact.text.masked import MaskedPreprocessing
from compressor.artifact.text.tokenizer import Tokenizer
from compressor.errors import CompressorError
from compressor.files import read_json
from compressor.models import checkpoint
from compressor.models.family import StateDict
from compressor.models.text.bert import SPREAD, TextArchitecture
from compressor.models.text.masked import FAMILY, HEAD
from compressor.models.weights import read_state


def claims(path: Path) -> bool:
    """Whether it is a run, or a checkpoint, of a masked language model."""
    found = checkpoint.find(path)
    if found is None:
        return False
    try:
        read: Any = read_json(found[1])
    except CompressorError:  # damaged: it says nothing of what it holds
        return False
    about = read.get("architecture") if isinstance(read, dict) else None
    return isinstance(about, dict) and about.get("family") == FAMILY


def architecture(source: str, classes: int, family: str) -> tuple[TextArchitecture, Tokenizer]:
    """The encoder with another head, and its tokens. Raises CheckpointError where the card is damaged."""
    card = _card(source)
    about, encoding = card.architecture, card.preprocessing
    assert isinstance(about, TextArchitecture)
    assert isinstance(encoding, MaskedPreprocessing)
    return about.model_copy(update={
        "family": family, "name": Path(source).name[:200], "classes": classes, "pooling": "first", "source": source,
        "labels": (), "kept": (),
    }), encoding.tokenizer  # fmt: skip


def state(about: TextArchitecture) -> StateDict:
    """Its weights without its head; the pooler is drawn, since nothing has trained one. Raises CheckpointError."""
    assert about.source is not None
    found = checkpoint.find(Path(about.source))
    assert found is not None
    body = {name: tensor for name, tensor in read_state(found[0]).items() if name not in HEAD}
    drawn = torch.empty(about.hidden, about.hidden).normal_(std=SPREAD)
    return body | {"pooler.weight": drawn, "pooler.bias": torch.zeros(about.hidden)}


def _card(source: str) -> checkpoint.Card:
    found = checkpoint.find(Path(source))
    assert found is not None
    return checkpoint.read_card(found[1])
