"""Models of tiny folders."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn

from compressor.artifact.preprocessing import Inputs
from compressor.data.dataset import Dataset
from compressor.models.checkpoint import Card
from compressor.models.family import Known
from compressor.models.text.family import BERT
from compressor.models.weights import Loaded, initialise
from tests.models.text import folders

SETUP = SimpleNamespace(pair=False, max_length=None, mask=0.0)


def loaded(folder: Path, classes: int = folders.CLASSES) -> Loaded:
    name = BERT.resolve(str(folder), "teacher")
    architecture, _ = BERT.describe(name, classes=classes, setup=SETUP, stem="keep")
    found = initialise(architecture, "pretrained", role="teacher")
    found.model.eval()
    return found


def given() -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(array) for array in folders.batch().values())


def known(folder: Path) -> Known:
    """What a student is told of its teacher."""
    architecture, preprocessing = BERT.describe(str(folder), classes=folders.CLASSES, setup=SETUP, stem="keep")
    return Known(architecture=architecture, preprocessing=preprocessing)


def student(folder: Path, dataset: Dataset) -> tuple[nn.Module, Card, Inputs]:
    """A folder's model for the classes of some texts, its card, and all validation samples as it takes them."""
    model = loaded(folder, classes=len(dataset.classes)).model
    name = BERT.resolve(str(folder), "teacher")
    architecture, preprocessing = BERT.describe(name, classes=len(dataset.classes), setup=dataset.setup, stem="keep")
    card = Card(
        architecture=architecture, classes=dataset.classes, modality="text", preprocessing=preprocessing,
        role="student", origin="scratch", dataset=dict(dataset.card()), params=1, macs=1,
    )  # fmt: skip
    return model, card, dataset.some("validation", dataset.splits["validation"], preprocessing)
