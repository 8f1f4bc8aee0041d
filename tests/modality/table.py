"""A second modality, small enough to read in a minute: rows of a CSV file, and a network of two layers for them.

A sample has one supervised row, or as many as the file has columns of labels (`label`, or `label_0`, `label_1`, …).
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from compressor.artifact.preprocessing import GraphInput, Inputs, Preprocessing, noise
from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset, Source
from compressor.data.kind import Item
from compressor.data.splits import SPLITS
from compressor.errors import DataError, UsageError
from compressor.modalities import UNLABELLED
from compressor.models.architecture import Architecture
from compressor.models.family import Known, Prepared, StateDict
from compressor.models.outputs import Outputs, Tap
from compressor.progress import Progress
from compressor.seeds import derive_seed

SUFFIX = ".table.csv"
Line = dict[str, str]


class TablePreprocessing(Preprocessing):
    """Encoded: `features`, (batch, columns) float32 as they stand in the file."""

    modality: ClassVar[str] = "table"

    columns: tuple[str, ...] = Field(min_length=1)
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def view_key(self) -> str:
        return ",".join(self.columns)

    @property
    def shown(self) -> str:
        return f"{len(self.columns)} columns"

    def sources(self, name: str) -> list[tuple[str, Any]]:
        try:
            lines = lines_of(Path(name))
        except DataError as error:
            raise UsageError(str(error)) from error
        return [(f"{name}:{number}", line) for number, line in enumerate(lines, 2)]

    def open(self, source: Any) -> NDArray[np.float32]:
        try:
            return np.array([float(source[column]) for column in self.columns], dtype=np.float32)
        except (KeyError, TypeError, ValueError) as error:
            raise OSError(f"no row with numbers for {', '.join(self.columns)}: {error}") from error

    def encode(self, things: Sequence[Any]) -> Inputs:
        return {"features": np.stack(things)}

    def feed(self, inputs: Inputs, graph: Sequence[GraphInput]) -> tuple[NDArray[Any], ...]:
        mean, std = np.array(self.mean, dtype=np.float32), np.array(self.std, dtype=np.float32)
        scaled = (inputs["features"] - mean) / std
        return (scaled.astype(np.float16 if graph[0].type == "tensor(float16)" else np.float32, copy=False),)

    def example(
        self, batch: int, graph: Sequence[GraphInput], length: int | Sequence[int] | None = None
    ) -> tuple[NDArray[Any], ...]:
        return (noise(graph[0], batch, len(self.columns)),)

    def contradiction(self, graph: Sequence[GraphInput]) -> str | None:
        width = graph[0].shape[-1]
        if width == len(self.columns) or not isinstance(width, int):
            return None
        return f"{len(self.columns)} columns, where its graph has {width}"


class Options(BaseModel):
    """`data.options` of a table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    jitter: float = Field(default=0.1, ge=0)
    """Standard deviation of what a view adds, in the column's own."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    columns: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rows: int
    """Per sample: columns of labels."""
    options: Options


class Table:
    """The data part."""

    def claims(self, source: str) -> bool:
        return source.endswith(SUFFIX)

    def embedded(self) -> tuple[str, ...]:
        return ()

    def taught_by(self, config: DataConfig, teachers: Sequence[str]) -> DataConfig:
        return config

    def read(self, config: DataConfig, progress: Progress) -> Source:
        path = Path(config.source)
        lines = lines_of(path)
        try:
            options = Options.model_validate(config.options)
        except ValidationError as error:
            raise DataError(f"data.options: {error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}") from error
        labels = sorted(name for name in lines[0] if name == "label" or name.startswith("label_"))
        if not labels:
            raise DataError(f"{path} has no column `label`")
        columns = tuple(name for name in lines[0] if name not in (*labels, "split"))
        values = features_of(lines, columns, path)
        classes = sorted({line[name] for line in lines for name in labels})
        known = np.array([[classes.index(line[name]) for name in labels] for line in lines], dtype=np.int64)
        parts = [line.get("split") for line in lines]
        fixed = {name: np.flatnonzero([part == name for part in parts]) for name in SPLITS if name in parts}
        return Source(
            name=path.name.removesuffix(SUFFIX),
            classes=classes,
            ids=[f"{path.name}:{number}" for number in range(2, len(lines) + 2)],
            labels=known[:, 0] if len(labels) == 1 else known,
            read=values.__getitem__,
            content=digest(path),
            modality="table",
            setup=Setup(
                columns=columns,
                mean=tuple(map(float, values.mean(0))),
                std=tuple(map(float, values.std(0) + 1e-6)),
                rows=len(labels),
                options=options,
            ),
            fixed=fixed,
            epochs=4,
            teacher_epochs=4,
        )

    def add_unlabeled(self, dataset: Dataset, folder: Path, progress: Progress) -> Dataset:
        lines = lines_of(folder)
        added, before, known = features_of(lines, dataset.setup.columns, folder), dataset.read, len(dataset.ids)
        nothing = np.full((len(lines), *dataset.labels.shape[1:]), UNLABELLED)
        return replace(
            dataset,
            ids=dataset.ids + [f"unlabeled/{folder.name}:{number}" for number in range(2, len(lines) + 2)],
            labels=np.concatenate([dataset.labels, nothing]),
            read=lambda i: before(i) if i < known else added[i - known],
            splits=dataset.splits | {"unlabeled": np.arange(known, known + len(lines))},
            unlabeled_content=digest(folder),
        )

    def settled(self, dataset: Dataset) -> dict[str, Any]:
        return {"options": dataset.setup.options.model_dump()}

    def prepared(self, dataset: Dataset, teacher: Preprocessing | None, progress: Progress) -> Dataset:
        return dataset

    def resized(self, dataset: Dataset, size: int) -> Setup:
        raise UsageError("teacher.image_size: a table has no size")

    def prepared_bytes(self, dataset: Dataset, teacher: Preprocessing | None) -> int:
        return 0

    def distinct_views(self, dataset: Dataset) -> int | None:
        return None if dataset.setup.options.jitter else 1

    def view(self, dataset: Dataset, item: Item, preprocessing: Preprocessing) -> Inputs:
        sample, number = item
        rng = np.random.default_rng(derive_seed(dataset.seed, dataset.ids[sample], number))
        setup: Setup = dataset.setup
        moved = setup.options.jitter * np.array(setup.std) * rng.standard_normal(len(setup.columns))
        return {"features": (dataset.read(sample) + moved).astype(np.float32)}

    def labels(self, dataset: Dataset, items: Sequence[Item]) -> dict[str, NDArray[Any]]:
        return {"label": dataset.labels[[sample for sample, _ in items]].reshape(-1)}

    def views_depend_on(self, dataset: Dataset) -> dict[str, Any]:
        return {"code": 1, "jitter": dataset.setup.options.jitter}

    def packages(self) -> tuple[str, ...]:
        return ("numpy",)

    def exhibit(self, dataset: Dataset, index: int, stem: Path) -> dict[str, str]:
        named = zip(dataset.setup.columns, dataset.read(index), strict=True)
        return {"text": " · ".join(f"{name} = {value:.2f}" for name, value in named)}


def lines_of(path: Path) -> list[Line]:
    """The file's lines by the header's names. Raises DataError."""
    try:
        lines = list(csv.DictReader(path.read_text().splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"no table at {path}") from error
    if not lines:
        raise DataError(f"{path} holds no rows")
    return lines


def features_of(lines: list[Line], columns: Sequence[str], path: Path) -> NDArray[np.float32]:
    """(lines, columns). Raises DataError."""
    try:
        return np.array([[float(line[name]) for name in columns] for line in lines], dtype=np.float32)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} has not the numbers that are wanted: {error}") from error


def digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()


class TableArchitecture(Architecture):
    family: str = "mlp"
    columns: int
    hidden: int
    rows: int
    half: bool = False
    """Of its teacher: it starts from the first half of each of its layers."""

    @property
    def copies_teacher(self) -> bool:
        return self.half


class Network(nn.Module):
    """(batch, columns) → (batch · rows, classes)."""

    def __init__(self, about: TableArchitecture) -> None:
        super().__init__()
        self.hidden = about.hidden
        self.body = nn.Linear(about.columns, about.hidden)
        self.rows = nn.Linear(about.hidden, about.rows * about.hidden)
        self.head = nn.Linear(about.hidden, about.classes)

    def embed(self, features: Tensor) -> Tensor:
        hidden: Tensor = self.rows(self.body(features).relu()).relu()
        return hidden.reshape(-1, self.hidden)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(self.embed(features))
        return logits


class Mlp:
    """The family: `mlp:64` has 64 hidden units, `half` half of its teacher's. How many rows a sample has is the data's to say."""

    def resolve(self, spelled: str, role: str) -> str:
        if spelled == "half":
            return spelled
        kind, _, hidden = spelled.partition(":")
        if kind != "mlp" or not hidden.isdigit():
            raise UsageError(f"unknown {role} '{spelled}': write mlp:64")
        return spelled

    def read(self, value: Any) -> TableArchitecture:
        return TableArchitecture.model_validate(value)

    def claims(self, path: Path) -> bool:
        return path.suffix == ".mlp"

    def describe(
        self, name: str, *, classes: int, setup: Any, stem: str, teacher: Known | None = None
    ) -> tuple[TableArchitecture, TablePreprocessing]:
        half = name == "half"
        if half and teacher is None:
            raise UsageError("half of which teacher?")
        hidden = teacher.architecture.hidden // 2 if half else int(name.split(":")[1])  # type: ignore[union-attr]
        architecture = TableArchitecture(
            name=name, classes=classes, columns=len(setup.columns), hidden=hidden, rows=setup.rows, half=half
        )
        return architecture, TablePreprocessing(columns=setup.columns, mean=setup.mean, std=setup.std)

    def build(self, architecture: Architecture) -> nn.Module:
        assert isinstance(architecture, TableArchitecture)
        return Network(architecture)

    def pretrained(self, architecture: Architecture) -> StateDict:
        raise UsageError(f"nobody publishes weights of {architecture.name}")

    def shrunk(self, teacher: nn.Module, architecture: Architecture) -> StateDict:
        own = self.build(architecture).state_dict()
        body = {name: tensor for name, tensor in teacher.state_dict().items() if name not in self.head(teacher)}
        return {name: tensor[tuple(map(slice, own[name].shape))] for name, tensor in body.items()}

    def rate(self) -> float:
        return 0.02

    def head(self, model: nn.Module) -> set[str]:
        return {"head.weight", "head.bias"}

    def prepare(self, inputs: dict[str, Tensor], preprocessing: Preprocessing) -> Prepared:
        assert isinstance(preprocessing, TablePreprocessing)
        features = inputs["features"]
        return ((features - features.new_tensor(preprocessing.mean)) / features.new_tensor(preprocessing.std),)

    def forward(
        self, model: nn.Module, prepared: Prepared, *, embedding: bool = False, taps: tuple[int, ...] = ()
    ) -> Outputs:
        if not embedding:
            return Outputs(logits=model(*prepared))
        assert isinstance(model, Network)
        seen = model.embed(*prepared)
        return Outputs(logits=model.head(seen), embedding=seen)

    def taps(self, model: nn.Module, preprocessing: Preprocessing) -> tuple[list[Tap], int]:
        assert isinstance(model, Network)
        return [], model.hidden

    def example(self, preprocessing: Preprocessing, batch: int) -> Prepared:
        assert isinstance(preprocessing, TablePreprocessing)
        return (torch.randn(batch, len(preprocessing.columns), generator=torch.Generator().manual_seed(0)),)

    def raw(self, preprocessing: Preprocessing, batch: int) -> tuple[nn.Module, Prepared]:
        raise UsageError("--uint8-input: a table's numbers are no bytes")

    def input_names(self, *, raw: bool) -> tuple[str, ...]:
        return ("features",)

    def dynamic(self) -> dict[str, dict[int, str]]:
        return {}

    def untrained(self, name: str, size: int) -> tuple[TableArchitecture, TablePreprocessing, Inputs]:
        columns = tuple(f"column {i}" for i in range(size))
        setup = Setup(columns=columns, mean=(0.0,) * size, std=(1.0,) * size, rows=1, options=Options())
        architecture, preprocessing = self.describe(name, classes=10, setup=setup, stem="keep")
        features = np.random.default_rng(0).standard_normal((4, size), dtype=np.float32)
        return architecture, preprocessing, {"features": features}

    def kin(self, name: str) -> list[str]:
        return [f"mlp:{hidden}" for hidden in (4, 16, 24, 32, 128)]

    def packages(self) -> tuple[str, ...]:
        return ("torch",)


TABLE, MLP = Table(), Mlp()
