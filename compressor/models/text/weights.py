"""An encoder in Hugging Face's format: a folder with config.json and weights, here or on the hub. Nothing pickled is run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from compressor.errors import CheckpointError, CompressorError, UsageError
from compressor.files import checked, inside, read_json
from compressor.models import hub
from compressor.models.family import StateDict
from compressor.models.text import distilbert
from compressor.models.text.bert import SPREAD, Pooling, TextArchitecture
from compressor.models.text.names import HUB, WEIGHTS
from compressor.models.weights import read_state

ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_new", "gelu_pytorch_tanh": "gelu_new", "relu": "relu"}

FILES = ["config.json", *WEIGHTS, "model-*.safetensors", "1_Pooling/config.json",
         "tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"]  # fmt: skip
"""All that is fetched from the hub."""

RENAMED = (
    (r"embeddings\.word_embeddings\.", "words."),
    (r"embeddings\.position_embeddings\.", "places."),
    (r"embeddings\.token_type_embeddings\.", "segments."),
    (r"embeddings\.LayerNorm\.", "norm."),
    (r"encoder\.layer\.(\d+)\.attention\.self\.", r"layers.\1."),
    (r"encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"layers.\1.attended."),
    (r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm\.", r"layers.\1.attended_norm."),
    (r"encoder\.layer\.(\d+)\.intermediate\.dense\.", r"layers.\1.up."),
    (r"encoder\.layer\.(\d+)\.output\.dense\.", r"layers.\1.down."),
    (r"encoder\.layer\.(\d+)\.output\.LayerNorm\.", r"layers.\1.down_norm."),
    (r"pooler\.dense\.", "pooler."),
    (r"classifier\.", "classifier."),
)
"""How a tensor's name there begins → here. What is none of these (a head for masked words, numbers of positions) stays."""


class Config(BaseModel):
    """What is read of a config.json; the encoder's own checks are `TextArchitecture`'s."""

    model_type: str
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    hidden_act: str = "gelu"
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    hidden_dropout_prob: float = 0.1
    position_embedding_type: str | None = "absolute"
    is_decoder: bool = False
    id2label: dict[int, str] = {}
    name_or_path: str = Field(default="", alias="_name_or_path")


def architecture(source: str, classes: int) -> TextArchitecture:
    """What the folder or the hub's model is. Raises UsageError for what is no BERT, CompressorError for damage."""
    folder = located(source)
    path = folder / "config.json"
    read = read_json(path)
    kind = read.get("model_type") if isinstance(read, dict) else None
    if kind == distilbert.KIND:
        read, kind = distilbert.config(read), "bert"
    if kind != "bert":
        raise UsageError(
            f"{source} holds a model of type {kind or 'unknown'}, and only encoders of type bert or distilbert can be read.\n"
            "Give BERT, MiniLM, BGE, E5 or another one whose config.json says so."
        )
    config = checked(read, Config, path)
    act, places = config.hidden_act, config.position_embedding_type
    if act not in ACTIVATIONS or places not in (None, "absolute") or config.is_decoder:
        what = "as a decoder" if config.is_decoder else f"with activation {act} and {places} positions"
        raise UsageError(
            f"{source} is a BERT {what}: encoders with absolute positions and {', '.join(ACTIVATIONS)} can be read"
        )
    return checked({
        "name": short(source, config.name_or_path), "classes": classes, "layers": config.num_hidden_layers,
        "hidden": config.hidden_size, "heads": config.num_attention_heads, "intermediate": config.intermediate_size,
        "vocabulary": config.vocab_size, "positions": config.max_position_embeddings, "types": config.type_vocab_size,
        "activation": ACTIVATIONS[act], "epsilon": config.layer_norm_eps, "dropout": config.hidden_dropout_prob,
        "pooling": _pooling(folder), "source": source, "labels": _labels(config.id2label),
    }, TextArchitecture, path)  # fmt: skip


