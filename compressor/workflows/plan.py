"""`plan`, and the first step of `distill` and `tune`: names and `auto` resolved, data read, stages listed, cost estimated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from compressor.benchmarking import host
from compressor.data.dataset import Dataset
from compressor.data.kind import kind_of
from compressor.data.load import comes_along, load_dataset, modality_of
from compressor.data.loaders import worker_count
from compressor.distillation import acquire, mixture
from compressor.distillation.acquire import WAYS, Start
from compressor.distillation.chain import Result
from compressor.distillation.config import StageConfig
from compressor.errors import UsageError, did_you_mean
from compressor.evaluation.shift import damages_of
from compressor.files import write_text
from compressor.models.family import Known, resolve
from compressor.models.weights import check_input
from compressor.objectives.objective import needs
from compressor.progress import Progress
from compressor.recipe import ROLES, Recipe, merge
from compressor.runfolder import RunFolder
from compressor.runnote import Budget
from compressor.workflows import tokens
from compressor.workflows.teachers import (
    NamedTeacher,
    known_teacher,
    logits_alone,
    named_teachers,
    suggested,
    teacher_epochs,
)

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
    source: str | None = None
    """Of one of several teachers, how it was given."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A resolved recipe, its data and its stages; nothing has been trained yet."""

    recipe: Recipe
    dataset: Dataset
    stages: tuple[Stage, ...]
    budget: Budget | None = None
    """How the time that was given was divided; None where the epochs were given."""

    def stage(self, role: str) -> Stage | None:
        """The first stage of a role."""
        return next((s for s in self.stages if s.role == role), None)


def make_plan(recipe: Recipe, progress: Progress) -> Plan:
    """Resolves names and everything `auto`, and reads the data.

    Raises:
        UsageError: an unknown model, an override for nobody, data that can't be trained on, or damages that none are known of.
    """
    kind = modality_of(recipe.data.source, recipe.data.task)
    if recipe.evaluation.shift:
        damages_of(kind)  # said before hours of training, not after
    members = named_teachers(recipe.teacher.model, kind, progress)
    if recipe.student.model == "auto":
        raise UsageError("student 'auto' is chosen by `compress distill`, for a budget; name the student here")
    student = resolve(recipe.student.model, role="student", modality=kind)[0]
    wanted = [] if isinstance(recipe.assistants, str) else recipe.assistants
    assistants = [resolve(a, role="assistant", modality=kind)[0] for a in wanted]
    if recipe.student.model != student:
        progress.say(f"{recipe.student.model} → {student}")
    teacher, named = (
        ",".join(m.spelled if m.made else str(rooted(m.spelled)) for m in members),
        "+".join(m.name for m in members),
    )
    _check_overrides(recipe, [*(m.name for m in members), student, *recipe.student.finalists, *assistants])
    for member in members:
        if member.given:
            first = assistants[0] if assistants else "student"
            recipe = logits_alone(recipe, member.spelled, first, assistants[0] if assistants else student, progress)
    data = kind_of(kind).taught_by(recipe.data, [m.spelled for m in members])
    dataset = load_dataset(data, progress)
    for note in dataset.notes:
        progress.say(note)
    for entry in dataset.unused:
        progress.say(f"not used: {entry}")
    resolved = recipe.model_copy(
        update={
            "seeds": _seeds(recipe, dataset),
            "threads": _threads() if recipe.threads == "auto" else recipe.threads,
            "data": recipe.data.model_copy(
                update=kind_of(dataset.modality).settled(dataset)
                | {"workers": worker_count(dataset)}
                | {"source": rooted(recipe.data.source), "unlabeled": rooted(recipe.data.unlabeled)}
            ),
            "teacher": recipe.teacher.model_copy(update={"model": teacher, "init": rooted(recipe.teacher.init)}),
            "student": recipe.student.model_copy(update={"model": student, "init": rooted(recipe.student.init)}),
            "assistants": assistants or ("auto" if recipe.assistants == "auto" else "none"),
            "stage": _stage(recipe, student, members, dataset, progress),
        }
    )
    passes = teacher_epochs(recipe, resolved, dataset, members, named)
    resolved = resolved.model_copy(update={"teacher": resolved.teacher.model_copy(update={"epochs": passes})})
    if recipe.seeds == "auto" and resolved.seeds != 1:
        progress.say(
            f"student and baseline are trained with {resolved.seeds} seeds each: from one, nobody can tell whether the "
            "teacher helped; --seeds 1 is quicker"
        )
    apart = members if len(members) > 1 else []
    teachers = [*(("member", m.name, m.spelled) for m in apart), ("teacher", named, None)]
    stages = tuple(_stages(resolved, dataset, teachers))
    tokens.check(((stage.role, stage.config) for stage in stages), dataset)
    _check_inputs(stages, resolved, dataset, members)
    return Plan(recipe=resolved, dataset=dataset, stages=stages)


