"""`students`: which models fit a budget of milliseconds and megabytes, measured here, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compressor.benchmarking import frontier
from compressor.benchmarking.students import Limits, Students
from compressor.data.config import DataConfig
from compressor.data.images.setup import ImageSetup
from compressor.data.load import load_dataset, modality_of
from compressor.display import surroundings
from compressor.errors import UsageError
from compressor.files import write_text
from compressor.modalities import DEFAULT
from compressor.models.config import DeviceBudget
from compressor.options import checked, listed, options, within
from compressor.packages import require
from compressor.progress import Progress
from compressor.reporting import html
from compressor.reporting import students as shown
from compressor.reporting.screen import Block, Shown, Table
from compressor.section import LARGEST_IMAGE
from compressor.seeds import leaves_no_trace
from compressor.workflows import screening
from compressor.workflows.screening import Task

NEEDED = ("torch", "torchvision", "timm", "onnx", "onnxruntime")
CLASSES, SIZE = 1000, 224
"""Of ImageNet: what is measured where nothing is said of the task."""


@dataclass(frozen=True, kw_only=True)
class StudentsResult(Shown):
    """Candidates with what they cost here, the frontier first."""

    document: Students
    """As `students.json`."""
    output: Path | None = None
    """The page that was written."""

    def blocks(self) -> list[Block]:
        """The table, and what it means."""
        written = [f"Written: {self.output}"] if self.output else []
        return [Table(shown.COLUMNS, shown.lines(self.document)), *shown.remarks(self.document), *written]

    @property
    def names(self) -> list[str]:
        """The frontier, the best prior first."""
        return [one.name for one in self.document.candidates if one.standing == "frontier"]

    def _repr_html_(self) -> str:
        drawn = shown.plot(self.document)
        return super()._repr_html_() + (drawn.drawing if drawn else "")


@leaves_no_trace
def students(
    *,
    max_latency: float | str | None = None,
    max_size: float | str | None = None,
    max_memory: float | str | None = None,
    precision: str | Sequence[str] | None = None,
    data: str | Path | None = None,
    classes: int | None = None,
    image_size: int | None = None,
    candidates: str | Sequence[str] | None = None,
    threads: int = 1,
    output: str | Path | None = None,
    progress: Progress | None = None,
) -> StudentsResult:
    """Which models fit a budget as the student: exported with random weights and measured on this machine.

    Args:
        max_latency: most that the median call may take: `5ms`, `0.5s`, or milliseconds.
        max_size: most that the file may be: `4MB`, `900KB`, or MB.
        max_memory: most resident memory of a process that runs it, likewise.
        precision: what the student may ship as: `int8,fp32`.
        data: the task's data, which say how many classes and pixels there are; None: `classes` and `image_size`.
        classes: that the student tells apart; None: ImageNet's 1,000.
        image_size: height and width of its input, pixels; None: the data's, or 224.
        candidates: models by name; None: two dozen small ones.
        threads: of onnxruntime.
        output: a page (.html) with table and plot, to be written.

    Raises:
        UsageError: a value out of its range, a name that is no model's, or a budget that nothing keeps to: it names the
            nearest.
        DataError: data that can't be read.
    """
    progress = progress or surroundings()
    budget = checked(
        DeviceBudget,
        **options(max_latency_ms=max_latency, max_size_mb=max_size, max_memory_mb=max_memory, threads=threads),
        **({} if precision is None else {"precisions": listed(precision)}),
    )
    if output is not None and Path(output).suffix != ".html":
        raise UsageError(f"--output {output}: give a page's name, such as students.html")
    require(*NEEDED)
    task = _task(data, classes, image_size, progress)
    names = listed(candidates) or screening.usual()
    found = screening.screen(names, task, limits_of(budget), progress)
    if output is not None:
        write_text(Path(output), html.students_page(found))
    refuse_the_impossible(found)
    return StudentsResult(document=found, output=None if output is None else Path(output))


def limits_of(budget: DeviceBudget) -> Limits:
    """A recipe's budget as the rules know it."""
    precisions = list(dict.fromkeys(budget.precisions))
    return Limits(**budget.model_dump() | {"precisions": precisions})


def refuse_the_impossible(found: Students, *, others: str = "--candidates") -> None:
    """Raises UsageError where no candidate keeps to the budget; it names the nearest, and by how much.

    Args:
        others: what names other candidates.
    """
    if any(one.standing in ("frontier", "fits") for one in found.candidates):
        return
    none = (
        f"none of {len(found.candidates)} candidates keeps"
        if len(found.candidates) > 1
        else "the one candidate does not keep"
    )
    raise UsageError(
        f"{none} to the budget ({shown.asked(found.limits)}, {found.classes} classes, "
        f"{found.image_size} pixels): {frontier.nearest(found.candidates, found.limits)}.\n"
        f"Give more, a smaller --image-size, or other {others}; what was measured is kept, so that the next try is quick."
    )


def _task(data: str | Path | None, classes: int | None, image_size: int | None, progress: Progress) -> Task:
    """What a student has to do, from the data or from two numbers."""
    if image_size is not None:
        within("image-size", image_size, 1, LARGEST_IMAGE)
    if classes is not None:
        within("classes", classes, 2, 1_000_000)
    if data is None:
        size = image_size or SIZE
        return Task(classes=classes or CLASSES, setup=ImageSetup(size=size), size=size)
    if classes is not None:
        raise UsageError("--classes is for when there are no data; --data says how many there are")
    refuse_others_than_images(str(data))
    dataset = load_dataset(DataConfig(source=str(data), image_size=image_size or "auto"), progress)
    return Task(classes=len(dataset.classes), setup=dataset.setup, size=dataset.setup.size)


def refuse_others_than_images(source: str) -> None:
    """Raises UsageError for data whose models are not among the candidates."""
    if (kind := modality_of(source)) != DEFAULT:
        raise UsageError(
            f"students for a budget are chosen among timm's image classifiers, and '{source}' holds {kind}s; name the student: "
            "--student layers:3"
        )
