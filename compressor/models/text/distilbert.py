"""DistilBERT's folders (Sanh et al. 2019), read as BERT's: the same layers under other names, no segments, no pooler."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

KIND = "distilbert"
"""`model_type` of its config.json."""

KEYS = {
    "vocab_size": "vocab_size", "max_position_embeddings": "max_position_embeddings", "dim": "hidden_size",
    "n_layers": "num_hidden_layers", "n_heads": "num_attention_heads", "hidden_dim": "intermediate_size",
    "dropout": "hidden_dropout_prob", "activation": "hidden_act", "id2label": "id2label", "_name_or_path": "_name_or_path",
    "tie_word_embeddings": "tie_word_embeddings",
}  # fmt: skip
"""A key of its config.json → BERT's."""

RENAMED = (
    (r"transformer\.layer\.(\d+)\.attention\.q_lin\.", r"encoder.layer.\1.attention.self.query."),
    (r"transformer\.layer\.(\d+)\.attention\.k_lin\.", r"encoder.layer.\1.attention.self.key."),
    (r"transformer\.layer\.(\d+)\.attention\.v_lin\.", r"encoder.layer.\1.attention.self.value."),
    (r"transformer\.layer\.(\d+)\.attention\.out_lin\.", r"encoder.layer.\1.attention.output.dense."),
    (r"transformer\.layer\.(\d+)\.sa_layer_norm\.", r"encoder.layer.\1.attention.output.LayerNorm."),
    (r"transformer\.layer\.(\d+)\.ffn\.lin1\.", r"encoder.layer.\1.intermediate.dense."),
    (r"transformer\.layer\.(\d+)\.ffn\.lin2\.", r"encoder.layer.\1.output.dense."),
    (r"transformer\.layer\.(\d+)\.output_layer_norm\.", r"encoder.layer.\1.output.LayerNorm."),
    (r"vocab_transform\.", "cls.predictions.transform.dense."),
    (r"vocab_layer_norm\.", "cls.predictions.transform.LayerNorm."),
    (r"vocab_projector\.weight", "cls.predictions.decoder.weight"),
    (r"vocab_projector\.bias", "cls.predictions.bias"),
)
"""How a tensor's name begins → BERT's. Embeddings are called alike; a classifier stands on another map, and is left."""

WORDS = "embeddings.word_embeddings.weight"


def config(read: dict[str, Any]) -> dict[str, Any]:
    """Its config.json as BERT's."""
    return {KEYS[key]: value for key, value in read.items() if key in KEYS} | {
        "model_type": "bert",
        "type_vocab_size": 1,
    }


def tensors(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Its tensors under BERT's names, with a segment that adds nothing."""
    own = {renamed(name): tensor for name, tensor in found.items() if not re.match(r"(pre_)?classifier\.", name)}
    if WORDS in own:
        own["embeddings.token_type_embeddings.weight"] = torch.zeros(1, own[WORDS].shape[1])
    return own


def renamed(name: str) -> str:
    """BERT's name of a tensor."""
    name = name.removeprefix("distilbert.")
    for old, new in RENAMED:
        if re.match(old, name):
            return re.sub(f"^{old}", new, name)
    return name
