"""A tiny graph of tokens, whose length may be open, with or without what our files say of themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compressor.artifact.metadata import KEY, Metadata
from compressor.artifact.text.preprocessing import NAMES, TextPreprocessing
from compressor.artifact.text.tokenizer import Tokenizer

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
TOKENIZER = Tokenizer(
    kind="wordpiece", vocabulary="\n".join(TOKENS), lowercase=True, strip_accents=None, split_chinese=True,
    unknown="[UNK]", pad="[PAD]", first="[CLS]", last="[SEP]", mask="[MASK]", special={t: i for i, t in enumerate(TOKENS[:5])},
)  # fmt: skip


def preprocessing(longest: int = 64) -> TextPreprocessing:
    return TextPreprocessing(tokenizer=TOKENIZER, max_length=longest)


def graph(path: Path, *, length: int | str = "length") -> Path:
    """The mean over unpadded tokens' embeddings: (batch, 2) logits."""
    table = np.random.default_rng(0).standard_normal((len(TOKENS), 2)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["seen"]),
        helper.make_node("Cast", ["attention_mask"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weights", "last"], ["wide"]),
        helper.make_node("Mul", ["seen", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["logits"], keepdims=0),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", length]) for name in NAMES[:2]]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])]
    constants = {"table": table, "last": np.array([-1]), "middle": np.array([1])}
    known = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "tokens", inputs, outputs, known),
        opset_imports=[helper.make_opsetid("", 18)], ir_version=10,
    )  # fmt: skip
    onnx.save(model, path)
    return path


def described(path: Path, *, lengths: list[int] | None = None, longest: int = 64, role: str = "student") -> Path:
    """As `compress export` leaves it."""
    about = Metadata(
        name="tokens", role=role, classes=["a", "b"], modality="text", preprocessing=preprocessing(longest),
        lengths=lengths,
    )  # fmt: skip
    model = onnx.load(graph(path))
    helper.set_model_props(model, {KEY: about.model_dump_json()})
    onnx.save(model, path)
    return path
