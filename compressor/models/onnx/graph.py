"""An ONNX file, from whoever it is, as a file that says of itself what ours do: metadata, inputs, one output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.artifact import external, metadata
from compressor.artifact.images import ImagePreprocessing
from compressor.artifact.metadata import Metadata
from compressor.artifact.preprocessing import GraphInput, Inputs
from compressor.artifact.session import Artifact
from compressor.data.images.setup import ImageSetup
from compressor.errors import ArtifactError, UsageError
from compressor.packages import require

Colours = tuple[float, float, float]

LOOKED_AT = 8
"""Images by which logits are told from probabilities."""
CLOSE = 1e-3
"""How near to 1 the rows of probabilities sum up; half precision's rounding is below it."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A file made ours."""

    content: bytes
    metadata: Metadata
    notes: tuple[str, ...]
    """Sentences on what was assumed."""


def read(
    path: Path, classes: list[str], setup: ImageSetup, images: Sequence[Any], mean: Colours | None, std: Colours | None
) -> Graph:
    """The file at `path` as a teacher of `classes`.

    Args:
        path: the file; weights beside it are taken in.
        setup: the size where the graph leaves it open, crop and interpolation where the file says nothing.
        images: a few, RGB, to see what it gives.
        mean, std: of values in 0 … 1, where the file says nothing; None takes ImageNet's.

    Raises:
        ArtifactError: it can't be read or run.
        UsageError: it has other classes, or takes no images.
    """
    require("onnx", "onnxruntime")
    import onnx

    external.check(path)
    try:
        model = onnx.load(path)
        content = model.SerializeToString()
    except Exception as error:  # protobuf's own kinds, and those of files beside it
        raise ArtifactError(f"teacher '{path}' can't be read as ONNX: {_line(error)}") from error
    props = {p.key: p.value for p in model.metadata_props}
    if metadata.KEY in props:
        own = metadata.parse(props[metadata.KEY], str(path))
        if own.classes != classes:
            raise UsageError(
                f"teacher '{path}' knows {len(own.classes)} classes ({_some(own.classes)}) and the data has "
                f"{len(classes)} ({_some(classes)}): a file can't learn others, nor another order."
            )
        return Graph(content=content, metadata=own, notes=())
    size = _shape_input(model, path, setup)
    given = opened(model.SerializeToString(), path)
    raw = given.inputs[0].type == "tensor(uint8)"
    if raw and (mean or std):
        raise UsageError(f"teacher '{path}' takes pixels as they are: teacher.mean and teacher.std mean nothing to it")
    geometry = {"size": size, "crop_pct": setup.crop_pct, "interpolation": setup.interpolation}
    colours = {name: value for name, value in (("mean", mean), ("std", std)) if value is not None}
    preprocessing = ImagePreprocessing.model_validate(geometry | colours)
    notes = []
    if not raw and len(colours) < 2:
        notes.append(
            f"{path.name} says nothing of its mean and standard deviation: ImageNet's are taken (teacher.mean, .std)"
        )
    probabilities = _keep_answers(model, given, preprocessing.encode(images[:LOOKED_AT]), preprocessing, classes)
    what = "rows sum to 1: probabilities" if probabilities else "outputs are logits"
    notes.append(f"{path.name}: {preprocessing.shown}, its {what}")
    described = Metadata(
        name=path.stem, role="teacher", classes=classes, preprocessing=preprocessing,
        input="uint8" if raw else "normalised", output="probabilities" if probabilities else "logits",
        params=sum(int(np.prod(t.dims)) for t in model.graph.initializer if t.data_type in _FLOATS),
    )  # fmt: skip
    onnx.helper.set_model_props(model, props | {metadata.KEY: described.model_dump_json()})
    return Graph(content=model.SerializeToString(), metadata=described, notes=tuple(notes))


def _keep_answers(
    model: Any, given: Artifact, inputs: Inputs, preprocessing: ImagePreprocessing, classes: list[str]
) -> bool:
    """Leaves the graph the one output that has a value per class; whether they are probabilities."""
    answers = _answers(given, inputs, preprocessing)
    wanted = (len(inputs["pixels"]), len(classes))
    position = next((i for i, a in enumerate(answers) if a.shape == wanted), None)
    if position is None:
        widths = ", ".join("×".join(str(n) for n in a.shape[1:]) or "1" for a in answers)
        raise UsageError(
            f"teacher '{given.path}' gives {widths} values for an image, and the data has {len(classes)} classes "
            f"({_some(classes)}): it has to give one logit or probability for each, in this order."
        )
    keep = model.graph.output[position]
    del model.graph.output[:]
    model.graph.output.append(keep)
    return _sums_to_one(answers[position])


