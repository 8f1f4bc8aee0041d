"""The target store: a teacher's outputs for numbered views, computed once, read by every stage after.

`$COMPRESS_CACHE/targets/<fingerprint>/v<view>-<block>.shard`, each a (samples, width) array with a checksum.
A row holds the raw logits (all of them, or the largest K with their indices and the log-sum of the rest)
and, where asked for, the pooled embedding and attention maps. Calibration and temperature are applied on reading.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressor.data import shards
from compressor.data.dataset import Dataset
from compressor.data.views import generators_restored, render
from compressor.distillation.config import TargetsConfig
from compressor.distillation.teacher import FrozenTeacher
from compressor.errors import CompressorError
from compressor.files import cache_dir, write_json
from compressor.models import taps as tapping
from compressor.models.taps import Outputs, Tap
from compressor.objectives.features import attention_map
from compressor.progress import Progress

BLOCK = 4096  # samples per shard: what a stop or a damaged byte costs at most


def root() -> Path:
    """Where all target stores lie."""
    return cache_dir() / "targets"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a row of a store holds."""

    classes: int
    top_k: int | None
    """Stored logits per row; None stores all."""
    embedding: int
    """Channels of the pooled embedding; 0 stores none."""
    dtype: str
    """`float16` or `float32`."""
    attention: tuple[tuple[int, int], ...] = ()
    """(tap index, side in positions) of the stored attention maps, ascending."""
    power: float | None = None
    """Their exponent."""

    @property
    def width(self) -> int:
        """Values per row, in `dtype`."""
        # Indices take two values of 16 bits, or one of 32; the log-sum of the tail is one more logit.
        index = 2 if self.dtype == "float16" else 1
        maps = sum(side**2 for _, side in self.attention)
        return maps + self.embedding + (self.classes if self.top_k is None else self.top_k * (1 + index) + 1)

    @property
    def row_bytes(self) -> int:
        """Bytes per sample and view."""
        return self.width * np.dtype(self.dtype).itemsize

    def pack(self, outputs: Outputs) -> NDArray[Any]:
        """(batch, width) from what a teacher gave."""
        logits = outputs.logits.float().cpu()
        kind = np.dtype(self.dtype)
        parts: list[NDArray[Any]] = []
        if self.top_k is None:
            parts.append(logits.numpy().astype(kind))
        else:
            values, indices = logits.topk(self.top_k, dim=1)
            rest = logits.scatter(1, indices, float("-inf")).logsumexp(1, keepdim=True)
            parts += [values.numpy().astype(kind), indices.to(torch.int32).numpy().view(kind)]
            parts.append(rest.numpy().astype(kind))
        if self.embedding:
            assert outputs.embedding is not None
            parts.append(outputs.embedding.float().cpu().numpy().astype(kind))
        for maps in outputs.maps:
            assert self.power is not None
            parts.append(attention_map(maps, power=self.power).flatten(1).cpu().numpy().astype(kind))
        return np.concatenate(parts, axis=1)

    def unpack(self, rows: NDArray[Any]) -> Outputs:
        """What `pack` was given, as float32; with top-K the tail's probability is spread evenly."""
        k = self.top_k
        if k is None:
            end = self.classes
            logits = torch.from_numpy(rows[:, :end].astype(np.float32))
        else:
            index = 2 if self.dtype == "float16" else 1
            end = k * (1 + index) + 1
            values = torch.from_numpy(rows[:, :k].astype(np.float32))
            indices = torch.from_numpy(
                np.ascontiguousarray(rows[:, k : k * (1 + index)]).view(np.int32).astype(np.int64)
            )
            rest = torch.from_numpy(rows[:, end - 1 : end].astype(np.float32))
            tail = rest - float(np.log(self.classes - k))
            logits = tail.expand(-1, self.classes).scatter(1, indices, values)
        embedding = torch.from_numpy(rows[:, end : end + self.embedding].astype(np.float32)) if self.embedding else None
        end += self.embedding
        attention = []
        for _, side in self.attention:
            attention.append(torch.from_numpy(rows[:, end : end + side**2].astype(np.float32)).view(-1, side, side))
            end += side**2
        return Outputs(logits=logits, embedding=embedding, attention=tuple(attention))


