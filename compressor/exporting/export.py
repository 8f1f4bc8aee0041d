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
from pydantic import BaseModel
from torch import nn

from compressor.artifact import metadata, session
from compressor.artifact.metadata import Metadata
from compressor.artifact.preprocessing import Inputs, taken
from compressor.errors import CompressorError, ParityError, UsageError
from compressor.evaluation.predictions import Predictor
from compressor.evaluation.torch_predictor import predictor_of
from compressor.exporting import parity
from compressor.exporting.clean import plain
from compressor.exporting.config import ExportConfig
from compressor.exporting.document import Parity
from compressor.files import replacing
from compressor.models.checkpoint import Card
from compressor.models.family import family
from compressor.models.onnx.family import OnnxModel
from compressor.progress import Progress

LONGEST_SIDE = 1 << 16
"""Of a side that a graph leaves open."""
DYNAMO_FIRST, TORCHSCRIPT_FIRST = (True, False), (False, True)
"""Orders of torch's exporters. What ships is dynamo's, which is kept; TorchScript's takes half a second instead of ten."""


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
    inputs: Inputs,
    recipe: str | None,
    progress: Progress,
    lengths: list[int] | None = None,
    exporters: tuple[bool, bool] = DYNAMO_FIRST,
) -> Exported:
    """Writes `path`, checked; a file that fails leaves nothing behind.

    Args:
        model: the classifier; moved to the CPU, in eval mode afterwards.
        card: what the file will say of itself.
        inputs: real validation samples for the gate.
        recipe: fingerprint of the resolved recipe.
        lengths: quantiles of validation samples' lengths; None where they have none.
        exporters: in which order they are tried.

    Raises:
        ParityError: the file does not reproduce the model.
        UsageError: `uint8_input` for a family that has no raw input.
        CompressorError: no exporter can express the model.
    """
    if isinstance(model, OnnxModel):
        return _copied(model, path, precision=precision, config=config, inputs=inputs)
    model = model.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    described = describe(card, precision=precision, recipe=recipe, uint8_input=config.uint8_input)
    described = described.model_copy(update={"lengths": lengths})
    reference = reference_of(model, card, config)
    inputs = taken(inputs, slice(config.parity_samples))
    problems: list[str] = []
    with replacing(path) as unfinished:
        for dynamo in exporters:
            try:
                _write(model, card, unfinished, config=config, dynamo=dynamo)
                if precision == "fp16":
                    _halve(unfinished)
                write_metadata(unfinished, described)
                seen = check(reference, unfinished, inputs, batches_of(config))
                parity.gate(seen, precision, path.name)
                _check_lengths(reference, unfinished, inputs, config, precision, path.name)
            except UsageError:  # the family has no such graph: no exporter will
                raise
            except Exception as error:  # the exporters raise whatever the graph made them stumble over
                problems.append(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}")
                if len(problems) == 1:
                    now, other = ("dynamo", "TorchScript's") if dynamo else ("TorchScript", "dynamo's")
                    progress.say(f"export: torch's {now} exporter failed ({problems[-1]}); trying {other}")
                    continue
                if isinstance(error, ParityError):
                    raise
                raise CompressorError(f"{card.architecture.name} can't be exported: {' | '.join(problems)}") from error
            break
        write_metadata(unfinished, described.model_copy(update={"parity": seen.as_dict()}))
    return Exported(path=path, precision=precision, opset=config.opset, bytes=path.stat().st_size, parity=seen)


def _copied(model: OnnxModel, path: Path, *, precision: str, config: ExportConfig, inputs: Inputs) -> Exported:
    """The file of a teacher that was given as one."""
    with replacing(path) as unfinished:
        unfinished.write_bytes(model.content)
        reference = predictor_of(model, model.artifact.metadata.preprocessing)
        seen = check(reference, unfinished, taken(inputs, slice(config.parity_samples)), batches_of(config))
        parity.gate(seen, precision, path.name)
    return Exported(path=path, precision=precision, opset=config.opset, bytes=path.stat().st_size, parity=seen)


class RawInput(nn.Module):
    """A classifier with its normalisation before and its softmax behind: encoded things in, probabilities out."""

    def __init__(self, normalise: nn.Module, model: nn.Module, temperature: float) -> None:
        super().__init__()
        self.normalise = normalise
        self.model = model
        self.temperature = temperature

    def forward(self, *raw: torch.Tensor) -> torch.Tensor:
        """What the modality encodes → (rows, classes) probabilities."""
        return torch.softmax(self.model(self.normalise(*raw)) / self.temperature, dim=1)


