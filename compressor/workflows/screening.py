"""What candidates for the student cost on this machine: exported with random weights, timed, and few of them timed closely.

Figures are kept under `$COMPRESS_CACHE/screened/<key>/about.json`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compressor.benchmarking import frontier, host
from compressor.benchmarking.cells import Cell
from compressor.benchmarking.config import BenchmarkConfig
from compressor.benchmarking.document import Row
from compressor.benchmarking.measure import measure
from compressor.benchmarking.students import Candidate, Limits, StudentFile, Students
from compressor.data.images.setup import ImageSetup
from compressor.document import Document
from compressor.errors import CompressorError, first_line
from compressor.exporting.export import TORCHSCRIPT_FIRST
from compressor.exporting.untrained import sketch
from compressor.files import cache_dir, read_document, write_json
from compressor.models import cost
from compressor.models.architecture import Architecture
from compressor.models.family import resolve
from compressor.models.timm import published as prior
from compressor.models.weights import build
from compressor.packages import versions
from compressor.progress import Progress, Silent
from compressor.quantization.untrained import quantize_untrained
from compressor.runnote import Host

VERSION = 1
"""Of how files are made and timed: counted up, what was kept before is measured anew."""
QUICK = BenchmarkConfig(processes=1, max_processes=1, samples=10, warmup_seconds=0.1, min_seconds=0.25, max_seconds=0.5)
CLOSE = BenchmarkConfig(processes=5, max_processes=5, samples=50, warmup_seconds=0.2, min_seconds=0.5, max_seconds=1.0)
TOGETHER = 6
"""Files whose processes take turns at a time: more would not fit into a small machine's memory."""
FASTEST = 5.0
"""No int8 file here was ever so many times as fast as its float file: where that would not be enough, none is made."""
LOOKS = 3
"""Times that it is asked who may be on the frontier, each time by what is known then."""
SHOWN = 3
"""Candidates that are looked at closely where nothing fits, so that the nearest can be named."""

Key = tuple[str, str]
"""A candidate's name and a precision."""


usual = prior.usual
"""The candidates where a person names none."""


class Screened(Document):
    """`about.json`: a candidate as it was measured, and what `cache ls` says of it."""

    label: str
    """For people."""
    candidate: Candidate
    """Its figures."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a student has to do: the candidates are built for it."""

    classes: int
    setup: ImageSetup
    """`Dataset.setup` of images."""
    size: int
    """Height and width, pixels."""
    stem: str = "auto"
    """As `student.stem`."""


@dataclass(kw_only=True)
class _Screening:
    """Candidates being measured."""

    task: Task
    limits: Limits
    folder: Path
    progress: Progress
    machine: list[Any]
    """See `_where`."""
    found: dict[str, Candidate] = field(default_factory=dict)

    def path(self, key: Key) -> Path:
        return self.folder / f"{key[0]}.{key[1]}.onnx"

    def file(self, key: Key) -> StudentFile | None:
        return next((f for f in self.found[key[0]].files if f.precision == key[1]), None)

    def put(self, name: str, file: StudentFile) -> None:
        others = [f for f in self.found[name].files if f.precision != file.precision]
        files = sorted([*others, file], key=lambda f: f.precision)
        self.found[name] = self.found[name].model_copy(update={"files": files})

    def drop(self, name: str, error: Exception, standing: str = "failed") -> None:
        self.found[name] = self.found[name].model_copy(update={"standing": standing, "why": first_line(error)})


