"""Tiny encoders as Hugging Face's folders hold them, with weights that a seed decides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(chr(ord("a") + i) for i in range(26))]

CONFIG: dict[str, Any] = {
    "model_type": "bert", "vocab_size": len(TOKENS), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 24, "hidden_act": "gelu", "max_position_embeddings": 40, "type_vocab_size": 2,
    "layer_norm_eps": 1e-12, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "pad_token_id": 0,
}  # fmt: skip

CASES: dict[str, dict[str, Any]] = {
    "gelu, 2 heads": {},
    "tanh gelu, 4 heads, 3 layers": {"hidden_act": "gelu_new", "num_attention_heads": 4, "num_hidden_layers": 3},
    "relu, 1 head, other epsilon": {"hidden_act": "relu", "num_attention_heads": 1, "layer_norm_eps": 1e-5},
}
"""What differs from `CONFIG`."""

CLASSES = 5


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Tensors of `BertForSequenceClassification`, by its names."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]

    def linear(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}

    def norm(name: str) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (hidden,), f"{name}.bias": (hidden,)}

    found = {
        "bert.embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
        "bert.embeddings.position_embeddings.weight": (config["max_position_embeddings"], hidden),
        "bert.embeddings.token_type_embeddings.weight": (config["type_vocab_size"], hidden),
    } | norm("bert.embeddings.LayerNorm")
    for i in range(config["num_hidden_layers"]):
        layer = f"bert.encoder.layer.{i}"
        for part in ("query", "key", "value"):
            found |= linear(f"{layer}.attention.self.{part}", hidden, hidden)
        found |= linear(f"{layer}.attention.output.dense", hidden, hidden) | norm(f"{layer}.attention.output.LayerNorm")
        found |= linear(f"{layer}.intermediate.dense", inner, hidden) | linear(f"{layer}.output.dense", hidden, inner)
        found |= norm(f"{layer}.output.LayerNorm")
    return found | linear("bert.pooler.dense", hidden, hidden) | linear("classifier", CLASSES, hidden)


def weights(config: dict[str, Any], seed: int = 0) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    return {
        name: torch.from_numpy(
            (0.3 * rng.standard_normal(shape) + (1 if name.endswith("Norm.weight") else 0)).astype(np.float32)
        )
        for name, shape in shapes(config).items()
    }


def write(folder: Path, state: dict[str, torch.Tensor] | None = None, **changed: Any) -> Path:
    """A folder with config, weights and tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    config = CONFIG | changed
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(TOKENS) + "\n")
    save_file(weights(config) if state is None else state, folder / "model.safetensors")
    return folder


def batch() -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    """Three texts of unequal length, one of them a pair."""
    rng = np.random.default_rng(1)
    ids = rng.integers(5, len(TOKENS), (3, 9))
    mask, types = np.ones((3, 9), np.int64), np.zeros((3, 9), np.int64)
    mask[1, 5:], mask[2, 2:], types[0, 4:] = 0, 0, 1
    return {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": types}
