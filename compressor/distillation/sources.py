"""Teachers that come as files of somebody else's: an ONNX graph, or a table of what an API has answered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from compressor.artifact.images import ImagePreprocessing
from compressor.artifact.preprocessing import Preprocessing
from compressor.data.dataset import Dataset
from compressor.data.images.setup import ImageSetup
from compressor.data.loaders import Batch
from compressor.data.prints import overlap
from compressor.distillation.teacher import FrozenTeacher
from compressor.errors import CheckpointError, UsageError
from compressor.models import seen
from compressor.models.architecture import Architecture
from compressor.models.config import TeacherConfig
from compressor.models.onnx import family as onnx_family
from compressor.models.onnx import graph
from compressor.models.outputs import Outputs
from compressor.models.seen import Seen
from compressor.models.table import family as table_family
from compressor.models.table import read
from compressor.models.table.family import Table

GIVEN_FAMILIES = (onnx_family.FAMILY, table_family.FAMILY)
"""Whose models only answer."""
NAMED = 3
"""Files that a message names of many."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A file as a model that answers."""

    model: nn.Module
    architecture: Architecture
    preprocessing: Preprocessing
    trusted: bool
    notice: str | None
    seen: Seen | None = None
    """Prints of what it was trained on, where it says."""


def take(path: Path, config: TeacherConfig, dataset: Dataset) -> Taken:
    """The teacher in an `.onnx`, `.csv` or `.npz` file.

    Raises:
        UsageError: it knows other classes, or a table lacks training samples.
        ArtifactError: damaged.
        CheckpointError: trained on another split of this very data.
    """
    if not isinstance(dataset.setup, ImageSetup):
        raise UsageError(f"teacher '{path}': a teacher from a file like this can only be taken for images")
    if path.suffix.lower() == ".onnx":
        return _graph(path, config, dataset, dataset.setup)
    return _table(path, dataset, dataset.setup)


def _graph(path: Path, config: TeacherConfig, dataset: Dataset, setup: ImageSetup) -> Taken:
    some = [dataset.read(int(i)) for i in dataset.splits["train"][: graph.LOOKED_AT]]
    found = graph.read(path, dataset.classes, setup, some, config.mean, config.std)
    card: dict[str, Any] = dict(found.metadata.dataset or {})
    if found.metadata.modality != dataset.modality:
        raise UsageError(f"teacher '{path}' takes {found.metadata.modality}, and the data is {dataset.modality}")
    shown = seen.read(path, card)
    refuse_seen(card, dataset, f"teacher '{path}'", shown)
    model, architecture = onnx_family.made(found)
    return Taken(
        model=model, architecture=architecture, preprocessing=found.metadata.preprocessing,
        trusted=held_out(card, dataset, shown), notice="\n".join(found.notes) or None, seen=shown,
    )  # fmt: skip


def _table(path: Path, dataset: Dataset, setup: ImageSetup) -> Taken:
    listed = read.read(path, dataset.classes)
    model, architecture = table_family.made(listed, path.stem)
    notes = list(listed.notes)
    for split in ("train", "validation", "test", "unlabeled"):
        indices = dataset.splits.get(split, np.array([], dtype=np.int64))
        absent = [dataset.ids[i] for i in indices[model.rows([dataset.ids[i] for i in indices]) < 0]]
        if not absent:
            continue
        named = ", ".join(absent[:NAMED]) + (" …" if len(absent) > NAMED else "")
        lacking = f"{len(absent)} of {len(indices)} {split} samples are not in it ({named})"
        if split == "train":
            raise UsageError(
                f"teacher '{path}': {lacking}.\n"
                "Names are relative to the data folder, such as cats/1.jpg; a teacher has to answer for all it teaches."
            )
        notes.append(f"{path.name}: {lacking}")
    preprocessing = ImagePreprocessing.model_validate(
        {"size": setup.size, "crop_pct": setup.crop_pct, "interpolation": setup.interpolation}
    )
    return Taken(
        model=model,
        architecture=architecture,
        preprocessing=preprocessing,
        trusted=False,
        notice="\n".join(notes) or None,
    )


def refuse_seen(trained_on: dict[str, Any], dataset: Dataset, what: str, shown: Seen | None) -> None:
    """Raises CheckpointError for a model that was trained on test samples.

    Args:
        trained_on: what its card says of its data.
        dataset: what it is wanted for.
        what: its name in the message.
        shown: prints of what it was trained on; None leaves the names of data and split to be compared.
    """
    if dataset.split_otherwise(trained_on):
        raise CheckpointError(
            f"{what}: trained on another split of this data (data.seed {trained_on.get('seed')}, "
            f"here {dataset.seed}), with test samples in it.\n"
            "Use the same data.seed and split shares, or train anew."
        )
    if shown is not None and dataset.prints is not None:
        again = overlap(shown, dataset.splits["test"], dataset.prints.exact)
        if len(again):
            named = ", ".join(dataset.ids[i] for i in again[:NAMED]) + (" …" if len(again) > NAMED else "")
            raise CheckpointError(
                f"{what}: trained on {len(again)} of the {len(dataset.splits['test'])} test samples ({named}).\n"
                f"It was trained on '{trained_on.get('name')}' with data.seed {trained_on.get('seed')}, here "
                f"{dataset.seed}. Use the same data.seed and split shares, take those images out of test, or train anew."
            )


def held_out(trained_on: dict[str, Any], dataset: Dataset, shown: Seen | None) -> bool:
    """Whether a card says that its model was trained on none of the validation samples.

    By what it was `shown`, where that is known; else by these very samples in this very split.
    """
    if shown is not None and dataset.prints is not None:
        return not len(overlap(shown, dataset.splits["validation"], dataset.prints.exact))
    return dataset.known_as(trained_on.get("content")) and not dataset.split_otherwise(trained_on)


class TableTeacher(FrozenTeacher):
    """A table of probabilities: the same answer for every view of a sample.

    Of two mixed samples it gives the mixture of their probabilities, in the shares of the mixture.
    """

    model: Table

    def of(self, dataset: Dataset) -> Self:
        """Ready to be asked by this dataset's sample numbers."""
        self.places = torch.from_numpy(self.model.rows(dataset.ids))
        return self

    def in_precision(self, precision: str) -> FrozenTeacher:
        """Itself: it computes nothing."""
        return self

    @property
    def wants(self) -> Preprocessing | None:
        """It needs no views."""
        return None

    def answer(
        self, batch: Batch, device: torch.device, *, embedding: bool = False, taps: tuple[int, ...] = ()
    ) -> Outputs:
        """Its calibrated answers for a batch's samples, on `device`."""
        logits = self._calibrated(batch["sample"])
        if "partner_sample" in batch:
            amount = batch["amount"][:, None]
            other = self._calibrated(batch["partner_sample"])
            logits = torch.logaddexp(logits + amount.log(), other + torch.log1p(-amount))
        return Outputs(logits=logits.to(device, non_blocking=True))

    def _calibrated(self, samples: Tensor) -> Tensor:
        """(batch, classes) logarithms of probabilities, on the CPU."""
        rows = self.places[samples].numpy()
        return torch.log_softmax(self.model.logits(rows).cpu() / self.temperature, dim=1)


def frozen(
    model: nn.Module,
    preprocessing: Preprocessing,
    *,
    temperature: float = 1.0,
    architecture: Architecture | None = None,
) -> FrozenTeacher:
    """A model as a teacher, of whichever kind it is."""
    kind = TableTeacher if isinstance(model, Table) else FrozenTeacher
    return kind(model, preprocessing, temperature=temperature, architecture=architecture)