def screen(names: Sequence[str], task: Task, limits: Limits, progress: Progress) -> Students:
    """The candidates with what they cost here, those on the frontier first; nothing has been trained.

    Raises:
        UsageError: a name that is no model's.
        CompressorError: the benchmark failed.
    """
    names = list(dict.fromkeys(resolve(name, role="candidate")[0] for name in names))
    machine = host.fingerprint()
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        screening = _Screening(
            task=task, limits=limits, folder=Path(folder), progress=progress, machine=_where(machine)
        )
        todo = [name for name in names if _described(screening, name)]
        _look(screening, [(name, "fp32") for name in todo], QUICK, "fp32")
        _look(screening, [(name, "int8") for name in todo if _worth_integers(screening, name)], QUICK, "int8")
        for _ in range(LOOKS):  # who turns out to be over leaves room for whom it dominated
            _look(screening, _close(screening), CLOSE, "closely")
        if not any(frontier.fitting(one, limits) for one in screening.found.values()):
            _look(screening, _nearest(screening), CLOSE, "the nearest, closely")
        known = [
            (one.macs, one.published) for one in screening.found.values() if one.macs and one.published is not None
        ]
        candidates = frontier.judged(frontier.expected(list(screening.found.values()), known), limits)
    return Students(
        classes=task.classes, image_size=task.size, limits=limits, candidates=candidates, host=machine,
        versions=versions(), measured=datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip


def _described(screening: _Screening, name: str) -> bool:
    """Puts a candidate in, with what is known of it; whether it is worth exporting."""
    row = prior.published().get(name.partition(".")[0])  # the prior is the architecture's, whichever weights are named
    screening.found[name] = Candidate(name=name, published=row.top1 if row else None)
    kept = _kept(screening, name)
    if kept.is_file():
        with contextlib.suppress(CompressorError):  # a damaged one is measured again
            known = read_document(kept, Screened).candidate
            screening.found[name] = known.model_copy(update={"published": row.top1 if row else None})
    params = screening.found[name].params
    if params is None:
        try:
            with torch.device("meta"):
                params = cost.parameters(build(_architecture(screening.task, name)))
        except CompressorError as error:
            screening.drop(name, error)
            return False
        screening.found[name] = screening.found[name].model_copy(update={"params": params})
    limit = screening.limits.max_size_mb
    if limit is not None and all(frontier.smallest(params, p) > limit * 1e6 for p in screening.limits.precisions):
        why = CompressorError(f"{params / 1e6:.2f} M parameters are more than {limit:g} MB hold")
        screening.drop(name, why, "too large")
        return False
    return True


def _architecture(task: Task, name: str) -> Architecture:
    family = resolve(name, role="candidate")[1]
    return family.describe(name, classes=task.classes, setup=task.setup, stem=task.stem)[0]


def _worth_integers(screening: _Screening, name: str) -> bool:
    """Whether an int8 file could keep to limits that are known of by now."""
    one, limits = screening.found[name], screening.limits
    if "int8" not in limits.precisions or one.standing == "failed" or one.params is None:
        return False
    if limits.max_size_mb is not None and frontier.smallest(one.params, "int8") > limits.max_size_mb * 1e6:
        return False
    fp32 = screening.file((name, "fp32"))
    share = frontier.excesses(fp32, limits).get("latency", 0.0) if fp32 else 0.0
    return share <= FASTEST


def _close(screening: _Screening) -> list[Key]:
    """The files that may be on the frontier, by a quick look at all."""
    limits, all_ = screening.limits, list(screening.found.values())
    return [
        (one.name, file.precision)
        for one in all_ if frontier.dominated(one, all_, limits, apart=frontier.APART) is None
        for file in one.files if file.precision in limits.precisions and not frontier.hopeless(file, limits)
    ]  # fmt: skip


def _nearest(screening: _Screening) -> list[Key]:
    """Of a budget that nothing keeps to, the files of the candidates that are the nearest to it."""
    limits = screening.limits
    measured = [one for one in screening.found.values() if one.files]
    least = sorted(measured, key=lambda one: min(frontier.excess(f, limits) for f in one.files))
    return [(one.name, precision) for one in least[:SHOWN] for precision in limits.precisions]


def _look(screening: _Screening, keys: Iterable[Key], config: BenchmarkConfig, what: str) -> None:
    """Times files that were not timed as often yet, a few side by side; makes those that are not there."""
    todo = [key for key in keys if (known := screening.file(key)) is None or known.processes < config.processes]
    if not todo:
        return
    with screening.progress.bar(f"screening, {what}", len(todo)) as bar:
        for start in range(0, len(todo), TOGETHER):
            group = []
            for key in todo[start : start + TOGETHER]:
                bar.advance(note=key[0])
                if _made(screening, key):
                    group.append(key)
            paths = {key: screening.path(key) for key in group}
            for key, row in timed(paths, screening.limits.threads, config).items():
                screening.put(key[0], _figures(key[1], paths[key].stat().st_size, row))
            for name in {name for name, _ in group}:
                _keep(screening, name)


def timed(paths: dict[Key, Path], threads: int, config: BenchmarkConfig) -> dict[Key, Row]:
    """A row of the benchmark for each file: batch 1, on the CPU."""
    if not paths:
        return {}
    keys = {f"{name} {precision}": (name, precision) for name, precision in paths}
    cells = [
        Cell(label=label, file=paths[key], provider="cpu", batch=1, threads=threads) for label, key in keys.items()
    ]
    return {keys[row.file]: row for row in measure(cells, config, Silent())}


def _figures(precision: str, size: int, row: Row) -> StudentFile:
    interval = row.p50_interval_ms
    return StudentFile(
        precision=precision, bytes=size, p50_ms=row.p50_ms,
        p50_interval_ms=interval if interval and math.isfinite(interval[1]) else None,
        peak_rss_mb=row.peak_rss_mb, processes=row.processes or 0, noisy=row.noisy,
    )  # fmt: skip


def _made(screening: _Screening, key: Key) -> bool:
    """Writes a candidate's file where it is not there; whether it is now. One that can't be is out, or has no int8 file."""
    name, precision = key
    path = screening.path(key)
    if path.is_file():
        return True
    if precision == "int8":
        if not _made(screening, (name, "fp32")):
            return False
        try:
            quantize_untrained(screening.path((name, "fp32")), path, Silent())
        except Exception as error:  # onnxruntime's tools raise whatever a graph made them stumble over
            screening.progress.say(f"{name}: no int8 file can be made: {first_line(error)}")
            return False
        return True
    task = screening.task
    try:
        family = resolve(name, role="candidate")[1]
        architecture, preprocessing = family.describe(name, classes=task.classes, setup=task.setup, stem=task.stem)
        pixels = np.random.default_rng(0).integers(0, 256, (4, task.size, task.size, 3), dtype=np.uint8)
        inputs = {"pixels": pixels}
        card = sketch(family, architecture, preprocessing, inputs, path, Silent(), exporters=TORCHSCRIPT_FIRST)
    except (CompressorError, RuntimeError) as error:  # torch's, of a size that the network can't take
        screening.progress.say(f"{name} is left out: {first_line(error)}")
        screening.drop(name, error)
        return False
    screening.found[name] = screening.found[name].model_copy(update={"macs": card.macs, "params": card.params})
    return True


def _where(machine: Host) -> list[Any]:
    """Where and by what figures were made: of another CPU, governor or quota and of another version of a package nothing is
    taken over."""
    own = [
        machine.cpu,
        machine.machine,
        machine.instructions,
        machine.cores_usable,
        machine.cgroup_cpus,
        machine.governor,
    ]
    return [*own, versions()]


def _kept(screening: _Screening, name: str) -> Path:
    task = screening.task
    parts = [VERSION, name, task.classes, task.size, task.stem, screening.limits.threads, screening.machine]
    key = hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()
    return cache_dir() / "screened" / key / "about.json"


def _keep(screening: _Screening, name: str) -> None:
    task, one = screening.task, screening.found[name]
    label = f"{name}: {task.classes} classes, {task.size} pixels, {screening.limits.threads} thread(s)"
    measured = one.model_copy(update={"standing": "fits", "why": "", "expected": None})
    write_json(_kept(screening, name), Screened(label=label, candidate=measured))
