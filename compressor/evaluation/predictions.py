"""What a model answers about a split: the file that metrics, tests and plots are computed from. No torch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressor.artifact.preprocessing import Inputs, Preprocessing, taken
from compressor.artifact.session import Artifact
from compressor.data.dataset import Dataset
from compressor.errors import ArtifactError, DataError
from compressor.files import replacing

Predictor = Callable[[Inputs], NDArray[np.float32]]
"""Encoded things → (rows, classes) float32 logits."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """One entry per row: ids (n,), labels (n,) int64 and logits (n, classes) float32."""

    ids: NDArray[np.str_]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]

    def save(self, path: Path) -> None:
        """Writes `predictions.npz`, whole or not at all."""
        with replacing(path) as temporary:
            np.savez(temporary, ids=self.ids, labels=self.labels, logits=self.logits)

    @staticmethod
    def load(path: Path) -> Predictions:
        """Reads what `save` wrote. Raises DataError where it is missing or damaged."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                return Predictions(ids=stored["ids"], labels=stored["labels"], logits=stored["logits"])
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{path} holds no predictions: {error}") from error


def saved_at(file: Path) -> Path:
    """Where the predictions of an exported file lie: `student.int8.onnx` → `student.int8.predictions.npz`."""
    return file.with_suffix(".predictions.npz")


def saved(file: Path) -> Predictions | None:
    """The predictions stored beside an exported file; None where there are none, or the file is newer."""
    path = saved_at(file)
    if not path.is_file() or path.stat().st_mtime < file.stat().st_mtime:
        return None
    return Predictions.load(path)


WINDOW = 64
"""Batches of samples of unlike length that are put in order together, and are in memory for it."""

Batches = Iterable[tuple[NDArray[np.int64], Inputs]]
"""(indices, encoded samples) in turn, as `Dataset.inputs` gives them."""


def predict(
    predictor: Predictor,
    dataset: Dataset,
    split: str,
    preprocessing: Preprocessing,
    *,
    batch_size: int = 64,
    batches: Batches | None = None,
) -> Predictions:
    """What `predictor` says about a split, in the split's order; `batches` are its inputs where they are at hand.

    Samples that can be of unlike length are asked about in another order, those of like length together.
    """
    indices: list[NDArray[np.int64]] = []
    rows: list[NDArray[np.float32]] = []
    for part, inputs in _by_length(batches or dataset.inputs(split, preprocessing, batch_size), preprocessing):
        indices.append(part)
        rows.append(predictor(inputs))
    found = np.concatenate(indices)
    order, back = found[:, 1], np.argsort(found[:, 0])
    logits = np.concatenate(rows)
    return Predictions(
        ids=np.array(dataset.row_ids(order[back])),
        labels=dataset.labels[order[back]].reshape(-1),
        logits=logits.reshape(len(order), -1, logits.shape[1])[back].reshape(logits.shape),
    )


def _by_length(batches: Batches, preprocessing: Preprocessing) -> Iterator[tuple[NDArray[np.int64], Inputs]]:
    """((samples, 2) places and indices, inputs) in batches as large: a batch is padded to its longest sample."""
    stream, place = iter(batches), 0
    for first in stream:
        window = [first]
        if preprocessing.used(first[1]) is not None:
            window += itertools.islice(stream, WINDOW - 1)
        indices = np.concatenate([part for part, _ in window])
        numbered = np.stack([np.arange(place, place + len(indices)), indices], axis=1)
        place += len(indices)
        if len(window) == 1:
            yield numbered, first[1]
            continue
        inputs = {name: np.concatenate([part[name] for _, part in window]) for name in first[1]}
        used = preprocessing.used(inputs)
        assert used is not None
        order, size = np.argsort(used, kind="stable"), len(first[0])
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            yield numbered[chosen], taken(inputs, chosen)


def predict_artifact(
    artifact: Artifact, dataset: Dataset, split: str, *, batch_size: int = 64, batches: Batches | None = None
) -> Predictions:
    """What an exported file says about a split, with the preprocessing it carries.

    Raises:
        ArtifactError: the file is for another modality, or its classes are not the dataset's, in the same order.
    """
    metadata = artifact.metadata
    check_data(metadata.modality, metadata.classes, dataset, str(artifact.path))
    return predict(artifact.logits, dataset, split, metadata.preprocessing, batch_size=batch_size, batches=batches)


def check_data(modality: str, classes: list[str], dataset: Dataset, source: str) -> None:
    """Raises ArtifactError unless modality and classes are the dataset's, these in the same order."""
    if modality != dataset.modality:
        raise ArtifactError(
            f"{source} takes data of modality {modality}; {dataset.name} is of modality {dataset.modality}"
        )
    if classes != dataset.classes:
        odd = sorted(set(classes) ^ set(dataset.classes))
        detail = f"they differ in {', '.join(odd[:4])}" if odd else "their order differs"
        raise ArtifactError(
            f"{source} knows {len(classes)} classes and the data has {len(dataset.classes)}: {detail}.\n"
            "Evaluate it on the data it was made for."
        )
