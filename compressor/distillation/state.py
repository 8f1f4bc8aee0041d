"""What a training needs to go on after a stop, exactly: the one way in which its state is saved.

`state/step-<steps done>.safetensors`, the last two: every tensor, and in the header how far it has come, how it was
begun, and a checksum over all of it. Random states are not among it: each step seeds the generators by its number.
"""

from __future__ import annotations

import errno
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from compressor.data.shards import make_free
from compressor.distillation.config import SaveConfig
from compressor.errors import CheckpointError, CompressorError
from compressor.files import sweep
from compressor.models.checkpoint import save_tensors
from compressor.models.family import StateDict

KEPT = 2
"""Saves that are kept: should the newest be damaged, the one before it serves."""


@dataclass(kw_only=True)
class Progressed:
    """How far a training has come, and what was settled on the way."""

    step: int = 0
    """Steps done."""
    seconds: float = 0.0
    """Spent training so far."""
    records: list[dict[str, Any]] = field(default_factory=list)
    """A line of `metrics.jsonl` for each finished epoch."""
    sums: dict[str, float] = field(default_factory=dict)
    """Loss and terms, summed over the steps of the epoch that is under way."""
    epoch_seconds: float = 0.0
    """Spent in that epoch."""
    waited: float = 0.0
    """Of them, waiting for data."""
    skipped: list[int] = field(default_factory=list)
    """Steps that are left out because their loss was not finite."""
    micro_batch: int | None = None
    """Samples per forward, where memory had no room for the whole batch."""
    begun: dict[str, Any] = field(default_factory=dict)
    """How the training was begun, by its caller."""
    start: dict[str, float] = field(default_factory=dict)
    """What validation said of trained weights before the first step, where they are kept unless an epoch is better."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What of a training holds state."""

    modules: dict[str, nn.Module]
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler


class Saves:
    """The saves of one training."""

    def __init__(self, folder: Path, parts: Parts, config: SaveConfig, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.parts = parts
        self.config = config
        self.say = say
        self.at = time.monotonic()
        self.step = 0

    def due(self, step: int) -> bool:
        """Whether it is time, by the clock or by steps."""
        by_steps = self.config.steps is not None and step - self.step >= self.config.steps
        return by_steps or time.monotonic() - self.at >= self.config.seconds

    def save(self, progressed: Progressed) -> None:
        """Writes the state, whole or not at all, and drops all but the last two.

        Raises:
            CompressorError: the disk is full, and removing stores that nobody reads did not help.
        """
        parts, tensors = self.parts, _tensors(self.parts)
        note = vars(progressed) | {"groups": parts.optimizer.state_dict()["param_groups"]}
        note["scaler"] = parts.scaler.state_dict()  # empty where the loss is not scaled
        text = json.dumps(note)
        path = self.folder / f"step-{progressed.step:010d}.safetensors"
        needed = sum(tensor.nbytes for tensor in tensors.values()) + len(text) + (1 << 20)
        for attempt in range(2):
            try:
                save_tensors(path, tensors, {"compressor": text, "digest": _digest(tensors, text)})
                break
            except (OSError, SafetensorError) as error:
                self._make_room(error, needed, last=attempt == 1)
        for old in _saved(self.folder)[KEPT:]:
            old.unlink(missing_ok=True)
        self.at, self.step = time.monotonic(), progressed.step

    def _make_room(self, error: Exception, needed: int, *, last: bool) -> None:
        if getattr(error, "errno", None) != errno.ENOSPC and "No space left" not in str(error):
            raise CompressorError(f"the training's state can't be saved in {self.folder}: {error}") from error
        free = make_free(self.folder, needed)
        if last or free < needed:
            raise CompressorError(
                f"the disk of {self.folder} is full: saving the training's state needs {needed / 1e6:.1f} MB, and "
                f"{free / 1e6:.1f} MB are free, so {max(0, needed - free) / 1e6:.1f} MB are missing.\n"
                "Make room, then go on from the last save with --resume."
            ) from error

    def load(self) -> Progressed | None:
        """Puts the newest whole save back; None where there is none. A damaged one is named and passed over.

        Raises:
            CheckpointError: it was saved without the scale of its fp16 losses.
        """
        if self.folder.is_dir():
            sweep(self.folder)
        for path, tensors, note in _whole(self.folder, self.say):
            _restore(self.parts, tensors, note, path)
            found = _progressed(note)
            self.at, self.step = time.monotonic(), found.step
            return found
        return None


def begun(folder: Path) -> dict[str, Any] | None:
    """How the training that has saves in `folder` was begun; None where it has none that is whole."""
    return next((_progressed(note).begun for _, _, note in _whole(folder, lambda _: None)), None)


def clear(folder: Path) -> None:
    """Removes the saves of a training that is done."""
    for path in [*_saved(folder), folder / "state.safetensors"]:  # the latter: an earlier version's
        path.unlink(missing_ok=True)
    if folder.is_dir():
        sweep(folder)
        if not any(folder.iterdir()):
            folder.rmdir()


def _saved(folder: Path) -> list[Path]:
    """The newest first."""
    return sorted(folder.glob("step-*.safetensors"), reverse=True)


def _whole(folder: Path, say: Callable[[str], None]) -> Iterator[tuple[Path, StateDict, dict[str, Any]]]:
    """The saves that are as they were written, the newest first: path, tensors, note."""
    paths = _saved(folder)
    for path in paths:
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata()
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
            if about["digest"] != _digest(tensors, about["compressor"]):
                raise ValueError("its checksum does not agree")
            note = json.loads(about["compressor"])
        except Exception as error:  # a damaged header has as many errors as libraries that read it
            then = "the one before it is taken" if path != paths[-1] else "this training starts anew"
            say(f"the save {path} is damaged ({str(error).splitlines()[0][:120]}): {then}")
            continue
        yield path, tensors, note


def _digest(tensors: StateDict, text: str) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _progressed(note: dict[str, Any]) -> Progressed:
    return Progressed(**{key: value for key, value in note.items() if key in Progressed.__dataclass_fields__})


def _tensors(parts: Parts) -> StateDict:
    tensors = {f"{name}/{k}": v for name, module in parts.modules.items() for k, v in module.state_dict().items()}
    for index, slots in parts.optimizer.state_dict()["state"].items():
        for slot, value in slots.items():
            if value is not None:
                tensors[f"optimizer/{index}/{slot}"] = torch.as_tensor(value)
    return tensors


def _restore(parts: Parts, tensors: StateDict, note: dict[str, Any], path: Path) -> None:
    for name, module in parts.modules.items():
        prefix = f"{name}/"
        module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    slots: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        kind, _, rest = key.partition("/")
        if kind == "optimizer":
            index, slot = rest.split("/", 1)
            slots.setdefault(int(index), {})[slot] = value
    parts.optimizer.load_state_dict({"state": slots, "param_groups": note["groups"]})
    _restore_layout(parts.optimizer)
    if parts.scaler.is_enabled() and not note.get("scaler"):
        raise CheckpointError(f"{path} was saved without the scale of its fp16 losses: start this stage anew")
    if parts.scaler.is_enabled():
        parts.scaler.load_state_dict(note["scaler"])


def _restore_layout(optimizer: torch.optim.Optimizer) -> None:
    """Gives each moment its parameter's memory layout: fused kernels walk both by address, in step."""
    for parameter, slots in optimizer.state.items():
        for slot, value in slots.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                slots[slot] = torch.empty_like(parameter).copy_(value)
