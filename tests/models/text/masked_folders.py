"""Tiny masked language models as Hugging Face's folders hold them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from compressor.artifact.text import read as tokenizers
from compressor.models.text.masked_family import MASKED
from compressor.models.weights import Loaded, initialise
from tests.models.text import folders

CASES: dict[str, dict[str, Any]] = folders.CASES | {"12 layers": {"num_hidden_layers": 12}}
LENGTH = 12


def weights(config: dict[str, Any], seed: int = 0) -> dict[str, torch.Tensor]:
    """Tensors of `BertForMaskedLM`, by its names."""
    hidden, tokens = config["hidden_size"], config["vocab_size"]
    found = {
        name: tensor
        for name, tensor in folders.weights(config, seed).items()
        if not name.startswith(("bert.pooler.", "classifier."))
    }
    rng = np.random.default_rng(seed + 1)
    head = "cls.predictions"
    shapes = {
        f"{head}.bias": (tokens,), f"{head}.transform.dense.weight": (hidden, hidden),
        f"{head}.transform.dense.bias": (hidden,), f"{head}.transform.LayerNorm.weight": (hidden,),
        f"{head}.transform.LayerNorm.bias": (hidden,),
    }  # fmt: skip
    return found | {
        name: torch.from_numpy((0.5 * rng.standard_normal(shape)).astype(np.float32)) for name, shape in shapes.items()
    }


def write(folder: Path, state: dict[str, torch.Tensor] | None = None, **changed: Any) -> Path:
    """A folder with config, weights and tokens."""
    config = folders.CONFIG | {"architectures": ["BertForMaskedLM"]} | changed
    return folders.write(folder, weights(config) if state is None else state, **config)


DISTILBERT = {
    "model_type": "distilbert", "architectures": ["DistilBertForMaskedLM"], "vocab_size": len(folders.TOKENS), "dim": 16,
    "n_layers": 3, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 40, "activation": "gelu", "dropout": 0.1,
    "attention_dropout": 0.1, "sinusoidal_pos_embds": False,
}  # fmt: skip


def write_distilbert(folder: Path) -> Path:
    """A folder of `DistilBertForMaskedLM`."""
    shapes: dict[str, tuple[int, ...]] = {
        "distilbert.embeddings.word_embeddings.weight": (len(folders.TOKENS), 16),
        "distilbert.embeddings.position_embeddings.weight": (40, 16), "vocab_projector.bias": (len(folders.TOKENS),),
    }  # fmt: skip
    norms = ["distilbert.embeddings.LayerNorm", "vocab_layer_norm"]
    linears = [("vocab_transform", 16, 16)]
    for i in range(3):
        layer = f"distilbert.transformer.layer.{i}"
        linears += [(f"{layer}.attention.{part}_lin", 16, 16) for part in "qkv"] + [
            (f"{layer}.attention.out_lin", 16, 16)
        ]
        linears += [(f"{layer}.ffn.lin1", 24, 16), (f"{layer}.ffn.lin2", 16, 24)]
        norms += [f"{layer}.sa_layer_norm", f"{layer}.output_layer_norm"]
    for name, outputs, inputs in linears:
        shapes |= {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
    for name in norms:
        shapes |= {f"{name}.weight": (16,), f"{name}.bias": (16,)}
    rng = np.random.default_rng(3)
    state = {
        name: torch.from_numpy((0.4 * rng.standard_normal(shape)).astype(np.float32)) for name, shape in shapes.items()
    }
    folders.write(folder, state)
    (folder / "config.json").write_text(json.dumps(DISTILBERT))
    return folder


def of_case(folder: Path, case: str) -> Path:
    """One of `CASES`, or `distilbert`."""
    return write_distilbert(folder) if case == "distilbert" else write(folder, **CASES[case])


def setup(folder: Path) -> SimpleNamespace:
    """What data would have settled."""
    return SimpleNamespace(tokenizer=tokenizers.read(folder), length=LENGTH)


def loaded(folder: Path) -> Loaded:
    architecture, _ = MASKED.describe(str(folder), classes=len(folders.TOKENS), setup=setup(folder), stem="keep")
    found = initialise(architecture, "pretrained", role="teacher")
    found.model.eval()
    return found


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Three windows, and two places of each."""
    ids = np.random.default_rng(1).integers(5, len(folders.TOKENS), (3, LENGTH))
    ids[:, 0], ids[:, -1] = 2, 3
    places = np.array([[1, 4], [3, 10], [5, 6]])
    ids[np.arange(3)[:, None], places] = 4
    return torch.from_numpy(ids), torch.from_numpy(places)
