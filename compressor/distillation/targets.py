"""The target store: a teacher's outputs for numbered views, computed once, read by every stage after.

`$COMPRESS_CACHE/targets/<fingerprint>/v<view>-<block>.shard`, each a (samples, width) array with a checksum.
What a row holds: `store.py`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressor.artifact.preprocessing import Preprocessing
from compressor.data import shards
from compressor.data.dataset import Dataset
from compressor.data.kind import kind_of
from compressor.data.loaders import Batch
from compressor.data.views import views_of
from compressor.distillation.config import StageConfig, TargetsConfig
from compressor.distillation.store import BLOCK, ROWS_VERSION, Layout, TargetStore
from compressor.distillation.teacher import FrozenTeacher, on_device, wire
from compressor.errors import CompressorError
from compressor.files import cache_dir, write_json
from compressor.models.family import family_of
from compressor.models.outputs import Outputs, Tap
from compressor.objectives.objective import STORABLE, dense, needs
from compressor.progress import Progress
from compressor.text import as_bytes

WORTH_IT = 0.9
"""Share of float32's time below which bf16 is taken."""
AGREEMENT = 0.99
"""Share of a batch on which it has to name the same class."""


def root() -> Path:
    """Where all target stores lie."""
    return cache_dir() / "targets"


class StoredTeacher:
    """A teacher that is only there as its targets: reads shards, holds no model."""

    wants: Preprocessing | None = None
    """It needs no views."""

    def __init__(
        self,
        store: TargetStore,
        indices: NDArray[np.int64],
        *,
        temperature: float,
        taps: list[Tap] | None = None,
        rows: int = 1,
    ) -> None:
        """
        Args:
            store: filled for all views that will be asked for.
            indices: the training split, sorted; the store has its samples' rows in this order.
            temperature: calibration temperature that logits are divided by.
            taps: all of the teacher's, where attention maps are stored: they are paired as the live ones are.
            rows: per sample.
        """
        self.rows = rows
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

    def answer(self, batch: Batch, device: torch.device, **wanted: Any) -> Outputs:
        """The stored outputs for a batch's samples and views, on `device`, logits calibrated."""
        samples = np.searchsorted(self.indices, batch["sample"].numpy())
        rows = (samples[:, None] * self.rows + np.arange(self.rows)).reshape(-1)
        views = np.repeat(batch["number"].numpy(), self.rows)
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
    indices = dataset.spread("train", config.batch_size, "precision")  # the first ones are all of one class
    views = on_device(_views(teacher, dataset, indices, 0), device)
    seconds: dict[str, float] = {}
    logits: dict[str, Tensor] = {}
    for precision in ("fp32", "bf16", "fp32", "bf16"):  # the first round of each warms up
        own = teacher.in_precision(precision)
        started = time.perf_counter()
        logits[precision] = own.targets(views, calibrated=False).logits.cpu()
        seconds[precision] = time.perf_counter() - started
    agree = (logits["fp32"].argmax(1) == logits["bf16"].argmax(1)).float().mean().item()
    return "bf16" if seconds["bf16"] < WORTH_IT * seconds["fp32"] and agree >= AGREEMENT else "fp32"


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
    measured = embedding or bool(attention)  # a model may offer neither, and need not for its logits
    taps, width = family_of(teacher.model).taps(teacher.model, teacher.preprocessing) if measured else ([], 0)
    sides = {tap.index: tap.side for tap in taps}
    layout = Layout(
        classes=classes,
        # A tail has to be left over: with as many places as classes all of them are stored.
        top_k=config.top_k if classes > max(config.dense_up_to, config.top_k) and not dense else None,
        embedding=width if embedding else 0,
        dtype=config.dtype,
        attention=tuple((index, sides[index]) for index in attention),
        power=power if attention else None,
    )
    indices = dataset.splits["train"]
    kind = kind_of(dataset.modality)
    packages = {*kind.packages(), *family_of(teacher.model).packages()}
    about = {
        "rows_version": ROWS_VERSION,
        "teacher": weights_fingerprint(teacher.model),
        "architecture": teacher.architecture.model_dump(mode="json") if teacher.architecture else None,
        "preprocessing": teacher.preprocessing.model_dump(mode="json"),
        "dataset": dataset.content,
        "samples": hashlib.blake2b(as_bytes("\0".join(dataset.ids[i] for i in indices)), digest_size=8).hexdigest(),
        "views": kind.views_depend_on(dataset),
        "versions": {name: version(name) for name in sorted(packages)},
        "data_seed": dataset.seed,
        "precision": precision,
        "batch_size": config.batch_size,
        "layout": vars(layout),
    }
    name = hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=10).hexdigest()
    return TargetStore(folder=root() / name, layout=layout, samples=len(indices) * dataset.rows), about


