"""What a training needs to go on after a stop: weights, optimiser, loss scale and epoch, as safetensors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from compressor.errors import CheckpointError
from compressor.models.checkpoint import save_tensors

FILE = "state.safetensors"
SECONDS_BETWEEN = 30.0  # a ResNet-50's state is 300 MB: writing it every few seconds would cost the run


@dataclass(frozen=True, kw_only=True)
class Progressed:
    """How far a training has come."""

    epoch: int
    """The next epoch."""
    seconds: float
    """Spent training so far."""


def save(
    folder: Path,
    modules: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    progressed: Progressed,
) -> None:
    """Writes the state at an epoch's end, whole or not at all."""
    tensors = {f"{name}/{k}": v for name, module in modules.items() for k, v in module.state_dict().items()}
    stored = optimizer.state_dict()
    for index, slots in stored["state"].items():
        for slot, value in slots.items():
            if value is not None:
                tensors[f"optimizer/{index}/{slot}"] = torch.as_tensor(value)
    note = {"epoch": progressed.epoch, "seconds": progressed.seconds, "groups": stored["param_groups"]}
    note["scaler"] = scaler.state_dict()  # empty where the loss is not scaled
    save_tensors(folder / FILE, tensors, {"compressor": json.dumps(note)})


def load(
    folder: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
) -> Progressed | None:
    """Puts the stored state back; None where there is none."""
    path = folder / FILE
    if not path.is_file():
        return None
    with safe_open(path, framework="pt") as file:
        note = json.loads(file.metadata()["compressor"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    for name, module in modules.items():
        # Before the best epoch was kept there was only the last one.
        prefix = f"{name}/" if name != "best" or any(key.startswith("best/") for key in tensors) else "model/"
        module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    slots: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        kind, _, rest = key.partition("/")
        if kind == "optimizer":
            index, slot = rest.split("/", 1)
            slots.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict({"state": slots, "param_groups": note["groups"]})
    _restore_layout(optimizer)
    if scaler.is_enabled() and not note.get("scaler"):
        raise CheckpointError(f"{path} was saved without the scale of its fp16 losses: start this stage anew")
    if scaler.is_enabled():
        scaler.load_state_dict(note["scaler"])
    return Progressed(epoch=note["epoch"], seconds=note["seconds"])


def _restore_layout(optimizer: torch.optim.Optimizer) -> None:
    """Gives each moment its parameter's memory layout: fused kernels walk both by address, in step."""
    for parameter, slots in optimizer.state.items():
        for slot, value in slots.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                slots[slot] = torch.empty_like(parameter).copy_(value)


def clear(folder: Path) -> None:
    """Removes the state of a training that is done."""
    (folder / FILE).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
