"""From a recipe to a plan: names and everything `auto` resolved, data read, stages listed, cost estimated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from compressor import runfolder
from compressor.benchmarking import host
from compressor.benchmarking.child import peak_rss_mb
from compressor.data.dataset import Dataset
from compressor.data.load import load_dataset
from compressor.data.loaders import worker_count
from compressor.distillation import chain
from compressor.distillation.chain import Start
from compressor.distillation.config import StageConfig
from compressor.distillation.document import Estimate, EstimatedData, EstimatedStage
from compressor.distillation.teacher import FrozenTeacher
from compressor.errors import CompressorError, UsageError, nearest
from compressor.models import checkpoint, cost
from compressor.models.names import locate, resolve
from compressor.objectives.objective import STORABLE, active, needs, without_teacher
from compressor.progress import Progress
from compressor.recipe import ROLES, Recipe
from compressor.recipe import find as find_recipe
from compressor.recipe import load as load_recipe
from compressor.runfolder import RunFolder


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


def plan(recipe: Recipe, progress: Progress) -> Plan:
    """Resolves names and everything `auto`, and reads the data.

    Raises:
        UsageError: an unknown model, an override for nobody, or data that can't be trained on.
    """
    source = locate(recipe.teacher.model, role="teacher")
    student = resolve(recipe.student.model, role="student")
    assistants = [] if recipe.assistants == "none" else [resolve(a, role="assistant") for a in recipe.assistants]
    teacher = source.timm_name or (str(source.path) if source.path else recipe.teacher.model)
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
        progress.say(f"skipped {len(dataset.unreadable)} unreadable image(s): {listed}")
    resolved = recipe.model_copy(
        update={
            "threads": _threads() if recipe.threads == "auto" else recipe.threads,
            "data": recipe.data.model_copy(
                update={"image_size": dataset.image_size, "augment": dataset.augment, "workers": worker_count(dataset)}
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
            close = nearest(name, [*ROLES, *models], 1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
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


def accelerator(device: str = "auto") -> Accelerator:
    """The process's one Accelerator: `auto`, `cpu` or `cuda`.

    Raises:
        UsageError: cuda was asked for and is absent, the name is unknown, or there are several processes.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"unknown device '{device}' (available: auto, cpu, cuda)")
    if device == "cuda" and not torch.cuda.is_available():
        built = "this torch was built without CUDA" if torch.version.cuda is None else "torch sees no NVIDIA GPU"
        raise UsageError(f"--device cuda: {built}. Use --device cpu, or `compress doctor` to see what is missing.")
    found = Accelerator(cpu=device == "cpu")
    if found.num_processes > 1:
        raise UsageError(
            f"started as {found.num_processes} processes: training on several devices is not there yet.\n"
            "Start one process (without `accelerate launch` or `torchrun`); it uses one device."
        )
    return found


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
    teacher = None
    with progress.bar("measuring a few steps", len(planned.stages)) as bar:
        for stage in planned.stages:
            bar.advance(note=stage.model)
            first = begin(planned, stage, stage.seeds[0], device.device)
            own = teacher if stage.role in ("assistant", "student") else None
            seconds = 0.0
            if first.training != "none":
                seconds = chain.rehearse(
                    first, planned.dataset.with_unlabeled() if own else planned.dataset, stage.config, epochs=stage.epochs, seed=stage.seeds[0],
                    teacher=own, accelerator=device,
                )  # fmt: skip
            terms = stage.config.objective if own else without_teacher(stage.config.objective)
            reads = needs(terms)
            stages.append(EstimatedStage.model_validate({
                "role": stage.role,
                "model": first.architecture.name,
                "weights": first.origin if first.training != "none" else f"{first.origin}, used as it is",
                "stem": first.architecture.stem,
                "objective": " + ".join(f"{t.weight:g} {n}" for n, t in active(terms).items()),
                "reads": sorted(reads),
                "teacher_is": _teacher_is(stage, reads),
                "params": cost.parameters(first.model),
                "macs": cost.macs(first.model, first.preprocessing.size),
                "epochs": stage.epochs if first.training != "none" else 0,
                "seeds": len(stage.seeds),
                "seconds": seconds * len(stage.seeds),
            }))  # fmt: skip
            if stage.role in ("teacher", "assistant"):
                teacher = FrozenTeacher(first.model, first.preprocessing)
    # Weights of every stage and seed, the shipped copy, and the two exported graphs.
    megabytes = sum(4 * s.params * s.seeds for s in stages) / 1e6
    student = next(s.params for s in stages if s.role == "student")
    megabytes += 4 * (stages[0].params + 2 * student) / 1e6
    splits = planned.dataset.splits
    counts = {name: len(splits.get(name, ())) for name in ("train", "validation", "test", "unlabeled")}
    return Estimate(
        dataset=EstimatedData(
            name=planned.dataset.name,
            classes=planned.dataset.classes,
            **counts,
            input=f"{planned.dataset.image_size} px",
        ),
        stages=stages,
        seconds=sum(s.seconds for s in stages),
        memory_mb=peak_rss_mb(),
        disk_mb=megabytes,
    )


def _teacher_is(stage: Stage, reads: set[str]) -> str:
    """`stored`: asked once, then gone from memory; `live`: asked in every step."""
    if not reads:
        return "–"
    return "stored" if stage.config.targets.store and not reads - STORABLE else "live"


def choose(
    recipe: Path | None, given: dict[str, Any], settings: list[str] | None, resume: str | None, *, search: bool = False
) -> tuple[Recipe, RunFolder | None]:
    """The recipe that a command means; with `resume` a stopped run's own, and that run.

    Args:
        recipe: a file, or the name of a packaged one.
        given: options by recipe key; None was not given.
        settings: `--set` strings.
        resume: a run to continue.
        search: whether it is `tune` that continues, not `distill`.

    Raises:
        UsageError: something is to be changed in a run that is continued, it is done, or the other command's.
        RecipeError: see `recipe.load`.
    """
    given = {key: value for key, value in given.items() if value is not None}
    if resume is None:
        return load_recipe(find_recipe(recipe), given, settings), None
    if given or settings:
        names = ", ".join([*given, *(settings or [])])
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