def _stage(
    recipe: Recipe, student: str, members: Sequence[NamedTeacher], dataset: Dataset, progress: Progress
) -> StageConfig:
    """The stage's defaults, with its epochs; no more views are stored than there are different ones."""
    epochs, given = recipe.stage.epochs, recipe.stage.targets
    if epochs == "auto":
        own, known = recipe.student, known_teacher(members[0], recipe.teacher, dataset)
        epochs = suggested(dataset, student, own.init, role="student", stem=own.stem, teacher=known)
    most = kind_of(dataset.modality).distinct_views(dataset)
    if most is not None and (given.views == "all" or given.views > most):
        given = given.model_copy(update={"views": most})
    stage = recipe.stage.model_copy(update={"epochs": epochs, "targets": given})
    return tokens.suited(stage, dataset, progress)


def rooted(name: str | None) -> str | None:
    """A path from the root, so that the run can be gone on with from another folder; what is no path here stays."""
    if name is None or not Path(name).expanduser().exists() or comes_along(name) or name in WAYS:
        return name
    return str(Path(name).expanduser().absolute())


def _threads() -> int:
    """What torch would take, but no more than a cgroup's quota: threads beyond it wait for each other."""
    quota = host.quota()
    return max(1, min(torch.get_num_threads(), int(quota) if quota else torch.get_num_threads()))


def _seeds(recipe: Recipe, dataset: Dataset) -> int:
    if recipe.seeds != "auto":
        return recipe.seeds
    return dataset.seeds if recipe.baseline else 1  # without a baseline there is no help to be judged


def _check_overrides(recipe: Recipe, models: list[str]) -> None:
    for name in recipe.overrides:
        if name not in ROLES and name not in models:
            hint = did_you_mean(name, [*ROLES, *models])
            raise UsageError(
                f"overrides.{name} is for nobody in this run{hint}\n"
                f"Give a role ({', '.join(ROLES)}) or one of its models: {', '.join(models)}."
            )


def _check_inputs(stages: Sequence[Stage], recipe: Recipe, dataset: Dataset, members: list[NamedTeacher]) -> None:
    """Every model that is made here takes what the data will give it, and a batch fits into memory. Raises UsageError."""
    own = recipe.teacher
    wanted = [("teacher", m.spelled, own.stem, own.image_size) for m in members if m.made]
    wanted += [(s.role, s.model, recipe.student.stem, None) for s in stages if s.role in ("assistant", "student")]
    memory = host.memory_mb()
    for role, name, stem, size in wanted:
        architecture, preprocessing = acquire.described(
            name, dataset, role=role, stem=stem, size=size, teacher=known_teacher(members[0], recipe.teacher, dataset)
        )
        batch = min(recipe.stage_for(role, name).batch_size, len(dataset.splits["train"]))
        megabytes = check_input(architecture, preprocessing) * batch / 1e6
        if memory is not None and megabytes > memory:
            raise UsageError(
                f"one batch of {batch} ({preprocessing.shown}) takes {megabytes / 1e3:,.1f} GB before any model sees it; "
                f"this machine has {memory / 1e3:,.1f} GB.\nTake a smaller --batch-size or --image-size."
            )


def settled(planned: Plan, recipe: Recipe, run: RunFolder) -> Plan:
    """The plan with what was settled by trying, which is written into the run's recipe: a resume does not try again."""
    if recipe == planned.recipe:
        return planned
    write_text(run.recipe, recipe.to_yaml())
    run.update(recipe=recipe.fingerprint)
    return replanned(planned, recipe)


