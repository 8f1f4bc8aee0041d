"""Stepping stones: a teacher's earlier weights, kept while it is trained, that may teach better than its last ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from compressor.data.dataset import Dataset
from compressor.distillation.calibration import calibrate
from compressor.distillation.sources import frozen
from compressor.distillation.teacher import FrozenTeacher
from compressor.evaluation.torch_predictor import predict_model
from compressor.files import read_json, write_json
from compressor.models import checkpoint
from compressor.models.checkpoint import Card
from compressor.models.weights import build, read_state

ROLES = ("teacher", "assistant")
"""Roles whose half-trained weights may teach better than the finished ones (Jin et al. 2019, RCO)."""
SHARES = (0.3, 0.5, 0.7)
"""Shares of a training after which they are kept."""
HEATS = "stones.json"


def places(folder: Path, epochs: int) -> dict[int, Path]:
    """Epoch → where its weights are kept, beside the finished ones; too short a training has fewer."""
    found = {round(share * epochs): folder / f"weights-{round(100 * share)}.safetensors" for share in SHARES}
    return {epoch: path for epoch, path in found.items() if 0 < epoch < epochs}


def kept(folder: Path) -> list[Path]:
    """The weights that were kept, the earliest first."""
    return sorted(folder.glob("weights-[0-9]*.safetensors"))


def inherit(origin: str, folder: Path) -> None:
    """Copies what a checkpoint that is used as it is has beside its weights into the run, which stays whole without it."""
    found = checkpoint.find(Path(origin)) if origin not in ("pretrained", "scratch") else None
    for path in kept(found[0].parent) if found else []:
        shutil.copyfile(path, folder / path.name)


def load(folder: Path, card: Card, dataset: Dataset, *, calibrated: bool, device: torch.device) -> list[FrozenTeacher]:
    """The earlier weights in a finished stage's `folder` as teachers, the earliest first, each with its own temperature.

    The temperatures are fitted on validation once and kept beside the weights.
    """
    path = folder / HEATS
    heats: dict[str, float] = read_json(path) if path.is_file() else {}
    teachers = []
    for weights in kept(folder):
        model = build(card.architecture)
        model.load_state_dict(read_state(weights))
        if calibrated and weights.name not in heats:
            model.eval().to(device)
            seen = predict_model(model, dataset, "validation", card.preprocessing, device=device)
            heats[weights.name] = calibrate(seen, None).temperature or 1.0
            write_json(path, heats)
        teachers.append(
            frozen(
                model, card.preprocessing, temperature=heats[weights.name] if calibrated else 1.0,
                architecture=card.architecture,
            )
        )  # fmt: skip
    return teachers