def state(about: TextArchitecture) -> StateDict:
    """The weights of `about.source`, under our names, with a classifier where they have one.

    A pooler that is read and not there is drawn afresh.

    Raises:
        UsageError: nothing is there, or the hub can't be reached.
        CheckpointError: damaged, or more than tensors in it.
    """
    assert about.source is not None
    found = {name: tensor for old, tensor in tensors(located(about.source)).items() if (name := renamed(old))}
    if about.pooling == "mean":
        return {name: tensor for name, tensor in found.items() if not name.startswith("pooler.")}
    drawn = torch.empty(about.hidden, about.hidden).normal_(std=SPREAD)
    return {"pooler.weight": drawn, "pooler.bias": torch.zeros(about.hidden)} | found


def renamed(name: str) -> str | None:
    """Our name of a tensor; None where it is none of the encoder's or its classifier's."""
    name = name.removeprefix("bert.")
    name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name))
    for old, new in RENAMED:
        if re.match(old, name):
            return re.sub(f"^{old}", new, name)
    return None


def located(source: str) -> Path:
    """The folder, fetched from the hub where `source` is a name there. Raises UsageError in one sentence."""
    if not source.startswith(HUB):
        if not (Path(source) / "config.json").is_file():
            raise UsageError(f"no folder with a model (config.json and weights) at {source}")
        return Path(source)
    repository, _, revision = source.removeprefix(HUB).partition("@")
    online = hub.reachable()
    try:
        with hub.offline(not online):
            return Path(_download()(repository, revision=revision or None, allow_patterns=FILES))
    except Exception as error:  # the hub's client raises many kinds: network, missing repository, offline mode
        reason = hub.reason(error) if online else "the model hub can't be reached"
        raise UsageError(f"{source} can't be fetched: {reason}.\nGive a folder that holds it.") from error


def _download() -> Callable[..., str]:
    import huggingface_hub

    download: Callable[..., str] = huggingface_hub.snapshot_download
    return download


def tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder, under their own names, as float32; DistilBERT's under BERT's."""
    name = next((name for name in WEIGHTS if (folder / name).is_file()), None)
    if name is None:
        raise UsageError(f"{folder} holds no weights: none of {', '.join(WEIGHTS)}")
    files = [folder / name]
    if name.endswith(".index.json"):
        read = read_json(folder / name)
        parts = read.get("weight_map") if isinstance(read, dict) else None
        if not isinstance(parts, dict) or not all(isinstance(part, str) for part in parts.values()):
            raise CheckpointError(f"{folder / name} is damaged: it names no files")
        files = [_part(folder, part) for part in sorted(set(parts.values()))]
    found: dict[str, Tensor] = {}
    for file in files:
        found |= read_state(file)
    own = {key: tensor.float() for key, tensor in found.items() if tensor.is_floating_point()}
    return distilbert.tensors(own) if any(".attention.q_lin." in key for key in own) else own


def _part(folder: Path, name: str) -> Path:
    path = inside(folder, name)
    if path is None:
        raise CheckpointError(f"{folder} names a file outside of it: {name}")
    return path


def _labels(named: dict[int, str]) -> tuple[str, ...]:
    """By number; none where a number is missing, or the names are those that stand for none (LABEL_0)."""
    labels = tuple(named[number] for number in range(len(named)) if number in named)
    whole = len(labels) == len(named) and not any(re.fullmatch(r"LABEL_\d+", label) for label in labels)
    return labels if whole else ()


def _pooling(folder: Path) -> Pooling:
    """As sentence-transformers notes it beside the weights."""
    try:
        noted: Any = read_json(folder / "1_Pooling" / "config.json")
    except CompressorError:  # none, or none that says anything
        return "first"
    return "mean" if isinstance(noted, dict) and noted.get("pooling_mode_mean_tokens") is True else "first"


def short(source: str, noted: str) -> str:
    """A name for a person: the hub's, or the last part of what the folder calls itself, or of its path."""
    if source.startswith(HUB):
        return source
    return (noted.rstrip("/").rsplit("/", 1)[-1] or Path(source).name)[:200]
