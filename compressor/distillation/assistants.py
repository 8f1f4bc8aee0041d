"""Assistants: which model may stand between a teacher and a student, and those that were trained before."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from compressor.data import shards
from compressor.data.dataset import Dataset
from compressor.distillation.chain import Result, finished
from compressor.distillation.config import StageConfig
from compressor.distillation.targets import weights_fingerprint
from compressor.errors import CompressorError
from compressor.files import cache_dir, write_json
from compressor.models.family import Family, first_family

ELSEWHERE = ("resnet18", "mobilenetv3_large_100", "efficientnet_b0", "resnet10t", "mobilenetv3_small_100")
"""Tried where neither family has a model of the right size."""
MIDDLE = (0.3, 0.7)
"""Where an assistant's capacity may lie between the student's (0) and the teacher's (1), on a logarithmic scale."""
TRIED = 40
"""Names that are built, on no device, to count their parameters."""


def between(teacher: Result, student: str, params: int, dataset: Dataset) -> str | None:
    """A model near the geometric mean of the capacities (Mirzadeh et al. 2020), or None where there is none.

    Of the teacher's kin first, then of the student's, then any usual one.

    Args:
        teacher: its parameters have to be known.
        student: its name.
        params: the student's parameters.
        dataset: what it is for.
    """
    if not teacher.card.params or teacher.card.params <= params:
        return None
    own = first_family(dataset.modality)
    low, high = math.log(params), math.log(teacher.card.params)
    for names in (own.kin(teacher.card.architecture.name), own.kin(student), ELSEWHERE):
        places = {name: (math.log(size) - low) / (high - low) for name, size in _sizes(names, own, dataset, teacher)}
        fitting = {name: place for name, place in places.items() if MIDDLE[0] <= place <= MIDDLE[1]}
        if fitting:
            return min(fitting, key=lambda name: (abs(fitting[name] - 0.5), name))
    return None


def _sizes(names: Iterable[str], family: Family, dataset: Dataset, teacher: Result) -> Iterable[tuple[str, int]]:
    for name in list(names)[:TRIED]:
        try:
            with torch.device("meta"):
                architecture, _ = family.describe(
                    name, classes=len(dataset.classes), setup=dataset.setup, stem="keep", teacher=teacher.known
                )
                model = family.build(architecture)
        except Exception:  # a model that can't be made at this size is none to take
            continue
        yield name, sum(p.numel() for p in model.parameters())


def root() -> Path:
    """Where trained assistants are kept for other runs."""
    return cache_dir() / "assistants"


def key(
    earlier: list[Result], name: str, init: str, stem: str, config: StageConfig, dataset: Dataset, **more: Any
) -> str:
    """The name of an assistant: a fingerprint of all that its training depends on.

    Args:
        earlier: who teaches it, in the chain's order.
        name, init, stem: what it is before its training.
        config: of its stage.
        dataset: what it learns on.
        more: epochs, seed, and what else the recipe says.
    """
    about = {
        "teachers": [weights_fingerprint(result.model()) for result in earlier],
        "temperatures": [result.card.temperature for result in earlier],
        "name": name, "init": init, "stem": stem, "config": config.model_dump(mode="json"),
        "dataset": dataset.fingerprint, "setup": str(dataset.setup), "versions": torch.__version__, **more,
    }  # fmt: skip
    return hashlib.blake2b(json.dumps(about, sort_keys=True, default=str).encode(), digest_size=10).hexdigest()


def find(name: str, folder: Path) -> Result | None:
    """Copies an assistant that was trained before into a run's stage `folder`; None where there is none."""
    place = root() / name
    try:
        if finished(place) is None:
            return None
    except CompressorError:  # a damaged one is trained anew
        return None
    with shards.locked(place):
        folder.mkdir(parents=True, exist_ok=True)
        for path in place.iterdir():
            if path.is_file() and path.name not in ("lock", "about.json", "used", "model.json"):
                shutil.copyfile(path, folder / path.name)
        shutil.copyfile(place / "model.json", folder / "model.json")  # last: it marks a whole stage
        shards.touch(place)
    return finished(folder)


def keep(name: str, result: Result, label: str) -> None:
    """Keeps a trained assistant for other runs."""
    place = root() / name
    with shards.locked(place):
        for path in result.folder.iterdir():
            if path.is_file() and path.name != "model.json":
                shutil.copyfile(path, place / path.name)
        write_json(place / "about.json", {"label": label})
        shutil.copyfile(result.folder / "model.json", place / "model.json")
        shards.touch(place)
