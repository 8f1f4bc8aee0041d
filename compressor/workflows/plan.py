"""`plan`, and the first step of `distill` and `tune`: names and `auto` resolved, data read, stages listed, cost estimated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from compressor import runfolder
from compressor.benchmarking import host
from compressor.benchmarking.child import peak_rss_mb
from compressor.data.dataset import Dataset
from compressor.data.kind import kind_of
from compressor.data.load import load_dataset, modality_of
from compressor.data.loaders import worker_count
from compressor.display import surroundings
from compressor.distillation import chain
from compressor.distillation.accelerator import accelerator
from compressor.distillation.chain import Start
from compressor.distillation.config import StageConfig
from compressor.distillation.document import Estimate, EstimatedData, EstimatedStage
from compressor.distillation.room import no_room_for_images, no_room_for_targets, target_bytes
from compressor.distillation.teacher import FrozenTeacher
from compressor.errors import CompressorError, UsageError, did_you_mean
from compressor.evaluation.shift import damages_of
from compressor.models import checkpoint, cost
from compressor.models.family import family_of, resolve
from compressor.models.locate import locate
from compressor.objectives.objective import active, needs, without_teacher
from compressor.options import Settings, options
from compressor.packages import require
from compressor.progress import Progress
from compressor.recipe import ROLES, Recipe
from compressor.recipe import find as find_recipe
from compressor.recipe import load as load_recipe
from compressor.reporting import screen
from compressor.reporting.screen import Block, Shown
from compressor.runfolder import RunFolder
from compressor.seeds import leaves_no_trace

NEEDED = ("torch", "torchvision", "timm", "accelerate", "safetensors", "onnx", "onnxscript", "onnxruntime")
"""Modules that a training street stands on."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One training of the chain (the teacher's may turn out to need none)."""

    index: int
    role: str
    model: str
    epochs: int
    config: StageConfig
    seeds: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A resolved recipe, its data and its stages; nothing has been trained yet."""

    recipe: Recipe
    dataset: Dataset
    stages: tuple[Stage, ...]

    def stage(self, role: str) -> Stage | None:
        """The first stage of a role."""
        return next((s for s in self.stages if s.role == role), None)


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
) -> PlanResult:
    """What `distill` with the same arguments would do and take, from a few measured steps; trains nothing.

    Raises:
        UsageError, RecipeError, DataError: as `distill`.
    """
    require(*NEEDED)
    progress = progress or surroundings()
    given = options(
        teacher=teacher, student=student, data=data, unlabeled=unlabeled, assistants=assistants, baseline=baseline,
        epochs=epochs, batch_size=batch_size, image_size=image_size, limit=limit, seed=seed, views=views,
        cache_limit=cache_limit, seeds=seeds, shift=shift,
    )  # fmt: skip
    chosen, _ = choose(recipe, given, settings, resume)
    own = accelerator(device)
    return PlanResult(document=estimate(make_plan(chosen, progress), own, progress))


def make_plan(recipe: Recipe, progress: Progress) -> Plan:
    """Resolves names and everything `auto`, and reads the data.

    Raises:
        UsageError: an unknown model, an override for nobody, data that can't be trained on, or damages that none are known of.
    """
    kind = modality_of(recipe.data.source)
    if recipe.evaluation.shift:
        damages_of(kind)  # said before hours of training, not after
    source = locate(recipe.teacher.model, role="teacher", modality=kind)
    student = resolve(recipe.student.model, role="student", modality=kind)[0]
    wanted = [] if recipe.assistants == "none" else recipe.assistants
    assistants = [resolve(a, role="assistant", modality=kind)[0] for a in wanted]
    teacher = source.name or (str(source.path) if source.path else recipe.teacher.model)
    for spelled, name in ((recipe.teacher.model, teacher), (recipe.student.model, student)):
        if spelled != name and source.path is None:
            progress.say(f"{spelled} → {name}")
    named = teacher if source.path is None else _architecture(teacher, source.path)
    _check_overrides(recipe, [named, student, *assistants])
    dataset = load_dataset(recipe.data, progress)
    for note in dataset.notes:
        progress.say(note)
    if dataset.unreadable:
        listed = ", ".join(dataset.unreadable[:5]) + (" …" if len(dataset.unreadable) > 5 else "")
        progress.say(f"skipped {len(dataset.unreadable)} unreadable sample(s): {listed}")
    resolved = recipe.model_copy(
        update={
            "threads": _threads() if recipe.threads == "auto" else recipe.threads,
            "data": recipe.data.model_copy(
                update=kind_of(dataset.modality).settled(dataset) | {"workers": worker_count(dataset)}
            ),
            "teacher": recipe.teacher.model_copy(update={"model": teacher}),
            "student": recipe.student.model_copy(update={"model": student}),
            "assistants": assistants or "none",
            "stage": recipe.stage.model_copy(
                update={"epochs": dataset.epochs if recipe.stage.epochs == "auto" else recipe.stage.epochs}
            ),
        }
    )
    resolved = resolved.model_copy(
        update={
            "teacher": resolved.teacher.model_copy(update={"epochs": _teacher_epochs(recipe, resolved, dataset, named)})
        }
    )
    stages = tuple(_stages(resolved, dataset, named, student, assistants))
    return Plan(recipe=resolved, dataset=dataset, stages=stages)


def _threads() -> int:
    """What torch would take, but no more than a cgroup's quota: threads beyond it wait for each other."""
    quota = host.quota()
    return max(1, min(torch.get_num_threads(), int(quota) if quota else torch.get_num_threads()))


