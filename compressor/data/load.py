"""From what a recipe says to a dataset."""

from __future__ import annotations

from pathlib import Path

from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset, build
from compressor.data.kind import kind_of
from compressor.errors import UsageError
from compressor.modalities import DEFAULT, MODALITIES
from compressor.progress import Progress, Silent


def load_dataset(config: DataConfig, progress: Progress | None = None) -> Dataset:
    """The dataset that `config` describes.

    Raises:
        DataError: no modality can read the source, or what it holds; see the modality's `read`.
    """
    progress = progress or Silent()
    kind = kind_of(modality_of(config.source, config.task))
    dataset = build(kind.read(config, progress), config)
    return dataset if config.unlabeled is None else kind.add_unlabeled(dataset, Path(config.unlabeled), progress)


def comes_along(name: str) -> bool:
    """Whether data of this name come with the package."""
    return any(name in kind_of(modality).embedded() for modality in MODALITIES)


def modality_of(source: str, task: str = "auto") -> str:
    """The modality of the task; of `auto` the one that claims the source, and the default one where none does, whose reader
    then says what is wrong.

    The newest is asked first: the oldest takes any folder. Raises UsageError for a task that no modality is for, and for
    plain text without a task.
    """
    if task != "auto":
        found = next((name for name, entry in MODALITIES.items() if entry.task == task), None)
        if found is None:
            raise UsageError(f"data.task: nothing here is trained for the task {task}")
        return found
    told = [name for name in reversed(MODALITIES) if MODALITIES[name].task is None]
    found = next((name for name in told if kind_of(name).claims(source)), None)
    if found is None and source.lower().endswith(".txt") and Path(source).expanduser().is_file():
        raise UsageError(
            f"'{source}' is running text without labels: say what is to be learnt from it: --task lm or mlm"
        )
    return found or DEFAULT
