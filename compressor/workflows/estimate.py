"""`plan`: what a run would be and take, from a few measured steps; trains nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from accelerate import Accelerator

from compressor.benchmarking.child import peak_rss_mb
from compressor.data.dataset import Dataset
from compressor.data.kind import kind_of
from compressor.display import surroundings
from compressor.distillation import chain
from compressor.distillation.accelerator import accelerator
from compressor.distillation.acquire import Start
from compressor.distillation.document import Estimate, EstimatedData, EstimatedStage
from compressor.distillation.room import no_room_for_images, no_room_for_targets, target_bytes
from compressor.models import cost
from compressor.models.family import family_of
from compressor.objectives.objective import active, needs, without_teacher
from compressor.options import Settings, listed, options
from compressor.packages import require
from compressor.progress import Progress
from compressor.recipe import Recipe
from compressor.reporting import screen
from compressor.reporting.screen import Block, Shown
from compressor.seeds import leaves_no_trace
from compressor.workflows import selecting
from compressor.workflows.budget import divide
from compressor.workflows.choose import choose
from compressor.workflows.plan import NEEDED, Plan, Stage, make_plan
from compressor.workflows.walk import walk


@dataclass(frozen=True, kw_only=True)
class PlanResult(Shown):
    """What a run would be and cost."""

    document: Estimate

    def blocks(self) -> list[Block]:
        """The stages and the estimate."""
        return screen.plan(self.document)


@leaves_no_trace
def plan(
    *,
    teacher: str | Path | None = None,
    student: str | None = None,
    data: str | Path | None = None,
    recipe: Recipe | str | Path | None = None,
    unlabeled: str | Path | None = None,
    assistants: str | Sequence[str] | None = None,
    baseline: bool | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    image_size: int | None = None,
    limit: int | None = None,
    seed: int | None = None,
    views: int | str | None = None,
    cache_limit: float | None = None,
    seeds: int | None = None,
    device: str = "auto",
    settings: Settings | None = None,
    resume: str | Path | None = None,
    progress: Progress | None = None,
    shift: bool | None = None,
    pilot: float | str | None = None,
    strict_data: bool | None = None,
    time: str | None = None,
    task: str | None = None,
    max_latency: float | str | None = None,
    max_size: float | str | None = None,
    max_memory: float | str | None = None,
    precision: str | Sequence[str] | None = None,
) -> PlanResult:
    """What `distill` with the same arguments would do and take, from a few measured steps; trains nothing.

    Raises:
        UsageError, RecipeError, DataError: as `distill`.
    """
    since = monotonic()
    require(*NEEDED)
    progress = progress or surroundings()
    given = options(
        teacher=teacher, student=student, data=data, unlabeled=unlabeled, assistants=assistants, baseline=baseline,
        epochs=epochs, batch_size=batch_size, image_size=image_size, limit=limit, seed=seed, views=views,
        cache_limit=cache_limit, seeds=seeds, shift=shift, pilot=pilot, strict_data=strict_data, time=time, task=task,
        max_latency=max_latency, max_size=max_size, max_memory=max_memory, precision=listed(precision),
    )  # fmt: skip
    chosen, _ = choose(recipe, given, settings, resume)
    chosen, _ = selecting.prepared(chosen, progress)
    own = accelerator(device)
    planned = divide(make_plan(chosen, progress), chosen, own, progress, since=since, keep=False)
    return PlanResult(document=estimate(planned, own, progress))


def estimate(planned: Plan, device: Accelerator, progress: Progress) -> Estimate:
    """What a run would take, from a few measured steps of each stage; leaves nothing behind."""
    stages: list[EstimatedStage] = []
    seen_by, stored = None, 0
    notes = selecting.notes(planned)
    with progress.bar("measuring a few steps", len(planned.stages)) as bar:
        for one in walk(planned, device.device):
            stage, first, own, data = one.stage, one.first, one.teacher, one.data
            bar.advance(note=stage.model)
            seconds = 0.0
            needed = target_bytes(first, own, data, stage.config, epochs=stage.epochs) if own else 0
            if note := no_room_for_targets(stage.role, needed, stage.config, epochs=stage.epochs):
                notes.append(note)
            stored += 0 if note else needed
            if first.training != "none":
                seconds = chain.stage_seconds(
                    first, data, stage.config, epochs=_passes(stage, first), seed=stage.seeds[0], teacher=own,
                    accelerator=device,
                )  # fmt: skip
            taught = own is not None
            stages.append(_estimated(stage, first, seconds, taught=taught, stored=bool(needed) and not note))
            if stage.role in ("teacher", "assistant"):
                seen_by = seen_by or first.preprocessing
            shown = first.preprocessing.shown
    decoded = kind_of(planned.dataset.modality).prepared_bytes(planned.dataset, seen_by)
    if note := no_room_for_images(decoded, planned.recipe.data.decoded_limit):
        notes.append(note)
        decoded = 0
    return Estimate(
        dataset=_estimated_data(planned.dataset, shown),
        stages=stages,
        seconds=sum(s.seconds for s in stages),
        memory_mb=peak_rss_mb(),
        disk_mb=_disk(stages),
        targets_mb=stored / 1e6,
        decoded_mb=decoded / 1e6,
        notes=notes,
        budget=planned.budget,
    )


def _passes(stage: Stage, first: Start) -> int:
    """Epochs that will be trained; a head alone is fitted on one pass of the body."""
    return {"none": 0, "head": 1}.get(first.training, stage.epochs)


def _estimated(stage: Stage, first: Start, seconds: float, *, taught: bool, stored: bool) -> EstimatedStage:
    params, macs = cost.known(first.model, family_of(first.model).example(first.preprocessing, 1))
    terms = stage.config.objective if taught else without_teacher(stage.config.objective)
    reads = needs(terms)
    return EstimatedStage.model_validate({
        "role": stage.role,
        "model": first.architecture.name,
        "weights": first.origin if first.training != "none" else f"{first.origin}, used as it is",
        "stem": first.architecture.described().get("stem", "keep"),
        "objective": " + ".join(f"{t.weight:g} {n}" for n, t in active(terms).items()),
        "reads": sorted(reads),
        "teacher_is": "–" if not reads else "stored" if stored else "live",
        "params": params,
        "macs": macs,
        "epochs": _passes(stage, first),
        "seeds": len(stage.seeds),
        "seconds": seconds * len(stage.seeds),
    })  # fmt: skip


def _disk(stages: list[EstimatedStage]) -> float:
    """MB of the weights of every stage and seed, the shipped copy, and the two exported graphs."""
    student = next(s.params or 0 for s in stages if s.role == "student")
    weights = sum((s.params or 0) * s.seeds for s in stages)
    return 4 * (weights + (stages[0].params or 0) + 2 * student) / 1e6


def _estimated_data(dataset: Dataset, shown: str) -> EstimatedData:
    counts = {name: len(dataset.splits.get(name, ())) for name in ("train", "validation", "test", "unlabeled")}
    return EstimatedData(
        name=dataset.name, classes=dataset.classes, tokens=dataset.tokens, **counts, input=shown, unused=dataset.unused
    )