def _teacher_epochs(asked: Recipe, resolved: Recipe, dataset: Dataset, teacher: str) -> int:
    if asked.teacher.epochs is not None:
        return asked.teacher.epochs
    stage = resolved.stage_for("teacher", teacher)
    named = any("epochs" in asked.overrides.get(name, {}) for name in ("teacher", teacher))
    if asked.stage.epochs == "auto" and not named:
        return dataset.teacher_epochs
    assert isinstance(stage.epochs, int)
    return stage.epochs


def _check_overrides(recipe: Recipe, models: list[str]) -> None:
    for name in recipe.overrides:
        if name not in ROLES and name not in models:
            hint = did_you_mean(name, [*ROLES, *models])
            raise UsageError(
                f"overrides.{name} is for nobody in this run{hint}\n"
                f"Give a role ({', '.join(ROLES)}) or one of its models: {', '.join(models)}."
            )


def _stages(recipe: Recipe, dataset: Dataset, teacher: str, student: str, assistants: list[str]) -> Iterator[Stage]:
    seeds = tuple(range(recipe.seed, recipe.seed + recipe.seeds))
    rows = [("teacher", teacher, seeds[:1]), *(("assistant", a, seeds[:1]) for a in assistants)]
    rows.append(("student", student, seeds))
    if recipe.baseline:
        rows.append(("baseline", student, seeds))
    for index, (role, model, own) in enumerate(rows):
        config = recipe.stage_for(role, model)
        passes = recipe.teacher.epochs if role == "teacher" else config.epochs
        assert isinstance(passes, int)
        epochs: int = passes
        if role == "baseline" and "unlabeled" in dataset.splits:  # it gets as many steps, not as many epochs
            share = len(dataset.with_unlabeled().splits["train"]) / len(dataset.splits["train"])
            epochs = max(1, round(epochs * share))
        yield Stage(index=index, role=role, model=model, epochs=epochs, config=config, seeds=own)


def run_name(planned: Plan) -> str:
    """`teacher-student-data`."""
    recipe = planned.recipe
    return f"{planned.stages[0].model}-{recipe.student.model}-{planned.dataset.name}"


def _architecture(spelled: str, path: Path) -> str:
    """What a teacher given by path is, by its card; its own spelling where it has none (which is refused later)."""
    found = checkpoint.find(path)
    return checkpoint.read_card(found[1]).architecture.name if found else spelled


def begin(planned: Plan, stage: Stage, seed: int, device: torch.device) -> Start:
    """A stage's model before it is trained."""
    recipe, dataset = planned.recipe, planned.dataset
    if stage.role == "teacher":
        return chain.acquire_teacher(recipe.teacher, dataset, seed=seed, device=device)
    init = "auto" if stage.role == "assistant" else recipe.student.init
    return chain.start(stage.model, init, dataset, role=stage.role, stem=recipe.student.stem, seed=seed)


