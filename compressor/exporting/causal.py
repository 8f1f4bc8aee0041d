"""One self-describing ONNX file of a causal language model, with its cache of keys and values as inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressor.artifact.text import language
from compressor.artifact.text.language import IDS, PAST, PRESENT, CachedReader, Generation, LanguageMetadata
from compressor.artifact.text.tokenizer import Tokenizer
from compressor.errors import CompressorError, ParityError, UsageError, first_line
from compressor.exporting import parity
from compressor.exporting.document import Parity
from compressor.exporting.export import LONGEST_SIDE, Exported, quiet, write_metadata
from compressor.files import replacing
from compressor.models.text.gpt2 import Gpt2
from compressor.progress import Progress

LARGEST = 2_000_000_000
"""Bytes of weights that one ONNX file holds."""

PIECES = (5, 1, 1, 7, 1, 3)
"""Tokens that the gate reads at a time, in turn."""

TEXTS = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness.",
    "Call me Ishmael. Some years ago - never mind how long precisely - having little or no money in my purse, and "
    "nothing particular to interest me on shore, I thought I would sail about a little.",
    "Yes.",
    "def add(a, b):\n    return a + b\n",
    "Größe, naïve café; 機械学習は楽しい。 Привет! 😀 1,234.56",
)
"""What the gate reads where no texts are given."""


class Cached(nn.Module):
    """The model as the file has it: tokens and the cache, flat, in; logits and the longer cache out."""

    def __init__(self, model: Gpt2) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, *flat: Tensor) -> tuple[Tensor, ...]:
        """(batch, new) and (batch, heads, past, width) each → (batch, new, vocabulary), (…, past + new, …) each."""
        hidden, _, present = self.model.encode(input_ids, list(zip(flat[::2], flat[1::2], strict=True)))
        return self.model.logits(hidden), *(part for cache in present for part in cache)


def export_causal(
    model: Gpt2,
    tokenizer: Tokenizer,
    path: Path,
    *,
    role: str = "model",
    opset: int = 18,
    texts: Sequence[str] = (),
    recipe: str | None = None,
    dataset: dict[str, str | int | float | None] | None = None,
    window: int | None = None,
    progress: Progress,
) -> Exported:
    """Writes `path`, checked; a file that fails leaves nothing behind.

    Args:
        model: moved to the CPU, in eval mode afterwards.
        tokenizer: byte-level BPE; travels in the file.
        texts: what the gate reads; none: `TEXTS`.
        window: tokens of the windows that it was trained on.

    Raises:
        ParityError: the file does not reproduce the model.
        UsageError: more weights than one ONNX file holds.
        CompressorError: no exporter can express the model.
    """
    model = model.to("cpu").eval()
    params = sum(parameter.numel() for parameter in model.parameters())
    if 4 * params > LARGEST:
        raise UsageError(f"{model.about.name} has {4 * params / 1e9:.1f} GB of weights, and one ONNX file holds 2 GB")
    described = LanguageMetadata(
        task="lm", name=model.about.name, role=role, tokenizer=tokenizer, params=params, recipe=recipe,
        dataset=dataset, generation=Generation(end=tokenizer.end_id, positions=model.about.positions, window=window),
    )  # fmt: skip
    problems: list[str] = []
    with replacing(path) as unfinished:
        for dynamo in (False, True):  # as good a file in a tenth of the time, and a smaller one; docs/log.md
            try:
                _write(model, unfinished, opset=opset, dynamo=dynamo)
                write_metadata(unfinished, described)
                seen = check(model, unfinished, [tokenizer.ids(text) for text in texts or TEXTS])
                parity.gate(seen, "fp32", path.name)
            except Exception as error:  # the exporters raise whatever the graph made them stumble over
                problems.append(f"{type(error).__name__}: {first_line(error)}")
                if not dynamo:
                    progress.say(f"export: torch's TorchScript exporter failed ({problems[-1]}); trying dynamo's")
                    continue
                if isinstance(error, ParityError):
                    raise
                raise CompressorError(f"{model.about.name} can't be exported: {' | '.join(problems)}") from error
            break
        write_metadata(unfinished, described.model_copy(update={"parity": seen.as_dict()}))
    return Exported(path=path, precision="fp32", opset=opset, bytes=path.stat().st_size, parity=seen)


def _write(model: Gpt2, path: Path, *, opset: int, dynamo: bool) -> None:
    about = model.about
    layers = range(about.layers)
    inputs = [name.format(layer) for layer in layers for name in PAST]
    outputs = ["logits", *(name.format(layer) for layer in layers for name in PRESENT)]
    shape = (2, about.heads, 3, about.hidden // about.heads)
    # A tensor each: torch.export takes one that is given twice for one input.
    example = (torch.arange(4).view(2, 2) % about.vocabulary, *(torch.zeros(shape) for _ in inputs))
    options: dict[str, Any] = {"input_names": [IDS, *inputs], "output_names": outputs, "opset_version": opset}
    if dynamo:
        batch = torch.export.Dim("batch", min=1, max=4096)
        new, past = (torch.export.Dim(name, min=low, max=LONGEST_SIDE) for name, low in (("new", 1), ("past", 0)))
        options |= {"dynamo": True, "external_data": False, "verbose": False}
        options["dynamic_shapes"] = ({0: batch, 1: new}, tuple({0: batch, 2: past} for _ in inputs))
    else:
        # Folding would keep the words' embedding twice, the second time transposed, for the head.
        options |= {"dynamo": False, "do_constant_folding": False}
        options["dynamic_axes"] = {IDS: {0: "batch", 1: "new"}, "logits": {0: "batch", 1: "new"}}
        options["dynamic_axes"] |= {name: {0: "batch", 2: "past"} for name in inputs}
        options["dynamic_axes"] |= {name: {0: "batch", 2: "total"} for name in outputs[1:]}
    with quiet(), torch.no_grad():
        torch.onnx.export(Cached(model).eval(), example, str(path), **options)


def check(model: Gpt2, path: Path, texts: Sequence[Sequence[int]]) -> Parity:
    """How closely the file gives the model's logits for texts: read whole, and piece by piece through its cache."""
    reader = language.load(path).reader()
    expected, given = [], []
    for ids in texts:
        ids = list(ids)[: reader.positions]
        if not ids:
            continue
        with torch.no_grad():
            logits: NDArray[np.float32] = model(torch.tensor([ids]))[0].numpy()
        for pieces in ((len(ids),), PIECES):
            expected.append(logits)
            given.append(_read(reader, ids, pieces))
    if not expected:
        raise UsageError("there is no text to check the file with: all are empty")
    width = given[0].shape[1]
    return parity.difference(np.concatenate(expected)[:, :width], np.concatenate(given))


def _read(reader: CachedReader, ids: list[int], pieces: Sequence[int]) -> NDArray[np.float32]:
    reader.cut(0)
    parts, turn = [], 0
    while len(reader.seen) < len(ids):
        start = len(reader.seen)
        parts.append(reader.read(ids[start : start + pieces[turn % len(pieces)]]))
        turn += 1
    return np.concatenate(parts)
