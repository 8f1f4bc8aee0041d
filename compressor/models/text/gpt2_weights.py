"""A causal language model in Hugging Face's format: GPT-2's config.json and weights, in a folder or on the hub."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, Field

from compressor.artifact.text import read as tokenizers
from compressor.artifact.text.tokenizer import Tokenizer
from compressor.errors import CheckpointError, UsageError
from compressor.files import checked, read_json
from compressor.models.family import StateDict
from compressor.models.text import names
from compressor.models.text.gpt2 import Gpt2, Gpt2Architecture
from compressor.models.text.weights import ACTIVATIONS, located, short, tensors

RENAMED = (
    (r"wte\.", "words."),
    (r"wpe\.", "places."),
    (r"ln_f\.", "norm."),
    (r"h\.(\d+)\.ln_1\.", r"layers.\1.norm."),
    (r"h\.(\d+)\.attn\.c_attn\.", r"layers.\1.parts."),
    (r"h\.(\d+)\.attn\.c_proj\.", r"layers.\1.attended."),
    (r"h\.(\d+)\.ln_2\.", r"layers.\1.wide_norm."),
    (r"h\.(\d+)\.mlp\.c_fc\.", r"layers.\1.up."),
    (r"h\.(\d+)\.mlp\.c_proj\.", r"layers.\1.down."),
)
"""How a tensor's name there begins → here. What is none of these (masks, the tied head) stays."""

CONV1D = re.compile(r"h\.\d+\.(attn|mlp)\.c_\w+\.weight")
"""Weights that lie as (inputs, outputs) there."""


class Config(BaseModel):
    """What is read of a config.json; the model's own checks are `Gpt2Architecture`'s."""

    vocab_size: int
    n_positions: int = 1024
    n_embd: int
    n_layer: int
    n_head: int
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    layer_norm_epsilon: float = 1e-5
    resid_pdrop: float = 0.1
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    tie_word_embeddings: bool = True
    add_cross_attention: bool = False
    name_or_path: str = Field(default="", alias="_name_or_path")


def claims(path: Path) -> bool:
    """Whether a folder holds a causal language model of this kind."""
    if not names.claims(path):
        return False
    kind: object = read_json(path / "config.json")["model_type"]
    return kind == "gpt2"


def architecture(source: str) -> Gpt2Architecture:
    """What the folder or the hub's model is. Raises UsageError for what is no GPT-2, CompressorError for damage."""
    path = located(source) / "config.json"
    read = read_json(path)
    kind = read.get("model_type") if isinstance(read, dict) else None
    if kind != "gpt2":
        raise UsageError(
            f"{source} holds a model of type {kind or 'unknown'}, and only causal language models of type gpt2 can be "
            "read.\nGive GPT-2, DistilGPT2 or another one whose config.json says so."
        )
    config = checked(read, Config, path)
    act = config.activation_function
    if act not in ACTIVATIONS or not config.tie_word_embeddings or config.add_cross_attention:
        what = "cross-attention" if config.add_cross_attention else "a head of its own" if act in ACTIVATIONS else act
        raise UsageError(
            f"{source} is a GPT-2 with {what}: those whose head is the embedding of words, with {', '.join(ACTIVATIONS)}"
            ", can be read"
        )
    return checked({
        "name": short(source, config.name_or_path), "classes": config.vocab_size, "layers": config.n_layer,
        "hidden": config.n_embd, "heads": config.n_head, "intermediate": config.n_inner or 4 * config.n_embd,
        "positions": config.n_positions, "activation": ACTIVATIONS[act], "epsilon": config.layer_norm_epsilon,
        "scaled": config.scale_attn_weights, "by_depth": config.scale_attn_by_inverse_layer_idx,
        "dropout": config.resid_pdrop, "source": source,
    }, Gpt2Architecture, path)  # fmt: skip


def state(about: Gpt2Architecture) -> StateDict:
    """The weights of `about.source`, under our names. Raises UsageError, CheckpointError as `weights.state`."""
    assert about.source is not None
    found = {}
    for old, tensor in tensors(located(about.source)).items():
        name = old.removeprefix("transformer.")
        renamed = next((re.sub(f"^{a}", b, name) for a, b in RENAMED if re.match(a, name)), None)
        if renamed is not None:
            found[renamed] = tensor.T.contiguous() if CONV1D.fullmatch(name) else tensor
    return found


def loaded(source: str) -> tuple[Gpt2, Tokenizer]:
    """The model, in eval mode, and its tokenizer.

    Raises:
        UsageError: no GPT-2, or a tokenizer that has more tokens than it.
        CheckpointError: weights that do not fit its config.json.
    """
    about = architecture(source)
    tokenizer = tokenizers.read(located(source))
    if tokenizer.kind != "bytelevel" or tokenizer.size > about.vocabulary:
        what = f"has {tokenizer.size}" if tokenizer.kind == "bytelevel" else "is no byte-level BPE"
        raise UsageError(f"{source} knows {about.vocabulary} tokens, and the tokenizer beside it {what}")
    model, read = Gpt2(about), state(about)
    own = model.state_dict()
    wrong = [name for name, tensor in own.items() if name not in read or read[name].shape != tensor.shape]
    if wrong or len(read) > len(own):
        raise CheckpointError(
            f"{source} does not fit its config.json: {len(wrong)} tensors missing or of another shape, "
            f"{len(read.keys() - own.keys())} unknown ({', '.join((wrong or sorted(read.keys() - own.keys()))[:3])} …)"
        )
    model.load_state_dict(read)
    return model.eval(), tokenizer