def estimate(planned: Plan, device: Accelerator, progress: Progress) -> Estimate:
    """What a run would take, from a few measured steps of each stage; leaves nothing behind."""
    stages: list[EstimatedStage] = []
    teacher: FrozenTeacher | None = None
    seen_by, stored = None, 0
    notes: list[str] = []
    with progress.bar("measuring a few steps", len(planned.stages)) as bar:
        for stage in planned.stages:
            bar.advance(note=stage.model)
            first = begin(planned, stage, stage.seeds[0], device.device)
            own = teacher if stage.role in ("assistant", "student") else None
            seconds = 0.0
            data = planned.dataset.with_unlabeled() if own else planned.dataset
            needed = target_bytes(first, own, data, stage.config, epochs=stage.epochs) if own else 0
            if note := no_room_for_targets(stage.role, needed, stage.config, epochs=stage.epochs):
                notes.append(note)
            stored += 0 if note else needed
            if first.training != "none":
                seconds = chain.stage_seconds(
                    first, data, stage.config, epochs=stage.epochs, seed=stage.seeds[0], teacher=own, accelerator=device
                )
            terms = stage.config.objective if own else without_teacher(stage.config.objective)
            reads = needs(terms)
            stages.append(EstimatedStage.model_validate({
                "role": stage.role,
                "model": first.architecture.name,
                "weights": first.origin if first.training != "none" else f"{first.origin}, used as it is",
                "stem": first.architecture.described().get("stem", "keep"),
                "objective": " + ".join(f"{t.weight:g} {n}" for n, t in active(terms).items()),
                "reads": sorted(reads),
                "teacher_is": "–" if not reads else "stored" if needed and not note else "live",
                "params": cost.parameters(first.model),
                "macs": cost.macs(first.model, family_of(first.model).example(first.preprocessing, 1)),
                "epochs": stage.epochs if first.training != "none" else 0,
                "seeds": len(stage.seeds),
                "seconds": seconds * len(stage.seeds),
            }))  # fmt: skip
            if stage.role in ("teacher", "assistant"):
                teacher = FrozenTeacher(first.model, first.preprocessing)
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
    )


def _disk(stages: list[EstimatedStage]) -> float:
    """MB of the weights of every stage and seed, the shipped copy, and the two exported graphs."""
    student = next(s.params for s in stages if s.role == "student")
    return 4 * (sum(s.params * s.seeds for s in stages) + stages[0].params + 2 * student) / 1e6


def _estimated_data(dataset: Dataset, shown: str) -> EstimatedData:
    counts = {name: len(dataset.splits.get(name, ())) for name in ("train", "validation", "test", "unlabeled")}
    return EstimatedData(name=dataset.name, classes=dataset.classes, **counts, input=shown)


def choose(
    recipe: Recipe | str | Path | None,
    given: dict[str, Any],
    settings: Settings | None,
    resume: str | Path | None,
    *,
    search: bool = False,
) -> tuple[Recipe, RunFolder | None]:
    """The recipe that a command means; with `resume` a stopped run's own, and that run.

    Args:
        recipe: one, a file, or the name of a packaged one.
        given: options by recipe key.
        settings: `--set` strings, or values by recipe key.
        resume: a run to continue.
        search: whether it is `tune` that continues, not `distill`.

    Raises:
        UsageError: something is to be changed in a run that is continued, it is done, or the other command's.
        RecipeError: see `recipe.load`.
    """
    if resume is None:
        return load_recipe(recipe if isinstance(recipe, Recipe) else find_recipe(recipe), given, settings), None
    if given or settings or recipe is not None:
        names = ", ".join([*given, *(settings or []), *(["recipe"] if recipe is not None else [])])
        raise UsageError(f"--resume continues a run with its own recipe; drop {names}, or start a new run")
    run = runfolder.open_run(resume)
    status = run.read().status
    if (status in ("tuning", "tuned")) != search:
        owner = "distill" if search else "tune"
        raise UsageError(f"run '{run.path}' was made by another command: compress {owner} --resume {run.path}")
    if status == "done":
        raise UsageError(f"run '{run.path}' is already done; `compress report {run.path}` shows it")
    if not run.recipe.is_file():
        raise CompressorError(f"run '{run.path}' has no recipe.yaml to resume from")
    return load_recipe(run.recipe), run