def reference_of(model: nn.Module, card: Card, config: ExportConfig) -> Predictor:
    """The PyTorch model as what a file has to reproduce: logits, as `Artifact.logits` gives them."""
    run = predictor_of(model, card.preprocessing)
    if not config.uint8_input:
        return run
    temperature = card.temperature or 1.0

    def logarithms(inputs: Inputs) -> NDArray[np.float32]:
        probabilities = session.softmax(run(inputs), temperature).astype(np.float32)
        scaled: NDArray[np.float32] = np.log(np.maximum(probabilities, session.TINY)) * np.float32(temperature)
        return scaled

    return logarithms


def describe(card: Card, *, precision: str, recipe: str | None, uint8_input: bool = False) -> Metadata:
    """What a file of this checkpoint says of itself."""
    return Metadata(
        name=card.architecture.name,
        role=card.role,
        classes=card.classes,
        modality=card.modality,
        preprocessing=card.preprocessing,
        **card.architecture.described(),
        precision=precision,
        input="uint8" if uint8_input else "normalised",
        output="probabilities" if uint8_input else "logits",
        dataset=card.dataset,
        recipe=recipe,
        temperature=card.temperature,
        temperature_of="model" if card.temperature else None,
        top1=card.top1,
        macs=card.macs,
        params=card.params,
    )


def _write(model: nn.Module, card: Card, path: Path, *, config: ExportConfig, dynamo: bool) -> None:
    kin = family(card.architecture.family)
    dynamic = config.batch == "dynamic"
    # Two samples: a batch of one is what torch.export takes for a constant.
    batch = 2 if dynamic else int(config.batch)
    inputs = list(kin.input_names(raw=config.uint8_input))
    if config.uint8_input:
        normalise, example = kin.raw(card.preprocessing, batch)
        model = RawInput(normalise, model, card.temperature or 1.0).eval()
    else:
        example = kin.example(card.preprocessing, batch)
    outputs = ["probabilities" if config.uint8_input else "logits"]
    options: dict[str, Any] = {"input_names": inputs, "output_names": outputs, "opset_version": config.opset}
    if dynamo:
        options |= {"dynamo": True, "external_data": False, "verbose": False}
        if dynamic:
            size = torch.export.Dim("batch", min=1, max=4096)
            open_sides = kin.dynamic()
            named = {side: torch.export.Dim(side, min=1, max=LONGEST_SIDE)
                     for sides in open_sides.values() for side in sides.values()}  # fmt: skip
            shapes = tuple(
                {0: size} | {axis: named[side] for axis, side in open_sides.get(name, {}).items()} for name in inputs
            )
            options["dynamic_shapes"] = (shapes,) if config.uint8_input else shapes  # RawInput takes *raw
    else:
        options |= {"dynamo": False}
        if dynamic:
            sides = kin.dynamic()
            options["dynamic_axes"] = {name: {0: "batch"} | sides.get(name, {}) for name in inputs}
            options["dynamic_axes"] |= {name: {0: "rows"} for name in outputs}
    with quiet(), torch.no_grad():
        torch.onnx.export(model, example, str(path), **options)


@contextlib.contextmanager
def quiet() -> Any:
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
    with quiet():
        half = convert_float_to_float16(model, keep_io_types=True, op_block_list=blocked)
    onnx.save(half, path)


def check(reference: Predictor, path: Path, inputs: Inputs, batches: tuple[int, ...], *, fused: bool = True) -> Parity:
    """How closely the file at `path` gives what the model gives for `inputs`, fed in `batches` in turn."""
    return parity.compare(reference, session.load(path, fused=fused).logits, inputs, batches=batches)


def _check_lengths(
    reference: Predictor, path: Path, inputs: Inputs, config: ExportConfig, precision: str, source: str
) -> None:
    """Raises ParityError where a file that takes any length fails at one that validation samples may not have."""
    artifact = session.load(path)
    if not artifact.any_length:
        return
    for what, made in artifact.metadata.preprocessing.extremes(inputs).items():
        seen = parity.compare(reference, artifact.logits, made, batches=batches_of(config))
        # Nobody means such texts: classes may be nearly tied, and a few texts say nothing about their order.
        parity.gate(seen, precision, f"{source}, given samples {what},", agreement=0)


def batches_of(config: ExportConfig) -> tuple[int, ...]:
    """The batch sizes that the gate feeds in turn."""
    return parity.BATCHES if config.batch == "dynamic" else (int(config.batch),)


def write_metadata(path: Path, described: BaseModel) -> None:
    """Puts `described` into the file at `path`, and takes out what the exporter said of itself."""
    import onnx

    model = onnx.load(path)
    plain(model)
    onnx.helper.set_model_props(model, {metadata.KEY: described.model_dump_json()})
    model.producer_name = "compressor"
    onnx.save(model, path)
