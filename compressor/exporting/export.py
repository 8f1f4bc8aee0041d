"""One self-describing ONNX file of a PyTorch model, kept only when it passes the parity gate."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from compressor.artifact import metadata, session
from compressor.artifact.metadata import Metadata
from compressor.artifact.preprocessing import Preprocessing
from compressor.errors import CompressorError, ParityError
from compressor.evaluation.torch_predictor import logits_of
from compressor.exporting import parity
from compressor.exporting.clean import plain
from compressor.exporting.config import ExportConfig
from compressor.exporting.document import Parity
from compressor.files import replacing
from compressor.models.checkpoint import Card
from compressor.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A file that passed the gate."""

    path: Path
    precision: str
    opset: int
    bytes: int
    parity: Parity


def export(
    model: nn.Module,
    card: Card,
    path: Path,
    *,
    precision: str,
    config: ExportConfig,
    pixels: NDArray[np.uint8],
    recipe: str | None,
    progress: Progress,
) -> Exported:
    """Writes `path`, checked; a file that fails leaves nothing behind.

    Args:
        model: the classifier; moved to the CPU, in eval mode afterwards.
        card: what the file will say of itself.
        pixels: (samples, size, size, 3) uint8, real validation images for the gate.
        recipe: fingerprint of the resolved recipe.

    Raises:
        ParityError: the file does not reproduce the model.
        CompressorError: no exporter can express the model.
    """
    model = model.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    described = describe(card, precision=precision, recipe=recipe, uint8_input=config.uint8_input)
    reference = reference_of(model, card, config)
    whole = Whole(model, card).eval() if config.uint8_input else model
    pixels = pixels[: config.parity_samples]
    problems: list[str] = []
    with replacing(path) as unfinished:
        for dynamo in (True, False):
            try:
                _write(whole, card.preprocessing.size, unfinished, config=config, dynamo=dynamo)
                if precision == "fp16":
                    _halve(unfinished)
                write_metadata(unfinished, described)
                seen = _check(reference, unfinished, card.preprocessing, pixels, config)
                parity.gate(seen, precision, path.name)
            except Exception as error:  # the exporters raise whatever the graph made them stumble over
                problems.append(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}")
                if dynamo:
                    progress.say(f"export: torch's dynamo exporter failed ({problems[-1]}); trying TorchScript's")
                    continue
                if isinstance(error, ParityError):
                    raise
                raise CompressorError(f"{card.architecture.name} can't be exported: {' | '.join(problems)}") from error
            break
        write_metadata(unfinished, described.model_copy(update={"parity": seen.as_dict()}))
    return Exported(path=path, precision=precision, opset=config.opset, bytes=path.stat().st_size, parity=seen)


class Whole(nn.Module):
    """A classifier with its normalisation before and its softmax behind: pixels in, probabilities out."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, model: nn.Module, card: Card) -> None:
        super().__init__()
        self.model = model
        self.temperature = card.temperature or 1.0
        shape = (1, 3, 1, 1)
        std = torch.tensor(card.preprocessing.std).view(shape)
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", -torch.tensor(card.preprocessing.mean).view(shape) / std)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(batch, size, size, 3) uint8 → (batch, classes) probabilities."""
        images = pixels.permute(0, 3, 1, 2).float() * self.scale + self.shift
        return torch.softmax(self.model(images) / self.temperature, dim=1)


def reference_of(model: nn.Module, card: Card, config: ExportConfig) -> parity.Run:
    """The PyTorch model as what a file has to reproduce: logits, as `Artifact.logits` gives them."""
    run = logits_of(model, card.preprocessing)
    if not config.uint8_input:
        return run
    temperature = card.temperature or 1.0

    def logarithms(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        probabilities = session.softmax(run(pixels), temperature).astype(np.float32)
        scaled: NDArray[np.float32] = np.log(np.maximum(probabilities, session.TINY)) * np.float32(temperature)
        return scaled

    return logarithms


def describe(card: Card, *, precision: str, recipe: str | None, uint8_input: bool = False) -> Metadata:
    """What a file of this checkpoint says of itself."""
    return Metadata(
        name=card.architecture.name,
        role=card.role,
        classes=card.classes,
        preprocessing=card.preprocessing,
        stem=card.architecture.stem,
        precision=precision,
        input="uint8" if uint8_input else "normalised",
        output="probabilities" if uint8_input else "logits",
        dataset=card.dataset,
        recipe=recipe,
        temperature=card.temperature,
        top1=card.top1,
        macs=card.macs,
        params=card.params,
    )


def _write(model: nn.Module, size: int, path: Path, *, config: ExportConfig, dynamo: bool) -> None:
    dynamic = config.batch == "dynamic"
    # Two images: a batch of one is what torch.export takes for a constant.
    batch = 2 if dynamic else int(config.batch)
    example = torch.randn(batch, 3, size, size)
    names = {"input_names": ["image"], "output_names": ["logits"]}
    if config.uint8_input:
        example = torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8)
        names = {"input_names": ["pixels"], "output_names": ["probabilities"]}
    options: dict[str, Any] = names | {"opset_version": config.opset}
    if dynamo:
        options |= {"dynamo": True, "external_data": False, "verbose": False}
        if dynamic:
            options["dynamic_shapes"] = ({0: torch.export.Dim("batch", min=1, max=4096)},)
    else:
        options |= {"dynamo": False}
        if dynamic:
            options["dynamic_axes"] = {name[0]: {0: "batch"} for name in names.values()}
    with _quiet(), torch.no_grad():
        torch.onnx.export(model, (example,), str(path), **options)


@contextlib.contextmanager
def _quiet() -> Any:
    """The exporters print and warn about their own insides; what matters is whether the gate is passed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _halve(path: Path) -> None:
    """Weights and activations as float16; input and output stay float32."""
    import onnx
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    # A softmax at the end stays float32: half precision has no probabilities below 6e-8.
    model = onnx.load(path)
    last = [node.op_type for node in model.graph.node if set(node.output) & {o.name for o in model.graph.output}]
    blocked = [*DEFAULT_OP_BLOCK_LIST, *(["Softmax"] if "Softmax" in last else [])]
    with _quiet():
        half = convert_float_to_float16(model, keep_io_types=True, op_block_list=blocked)
    onnx.save(half, path)


def _check(
    reference: parity.Run, path: Path, preprocessing: Preprocessing, pixels: NDArray[np.uint8], config: ExportConfig
) -> Parity:
    loaded = session.load(path)
    return parity.compare(
        reference, lambda part: loaded.logits(part, preprocessing), pixels, batches=batches_of(config)
    )


def batches_of(config: ExportConfig) -> tuple[int, ...]:
    """The batch sizes that the gate feeds in turn."""
    return parity.BATCHES if config.batch == "dynamic" else (int(config.batch),)


def write_metadata(path: Path, described: Metadata) -> None:
    """Puts `described` into the file at `path`, and takes out what the exporter said of itself."""
    import onnx

    model = onnx.load(path)
    plain(model)
    onnx.helper.set_model_props(model, {metadata.KEY: described.model_dump_json()})
    model.producer_name = "compressor"
    onnx.save(model, path)
