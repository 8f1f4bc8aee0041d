"""The run folder's layout: names, what marks a finished stage, which stage ships, the newest run."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from compressor import lock
from compressor.errors import CompressorError, UsageError, nearest
from compressor.files import checked, finite, inside, read_document, sweep, write_json
from compressor.runnote import Choice, RunNote, StageNote
from compressor.text import redacted

RUNS = Path("runs")


class RunFolder:
    """`runs/<name>/`: paths of what a run leaves behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def recipe(self) -> Path:
        """The resolved recipe; a valid input."""
        return self.path / "recipe.yaml"

    @property
    def benchmark(self) -> Path:
        """Latency, memory and placement, with raw samples."""
        return self.path / "benchmark.json"

    @property
    def exports(self) -> Path:
        """What was exported, with parity and accuracy."""
        return self.path / "exports.json"

    @property
    def int8(self) -> Path:
        """What the int8 ladder tried and what it came to."""
        return self.path / "int8.json"

    @property
    def pilot(self) -> Path:
        """What the pilot tried and chose."""
        return self.path / "pilot.json"

    @property
    def students(self) -> Path:
        """Of a student for a budget: candidates, trials, measurements."""
        return self.path / "students.json"

    @property
    def report(self) -> Path:
        """The report's data."""
        return self.path / "report.json"

    @property
    def student(self) -> Path:
        """The shipped student's weights; `student.json` describes them."""
        return self.path / "student.safetensors"

    def artifact(self, precision: str) -> Path:
        """The exported student: `student.onnx`, `student.fp16.onnx`, `student.int8.onnx`."""
        return self.path / ("student.onnx" if precision == "fp32" else f"student.{precision}.onnx")

    def stage(self, index: int, role: str, model: str, seed: int) -> Path:
        """`stages/NN-role-model/seed<k>/`."""
        return self.path / "stages" / f"{index:02d}-{role}-{slug(model)}" / f"seed{seed}"

    def stages(self) -> list[Path]:
        """Every finished stage's seed folder, in the chain's order."""
        return sorted(p.parent for p in self.path.glob("stages/*/seed*/model.json"))

    @property
    def note(self) -> Path:
        """How the run was started and how it ended."""
        return self.path / "run.json"

    @property
    def examples(self) -> Path:
        """Which pictures lie in `examples/`."""
        return self.path / "examples.json"

    @property
    def continuations(self) -> Path:
        """Texts that language models wrote on."""
        return self.path / "continuations.json"

    @property
    def groups(self) -> Path:
        """Which group each test sample is in, where the data say."""
        return self.path / "groups.json"

    @property
    def shift(self) -> Path:
        """The models under damage, where it was asked for."""
        return self.path / "shift.json"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other processes from writing in the run meanwhile. Raises HeldError, which says who does."""
        with lock.held(self.path, f"run '{self.path}'"):
            sweep(self.path)
            yield

    def read(self) -> RunNote:
        """`run.json`. Raises CompressorError where it is missing or damaged."""
        return read_document(self.note, RunNote)

    def update(self, **values: Any) -> None:
        """Changes entries of `run.json`, which is made where it is missing. Raises CompressorError where it is damaged."""
        written = {"schema_version": 1, "created": now()}
        if self.note.is_file():
            written = self.read().model_dump(mode="json", exclude_unset=True)
        values = {key: redacted(value) if isinstance(value, str) else value for key, value in values.items()}
        if values.get("status") not in (None, "failed"):
            written.pop("error", None)  # of an attempt before this one
        note = checked(written | finite(values), RunNote, self.note)
        write_json(self.note, note.model_dump(mode="json", exclude_unset=True))

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Adds what the block takes to the phase's seconds in `run.json`, however it ends."""
        started = monotonic()
        try:
            yield
        finally:
            self.took(phase, monotonic() - started)

    def took(self, phase: str, seconds: float) -> None:
        """A phase took so many seconds more."""
        taken = self.read().taken if self.note.is_file() else {}
        self.update(taken=taken | {phase: round(taken.get(phase, 0.0) + seconds, 3)})

    def stage_note(self, folder: Path) -> StageNote:
        """What a finished stage's card says. Raises CompressorError where it is damaged."""
        return read_document(folder / "model.json", StageNote)

    def shipped_seed(self) -> int | None:
        """The seed that ships; None before one was chosen."""
        card = self.student.with_suffix(".json")
        return read_document(card, StageNote).seed if card.is_file() else None

    def choice(self) -> Choice | None:
        """Which of student and baseline ships, and why; None before or without a choice: then it is the student."""
        card = self.student.with_suffix(".json")
        return read_document(card, StageNote).choice if card.is_file() else None

    def of_role(self, role: str) -> Path | None:
        """A role's stage folder, of the seed that ships where the role has it, else the first; None without one."""
        notes = {folder: self.stage_note(folder) for folder in self.stages()}
        found = [folder for folder, note in notes.items() if note.role == role]
        seed = self.shipped_seed()
        return next((folder for folder in found if notes[folder].seed == seed), found[0] if found else None)

    def teacher(self) -> Path | None:
        """The teacher's stage folder; None before it is finished."""
        return self.of_role("teacher")

    def shipped(self) -> Path | None:
        """The stage folder of what ships (the first student's, before one was chosen); None without one."""
        choice = self.choice()
        return self.of_role(choice.role if choice else "student")


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def slug(name: str) -> str:
    """`name` as a part of a file name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "model"


def create(name: str, parent: Path = RUNS) -> RunFolder:
    """A new folder `parent/name`, numbered when there is one already."""
    parent.mkdir(parents=True, exist_ok=True)
    for count in range(1, 10_000):
        path = parent / (slug(name) if count == 1 else f"{slug(name)}-{count}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return RunFolder(path)
    raise UsageError(f"{parent} holds 10,000 runs named {name}; remove some")


def open_run(path: str | Path) -> RunFolder:
    """The run at `path`, or named so in `runs/`. Raises UsageError with the nearest for an unknown one."""
    path = Path(path).expanduser()
    for candidate in (path, RUNS / path):
        if (candidate / "run.json").is_file():
            return _whole(candidate)
    here = [p.parent.name for p in RUNS.glob("*/run.json")]
    close = nearest(path.name, here)
    what = "holds no run.json" if path.exists() else "does not exist"
    hint = f"Did you mean runs/{close[0]}?" if close else "`compress distill` makes a run."
    raise UsageError(f"run '{path}' {what}. {hint}")


def exported(named: str | Path) -> Path:
    """An ONNX file, the one that a run ships, or the one beside a language model's weights.

    Raises:
        UsageError: no such run, or nothing was exported from it.
    """
    path = Path(named).expanduser()
    if path.suffix == ".onnx":
        return path
    if (path / BESIDE).is_file() and not (path / "run.json").is_file():
        return path / BESIDE
    if (path / "config.json").is_file():
        raise UsageError(f"'{named}' holds a model that was not exported yet: compress export {named}")
    file = open_run(path).artifact("fp32")
    if not file.is_file():
        raise UsageError(f"run '{named}' has no exported file yet; make one: compress export {named}")
    return file


BESIDE = "model.onnx"
"""What a language model is exported to, in the folder of its weights."""


def _whole(folder: Path) -> RunFolder:
    """The run in `folder`. Raises UsageError where a link in it leads elsewhere: commands read and write through it."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent) / name
            if path.is_symlink() and inside(folder, str(path.relative_to(folder))) is None:
                raise UsageError(
                    f"run '{folder}' has a link, {path.relative_to(folder)}, that leads out of it; it was not opened.\n"
                    "Runs are whole: put what it points to in its place, if you know what it is."
                )
    return RunFolder(folder)


