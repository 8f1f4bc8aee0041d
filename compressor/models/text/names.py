"""What encoders are called: a folder, a hub's name, `layers:N` for a student by its teacher, BERT's small sizes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from compressor.errors import UsageError, unknown
from compressor.files import read_json
from compressor.models.text.bert import TextArchitecture
from compressor.models.text.gpt2 import Gpt2Architecture

HUB = "hf-hub:"

SIZES = {
    "bert_tiny": (2, 128),
    "bert_mini": (4, 256),
    "bert_small": (4, 512),
    "bert_medium": (8, 512),
    "bert_base": (12, 768),
}
"""Layers and channels (Turc et al. 2019); heads of 64 channels, four times the channels between a layer's linear maps."""

HEAD = 64

_BY_TEACHER = re.compile(r"layers:([0-9]{1,3})(?:,hidden:([0-9]{1,5}))?", re.ASCII)

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
"""What a folder's weights may be called, the better one first."""


def resolve(spelled: str, role: str) -> str:
    """A folder as its absolute path; other names as they are. Raises UsageError with the nearest."""
    if spelled in SIZES or spelled.startswith(HUB) or by_teacher(spelled):
        return spelled
    path = Path(spelled).expanduser()
    if claims(path):
        return str(path.absolute())
    if spelled.startswith("layers"):
        raise UsageError(f"{role} '{spelled}' is no student by its teacher: write layers:3, or layers:3,hidden:192")
    raise UsageError(
        f"{unknown(f'{role} for texts', spelled, SIZES)}.\n"
        "Or give a folder with config.json and weights, hf-hub:OWNER/NAME, or layers:N for a student by its teacher."
    )


def claims(path: Path) -> bool:
    """Whether it is a folder with a model as Hugging Face's transformers writes it, of whatever kind."""
    config = path / "config.json"
    if not config.is_file() or not any((path / name).is_file() for name in WEIGHTS):
        return False
    try:
        read = read_json(config)
    except Exception:  # damaged: it says nothing of what it holds
        return False
    return isinstance(read, dict) and "model_type" in read


def by_teacher(name: str) -> tuple[int, int | None] | None:
    """(layers, channels) that `layers:N[,hidden:M]` asks for; None for other names."""
    found = _BY_TEACHER.fullmatch(name)
    if found is None or not int(found[1]):
        return None
    return int(found[1]), int(found[2]) if found[2] else None


def kept(layers: int, of: int) -> tuple[int, ...]:
    """The teacher's layers that a student of `layers` starts as: evenly spread, the first and the last among them.

    Layer i is round(i · (of − 1) / (layers − 1)), a half going to the earlier one; a single layer is the first.
    For 6 of 12 that is DistilBERT's own choice, 0, 2, 4, 7, 9, 11 (`extract_distilbert.py`).
    """
    steps = max(1, layers - 1)
    return tuple(-((steps - 2 * i * (of - 1)) // (2 * steps)) for i in range(layers))


Layered = TypeVar("Layered", TextArchitecture, Gpt2Architecture)


def student(name: str, classes: int, teacher: Layered) -> Layered:
    """What `layers:N[,hidden:M]` means beside a teacher. Raises UsageError where it has not that much."""
    wanted = by_teacher(name)
    assert wanted is not None
    layers, hidden = wanted[0], wanted[1] or teacher.hidden
    if layers > teacher.layers:
        raise UsageError(
            f"student '{name}' has more layers than its teacher {teacher.name}, which has {teacher.layers}"
        )
    width = teacher.hidden // teacher.heads
    if hidden != teacher.hidden and (hidden % width or hidden > teacher.hidden):
        raise UsageError(
            f"student '{name}': hidden should be a multiple of {width}, the channels of one of its teacher's heads, "
            f"and at most {teacher.hidden}"
        )
    same = hidden == teacher.hidden
    return teacher.model_copy(update={
        "name": name, "classes": classes, "layers": layers, "hidden": hidden, "heads": hidden // width,
        "intermediate": teacher.intermediate if same else max(1, teacher.intermediate * hidden // teacher.hidden),
        "source": None, "kept": kept(layers, teacher.layers) if same else (),
    })  # fmt: skip


def layers_of(state: dict[str, Tensor], kept: tuple[int, ...]) -> dict[str, Tensor]:
    """A copy of a state with those of its `layers.N.` alone that are `kept`, numbered anew."""
    places = {f"layers.{old}.": f"layers.{new}." for new, old in enumerate(kept)}
    taken = {}
    for name, tensor in state.items():
        start = ".".join(name.split(".")[:2]) + "."
        if not name.startswith("layers."):
            taken[name] = tensor.detach().clone()
        elif start in places:
            taken[name.replace(start, places[start], 1)] = tensor.detach().clone()
    return taken


def fresh(name: str, classes: int, teacher: TextArchitecture) -> TextArchitecture:
    """One of `SIZES` that reads its teacher's tokens."""
    layers, hidden = SIZES[name]
    return TextArchitecture(
        name=name, classes=classes, layers=layers, hidden=hidden, heads=hidden // HEAD, intermediate=4 * hidden,
        vocabulary=teacher.vocabulary, positions=teacher.positions, types=teacher.types, pooling=teacher.pooling,
    )  # fmt: skip


def kin(name: str) -> list[str]:
    """The other sizes; for a student by its teacher those with more layers, which the teacher may not have."""
    if name in SIZES:
        return [other for other in SIZES if other != name]
    wanted = by_teacher(name)
    if wanted is None:
        return []
    width = f",hidden:{wanted[1]}" if wanted[1] else ""
    return [f"layers:{layers}{width}" for layers in range(wanted[0] + 1, 4 * wanted[0] + 1)]


def refuse_longer(length: int, about: TextArchitecture | Gpt2Architecture) -> None:
    """Raises UsageError where a window of `length` tokens is longer than the model can read."""
    if length > about.positions:
        raise UsageError(
            f"{about.name} reads {about.positions} tokens at most, and a window has {length}: "
            f"--set data.options.length={about.positions}"
        )