@dataclass(frozen=True, kw_only=True)
class TargetStore:
    """A folder of shards for one teacher, one dataset and one way of making views."""

    folder: Path
    layout: Layout
    samples: int

    def path(self, view: int, block: int) -> Path:
        """A shard's file."""
        return self.folder / f"v{view:05d}-{block:05d}.shard"

    def shape(self, block: int) -> tuple[int, int]:
        """(samples, width) of a shard."""
        return min(BLOCK, self.samples - block * BLOCK), self.layout.width

    @property
    def blocks(self) -> int:
        """Shards per view."""
        return -(-self.samples // BLOCK)

    def missing(self, views: int) -> list[tuple[int, int]]:
        """(view, block) of every shard that isn't there or is damaged. Reads all that are there."""
        return [
            (v, b)
            for v in range(views)
            for b in range(self.blocks)
            if not shards.valid(self.path(v, b), self.shape(b), self.layout.dtype)
        ]

    def bytes(self, views: int) -> int:
        """What `views` views take on disk."""
        return views * self.samples * self.layout.row_bytes


class StoredTeacher:
    """A teacher that is only there as its targets: reads shards, holds no model."""

    view_size: int | None = None
    """It needs no pixels."""

    def __init__(
        self, store: TargetStore, indices: NDArray[np.int64], *, temperature: float, taps: list[Tap] | None = None
    ) -> None:
        """
        Args:
            store: filled for all views that will be asked for.
            indices: the training split, sorted; row r of the store is sample indices[r].
            temperature: calibration temperature that logits are divided by.
            taps: all of the teacher's, where attention maps are stored: they are paired as the live ones are.
        """
        self.taps = taps or []
        self.store = store
        self.indices = indices
        self.temperature = temperature
        self._open: dict[tuple[int, int], NDArray[Any]] = {}

    @property
    def embedding_width(self) -> int:
        """Channels of the stored embedding."""
        return self.store.layout.embedding

    def to(self, device: torch.device | str) -> StoredTeacher:
        """Nothing to move."""
        return self

    def answer(self, batch: dict[str, Tensor], device: torch.device, **wanted: Any) -> Outputs:
        """The stored outputs for a batch's samples and views, on `device`, logits calibrated."""
        rows = np.searchsorted(self.indices, batch["sample"].numpy())
        views = batch["number"].numpy()
        out = np.empty((len(rows), self.store.layout.width), dtype=self.store.layout.dtype)
        for view, block in {(int(v), int(r) // BLOCK) for v, r in zip(views, rows, strict=True)}:
            inside = (views == view) & (rows // BLOCK == block)
            out[inside] = self._shard(view, block)[rows[inside] - block * BLOCK]
        outputs = self.store.layout.unpack(out)
        embedding = None if outputs.embedding is None else outputs.embedding.to(device, non_blocking=True)
        return Outputs(
            logits=outputs.logits.to(device, non_blocking=True) / self.temperature,
            embedding=embedding,
            attention=tuple(a.to(device, non_blocking=True) for a in outputs.attention),
        )

    def _shard(self, view: int, block: int) -> NDArray[Any]:
        key = (view, block)
        if key not in self._open:
            if len(self._open) > 4 * self.store.blocks:  # an epoch needs one view's; older maps are let go
                self._open.clear()
            try:
                self._open[key] = shards.open_array(
                    self.store.path(view, block), self.store.shape(block), self.store.layout.dtype
                )
            except FileNotFoundError as error:  # its lock is held while it is filled, not while it is read
                raise CompressorError(
                    f"the target store {self.store.folder} was removed while a training read it (cache rm, or another "
                    "run needed its room).\nGo on with compress distill --resume: it is filled again."
                ) from error
        return self._open[key]


def fastest_precision(
    teacher: FrozenTeacher, dataset: Dataset, config: TargetsConfig, device: torch.device
) -> Literal["fp32", "bf16"]:
    """`bf16` where it is measurably faster on this device and agrees with float32, else `fp32`.

    Accurate enough: the same top class for at least 99 % of a batch of training views.
    """
    teacher.to(device)
    indices = dataset.splits["train"][: config.batch_size]
    with generators_restored():
        pixels = np.stack([render(dataset, int(i), 0, teacher.preprocessing.size) for i in indices])
    views = torch.from_numpy(pixels).to(device)
    seconds: dict[str, float] = {}
    said: dict[str, Tensor] = {}
    for precision in ("fp32", "bf16", "fp32", "bf16"):  # the first round of each warms up
        own = FrozenTeacher(teacher.model, teacher.preprocessing, precision=precision)
        started = time.perf_counter()
        said[precision] = own.targets(views).logits.cpu()
        seconds[precision] = time.perf_counter() - started
    agree = (said["fp32"].argmax(1) == said["bf16"].argmax(1)).float().mean().item()
    return "bf16" if seconds["bf16"] < 0.9 * seconds["fp32"] and agree >= 0.99 else "fp32"


def weights_fingerprint(model: nn.Module) -> str:
    """Changes when any tensor of the model does."""
    digest = hashlib.blake2b(digest_size=8)
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def describe(
    teacher: FrozenTeacher,
    dataset: Dataset,
    config: TargetsConfig,
    *,
    embedding: bool,
    precision: str,
    dense: bool,
    attention: tuple[int, ...] = (),
    power: float | None = None,
) -> tuple[TargetStore, dict[str, Any]]:
    """The store that this teacher's targets belong in, and all that its name depends on.

    `dense` keeps all logits, for terms that a uniform tail would mislead; `attention` are the taps whose
    attention maps are stored, `power` their exponent.
    """
    classes = len(dataset.classes)
    taps, width = tapping.measure(teacher.model, teacher.preprocessing.size)
    sides = {tap.index: round(teacher.preprocessing.size / tap.stride) for tap in taps}
    layout = Layout(
        classes=classes,
        top_k=config.top_k if classes > config.dense_up_to and not dense else None,
        embedding=width if embedding else 0,
        dtype=config.dtype,
        attention=tuple((index, sides[index]) for index in attention),
        power=power if attention else None,
    )
    indices = dataset.splits["train"]
    about = {
        "schema_version": 2,  # of rows and of views: another way of making views needs other targets
        "teacher": weights_fingerprint(teacher.model),
        "preprocessing": teacher.preprocessing.model_dump(mode="json"),
        "dataset": dataset.content,
        "samples": hashlib.blake2b("\0".join(dataset.ids[i] for i in indices).encode(), digest_size=8).hexdigest(),
        "augment": dataset.augment.model_dump(mode="json"),
        "source": dataset.view_fingerprint,
        "data_seed": dataset.seed,
        "precision": precision,
        "batch_size": config.batch_size,
        "layout": vars(layout),
    }
    name = hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=10).hexdigest()
    return TargetStore(folder=root() / name, layout=layout, samples=len(indices)), about


def fill(
    store: TargetStore,
    about: dict[str, Any],
    teacher: FrozenTeacher,
    dataset: Dataset,
    config: TargetsConfig,
    *,
    views: int,
    label: str,
    device: torch.device,
    progress: Progress,
) -> StoredTeacher:
    """Computes what is missing or damaged of `views` views; a second process waits and finds it done.

    Raises:
        CompressorError: it does not fit into `cache_limit` or on the disk.
    """
    with shards.locked(store.folder):
        todo = store.missing(views)
        if todo:
            rows = sum(store.shape(block)[0] for _, block in todo)
            shards.make_room(root(), store.folder, rows * store.layout.row_bytes, round(config.cache_limit * 1e9))
            teacher.to(device)
            try:
                write_json(store.folder / "about.json", about | {"label": label, "views": views, "rows": store.samples})
                with progress.bar(f"targets of {label}", rows) as bar:
                    for view, block in todo:
                        array = np.concatenate(list(_answers(store, teacher, dataset, config, view, block, device)))
                        shards.write(store.path(view, block), array)
                        bar.advance(len(array), note=f"view {view + 1}/{views}")
            except OSError as error:
                raise CompressorError(f"the target store {store.folder} can't be filled: {error}") from error
        shards.touch(store.folder)
    taps = tapping.measure(teacher.model, teacher.preprocessing.size)[0] if store.layout.attention else None
    return StoredTeacher(store, dataset.splits["train"], temperature=teacher.temperature, taps=taps)


def _answers(
    store: TargetStore,
    teacher: FrozenTeacher,
    dataset: Dataset,
    config: TargetsConfig,
    view: int,
    block: int,
    device: torch.device,
) -> Iterator[NDArray[Any]]:
    """The rows of one shard. Every batch has the same size: kernels differ in the last bit between sizes."""
    indices = dataset.splits["train"][block * BLOCK : block * BLOCK + store.shape(block)[0]]
    size = teacher.preprocessing.size
    for start in range(0, len(indices), config.batch_size):
        part = indices[start : start + config.batch_size]
        with generators_restored():
            pixels = np.stack([render(dataset, int(i), view, size) for i in part])
        full = np.resize(pixels, (config.batch_size, *pixels.shape[1:]))
        views = torch.from_numpy(full).to(device)
        taps = tuple(index for index, _ in store.layout.attention)
        outputs = teacher.targets(views, embedding=store.layout.embedding > 0, taps=taps, calibrated=False)
        yield store.layout.pack(outputs)[: len(part)]
