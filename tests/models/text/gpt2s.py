"""Tiny causal models as Hugging Face's folders hold them, with weights and tokens that a seed decides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from compressor.artifact.text.bytelevel import CHARACTERS

END = "<|endoftext|>"
MERGES = ["t h", "th e", "Ġ the", "i n", "Ġ a"]

TOKENS = [*CHARACTERS, *(merge.replace(" ", "") for merge in MERGES), END]

CONFIG: dict[str, Any] = {
    "model_type": "gpt2", "vocab_size": len(TOKENS), "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4,
    "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "bos_token_id": len(TOKENS) - 1,
    "eos_token_id": len(TOKENS) - 1,
}  # fmt: skip

CASES: dict[str, dict[str, Any]] = {
    "gelu_new, 4 heads": {},
    "gelu, 1 head, inner 40, 3 layers": {"activation_function": "gelu", "n_head": 1, "n_inner": 40, "n_layer": 3},
    "relu, 8 heads, scaled by layer, other epsilon": {
        "activation_function": "relu", "n_head": 8, "scale_attn_by_inverse_layer_idx": True, "layer_norm_epsilon": 1e-3,
    },
    "scores not scaled": {"scale_attn_weights": False},
}  # fmt: skip
"""What differs from `CONFIG`."""


def weights(config: dict[str, Any], seed: int = 0) -> dict[str, torch.Tensor]:
    """Tensors of `GPT2LMHeadModel`, by its names, without `transformer.`."""
    width = config["n_embd"]
    inner = config.get("n_inner") or 4 * width
    shapes: dict[str, tuple[int, ...]] = {
        "wte.weight": (config["vocab_size"], width), "wpe.weight": (config["n_positions"], width),
        "ln_f.weight": (width,), "ln_f.bias": (width,),
    }  # fmt: skip
    for i in range(config["n_layer"]):
        for name, size in (("attn.c_attn", (width, 3 * width)), ("attn.c_proj", (width, width)),
                           ("mlp.c_fc", (width, inner)), ("mlp.c_proj", (inner, width))):  # fmt: skip
            shapes |= {f"h.{i}.{name}.weight": size, f"h.{i}.{name}.bias": size[1:]}
        for name in ("ln_1", "ln_2"):
            shapes |= {f"h.{i}.{name}.weight": (width,), f"h.{i}.{name}.bias": (width,)}
    rng = np.random.default_rng(seed)
    return {
        name: torch.from_numpy(
            (0.2 * rng.standard_normal(shape) + ("ln" in name and "weight" in name)).astype(np.float32)
        )
        for name, shape in shapes.items()
    }


def write(folder: Path, *, seed: int = 0, prefix: str = "", tokens: list[str] = TOKENS, **changed: Any) -> Path:
    """A folder with config, weights and tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    config = CONFIG | {"vocab_size": len(tokens)} | changed
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n")
    save_file({prefix + name: tensor for name, tensor in weights(config, seed).items()}, folder / "model.safetensors")
    return folder


def batch() -> torch.Tensor:
    """(2, 7) numbers of tokens."""
    return torch.from_numpy(np.random.default_rng(1).integers(0, len(TOKENS), (2, 7)))