def views_needed(config: TargetsConfig, epochs: int) -> int:
    """Views that a stage of so many epochs asks for."""
    return epochs if config.views == "all" else min(config.views, epochs)


def store_of(
    teacher: FrozenTeacher,
    student: nn.Module,
    preprocessing: Preprocessing,
    dataset: Dataset,
    config: StageConfig,
    *,
    precision: str,
) -> tuple[TargetStore, dict[str, Any]] | None:
    """The store that a stage learns from and what its name depends on; None where the teacher has to be live."""
    wanted = needs(config.objective)
    if not config.targets.store or not wanted or wanted - STORABLE:
        return None
    wiring = wire(student, preprocessing, teacher, config.objective)
    return describe(
        teacher, dataset, config.targets, embedding="embedding" in wanted, precision=precision,
        dense=dense(config.objective), attention=wiring.teacher_taps, power=wiring.power,
    )  # fmt: skip


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
    first: int = 0,
) -> StoredTeacher:
    """Computes what is missing or damaged of the views `first` … `views` − 1; a second process waits and finds it done.

    Raises:
        CompressorError: it does not fit into `cache_limit` or on the disk.
    """
    with shards.locked(store.folder, progress.say):
        todo = store.missing(views, first)
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
    taps = family_of(teacher.model).taps(teacher.model, teacher.preprocessing)[0] if store.layout.attention else None
    return StoredTeacher(store, dataset.splits["train"], temperature=teacher.temperature, taps=taps, rows=dataset.rows)


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
    first, size = block * BLOCK, store.shape(block)[0]
    rows = dataset.rows
    samples = dataset.splits["train"][first // rows : -(-(first + size) // rows)]
    skip = first % rows  # rows of a sample that the shard before has
    for start in range(0, len(samples), config.batch_size):
        part = samples[start : start + config.batch_size]
        views = {
            name: _repeated(tensor, config.batch_size) for name, tensor in _views(teacher, dataset, part, view).items()
        }
        taps = tuple(index for index, _ in store.layout.attention)
        outputs = teacher.targets(
            on_device(views, device), embedding=store.layout.embedding > 0, taps=taps, calibrated=False
        )
        answers = store.layout.pack(outputs)[: len(part) * rows][skip : skip + size]
        skip, size = 0, size - len(answers)
        yield answers


def _views(teacher: FrozenTeacher, dataset: Dataset, samples: NDArray[np.int64], view: int) -> dict[str, Tensor]:
    items = [(int(i), view) for i in samples]
    return views_of(dataset, items, [teacher.preprocessing])[teacher.preprocessing.view_key]


def _repeated(tensor: Tensor, size: int) -> Tensor:
    """Exactly `size` samples, repeated from the first on."""
    return tensor[torch.arange(size) % len(tensor)]


def seconds_per_view(teacher: FrozenTeacher, dataset: Dataset, config: TargetsConfig, device: torch.device) -> float:
    """Seconds in which a teacher answers one view of every training sample, from one batch after a first."""
    teacher.to(device)
    indices = dataset.spread("train", config.batch_size, "speed")
    for _ in range(2):
        started = time.perf_counter()
        teacher.targets(on_device(_views(teacher, dataset, indices, 0), device)).logits.cpu()
        taken = time.perf_counter() - started
    return taken / len(indices) * len(dataset.splits["train"])