AUTO = "auto"
"""Instead of a run: the newest that is not finished."""


def newest_unfinished(statuses: Sequence[str], parent: Path = RUNS) -> RunFolder:
    """The run with one of these `statuses` that was created last and that no process works on. Raises UsageError."""
    found: list[tuple[str, Path]] = []
    for path in parent.glob("*/run.json"):
        with contextlib.suppress(CompressorError):  # a damaged note is no reason not to find another run
            note = read_document(path, RunNote)
            if note.status in statuses and lock.holder(path.parent) is None:
                found.append((note.created, path.parent))
    if not found:
        raise UsageError(f"no run in {parent.resolve()} waits to be continued; name one: --resume runs/NAME")
    return RunFolder(max(found)[1])


def newest(parent: Path = RUNS) -> RunFolder:
    """The run that was created last, searches of `tune` apart. Raises UsageError when there is none."""
    try:
        notes = {p: read_document(p, RunNote) for p in parent.glob("*/run.json")}
    except CompressorError as error:
        raise CompressorError(
            f"which run is the newest can't be told: {error}\nName the run, or remove this one."
        ) from error
    runs = [p for p, note in notes.items() if note.status not in ("tuning", "tuned")]
    found = sorted(runs, key=lambda p: (notes[p].created, p.stat().st_mtime))
    if not found:
        raise UsageError(
            f"no runs yet in {parent.resolve()}.\nMake one: compress distill --teacher resnet50 --student mobilenetv3"
        )
    return _whole(found[-1].parent)