_FLOATS = (1, 2, 3, 10, 11, 16)
"""float, uint8 and int8 (quantised), float16, double, bfloat16 of onnx.TensorProto: what may be weights."""


def opened(content: bytes, path: Path, *, device: str = "cpu") -> Artifact:
    """A session on the bytes of a file, on `cuda` where onnxruntime has it."""
    import onnxruntime as ort
    import torch

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    wanted = ["CUDAExecutionProvider"] if device == "cuda" else []
    providers = [*(p for p in wanted if p in ort.get_available_providers()), "CPUExecutionProvider"]
    try:
        session = ort.InferenceSession(content, options, providers=providers)
    except Exception as error:  # onnxruntime raises plain RuntimeError subclasses from C++
        raise ArtifactError(f"teacher '{path}' can't be loaded by onnxruntime: {_line(error)}") from error
    return Artifact(
        path=path, session=session, provider=session.get_providers()[0], placement={}, elsewhere={},
        inputs=tuple(GraphInput(name=e.name, shape=tuple(e.shape), type=e.type) for e in session.get_inputs()),
    )  # fmt: skip


def _shape_input(model: Any, path: Path, setup: ImageSetup) -> int:
    """Turns the graph's input into ours, (N, 3, S, S) floats or (N, S, S, 3) pixels, and gives S."""
    from onnx import TensorProto, helper

    weights = {t.name for t in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in weights]
    kind = inputs[0].type.tensor_type if len(inputs) == 1 else None
    sides = [d.dim_value or None for d in kind.shape.dim] if kind is not None else []
    first = 3 in sides[1:2] and len(sides) == 4
    last = not first and len(sides) == 4 and sides[3] == 3
    if (
        kind is None
        or not (first or last)
        or kind.elem_type not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8)
    ):
        raise UsageError(
            f"teacher '{path}' takes {[i.name for i in inputs]} with shape {sides or 'unknown'}: "
            "it has to take one batch of images, (N, 3, height, width) or (N, height, width, 3)."
        )
    own = sides[2:] if first else sides[1:3]
    if own[0] != own[1]:
        raise UsageError(f"teacher '{path}' takes images of {own[0]} × {own[1]}; only square ones can be given to it")
    raw = kind.elem_type == TensorProto.UINT8
    if raw == first:  # ours are pixels last, floats first: a transposition at its door
        name = "compressor_image"
        ours = [sides[0] or "batch", *([*own, 3] if raw else [3, *own])]
        ours = [side if side else f"side{i}" for i, side in enumerate(ours)]
        perm = [0, 3, 1, 2] if raw else [0, 2, 3, 1]
        node = helper.make_node("Transpose", [name], [inputs[0].name], perm=perm)
        at = list(model.graph.input).index(inputs[0])
        del model.graph.input[at]
        model.graph.input.insert(at, helper.make_tensor_value_info(name, kind.elem_type, ours))
        model.graph.node.insert(0, node)
    return own[0] or setup.size


def _answers(given: Artifact, inputs: Inputs, preprocessing: ImagePreprocessing) -> list[NDArray[np.float32]]:
    """Every output for the images, one at a time: whatever the graph's batch is."""
    rows = []
    for i in range(len(inputs["pixels"])):
        one = {"pixels": np.repeat(inputs["pixels"][i : i + 1], given.batch or 1, axis=0)}
        try:
            found = given.session.run(None, given.named(preprocessing.feed(one, given.inputs)))
        except Exception as error:  # onnxruntime raises plain RuntimeError subclasses from C++
            raise ArtifactError(f"teacher '{given.path}' fails when run: {_line(error)}") from error
        rows.append([np.atleast_1d(np.asarray(a, dtype=np.float32))[:1] for a in found])
    return [np.concatenate([row[k] for row in rows]) for k in range(len(rows[0]))]


def _sums_to_one(answers: NDArray[np.float32]) -> bool:
    return bool((answers >= 0).all() and np.abs(answers.sum(axis=1) - 1).max() < CLOSE)


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