def settle(planned: Plan, run: RunFolder, changes: dict[str, Any]) -> Plan:
    """The plan with some of its recipe's values settled, section by section."""
    return settled(planned, planned.recipe.model_validate(merge(planned.recipe.model_dump(), changes)), run)


def replanned(planned: Plan, recipe: Recipe) -> Plan:
    """The plan with a recipe that has the same teachers, data and student."""
    teachers = [(s.role, s.model, s.source) for s in planned.stages if s.role in ("member", "teacher")]
    return replace(planned, recipe=recipe, stages=tuple(_stages(recipe, planned.dataset, teachers)))


def _stages(recipe: Recipe, dataset: Dataset, teachers: Sequence[tuple[str, str, str | None]]) -> Iterator[Stage]:
    """Teachers by role, name and how they were given, then the chain."""
    assert recipe.seeds != "auto"
    seeds = tuple(range(recipe.seed, recipe.seed + recipe.seeds))
    student = recipe.student.model
    rows = [(role, name, given, seeds[:1]) for role, name, given in teachers]
    rows += [("assistant", a, None, seeds[:1]) for a in recipe.assistants if not isinstance(recipe.assistants, str)]
    rows.append(("student", student, None, seeds))
    if recipe.baseline and needs(recipe.stage_for("student", student).objective):  # untaught, it is its own baseline
        rows.append(("baseline", student, None, seeds))
    for index, (role, model, given, own) in enumerate(rows):
        config = recipe.stage_for("teacher" if role == "member" else role, model)
        passes = recipe.teacher.epochs if role in ("teacher", "member") else config.epochs
        if role == "member":
            passes = recipe.overrides.get(model, {}).get("epochs", passes)
        assert isinstance(passes, int)
        epochs: int = passes
        if role == "baseline":
            epochs = baseline_epochs(epochs, dataset)
        yield Stage(
            index=index,
            role=role,
            model=model,
            epochs=epochs,
            config=config,
            seeds=own,
            source=given,
        )


def baseline_share(dataset: Dataset, taught: Dataset | None = None) -> float:
    """A baseline's epochs for one of a student's that learns from `taught`: as many steps; it sees no unlabelled samples."""
    if "unlabeled" not in dataset.splits:
        return 1.0
    return len((taught or dataset.with_unlabeled()).splits["train"]) / len(dataset.splits["train"])


def baseline_epochs(epochs: int, dataset: Dataset, taught: Dataset | None = None) -> int:
    """Epochs that give a baseline as many steps."""
    return max(1, round(epochs * baseline_share(dataset, taught)))


def run_name(planned: Plan) -> str:
    """`teacher-student-data`; a student that is still to be chosen is `auto`."""
    recipe = planned.recipe
    teacher = planned.stage("teacher")
    assert teacher is not None
    student = "auto" if recipe.student.finalists else recipe.student.model
    return f"{teacher.model}-{student}-{planned.dataset.name}"


def begin(
    planned: Plan,
    stage: Stage,
    seed: int,
    device: torch.device,
    members: Sequence[Result] = (),
    *,
    init: str | None = None,
    teacher: Known | None = None,
) -> Start:
    """A stage's model before it is trained; of several teachers, the `members` that were.

    `init` overrules the recipe; a student or an assistant may be named by its `teacher`.
    """
    recipe, dataset = planned.recipe, planned.dataset
    if members and stage.role == "teacher":
        return mixture.mixed(members, calibrate=recipe.teacher.calibrate)
    if stage.role in ("member", "teacher"):
        own = recipe.teacher.model_copy(update={"init": init or recipe.teacher.init})
        if stage.role == "member":
            own = own.model_copy(update={"model": stage.source})
        return acquire.acquire_teacher(own, dataset, seed=seed, device=device)
    given = "auto" if stage.role == "assistant" else recipe.student.init
    stem = recipe.student.stem
    return acquire.start(stage.model, init or given, dataset, role=stage.role, stem=stem, seed=seed, teacher=teacher)
