"""`plan`, and the first step of `distill` and `tune`: names and `auto` resolved, data read, stages listed, cost estimated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from compressor.benchmarking import host
from compressor.data.dataset import Dataset
from compressor.data.kind import kind_of
from compressor.data.load import load_dataset, modality_of
from compressor.data.loaders import worker_count
from compressor.distillation import acquire, mixture
from compressor.distillation.acquire import Start
from compressor.distillation.chain import Result
from compressor.distillation.config import StageConfig
from compressor.errors import UsageError, did_you_mean
from compressor.evaluation.shift import damages_of
from compressor.models.family import resolve
from compressor.progress import Progress
from compressor.recipe import ROLES, Recipe
from compressor.workflows.teachers import NamedTeacher, logits_alone, named_teachers, suggested, teacher_epochs

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

    def stage(self, role: str) -> Stage | None:
        """The first stage of a role."""
        return next((s for s in self.stages if s.role == role), None)


def make_plan(recipe: Recipe, progress: Progress) -> Plan:
    """Resolves names and everything `auto`, and reads the data.

    Raises:
        UsageError: an unknown model, an override for nobody, data that can't be trained on, or damages that none are known of.
    """
    kind = modality_of(recipe.data.source)
    if recipe.evaluation.shift:
        damages_of(kind)  # said before hours of training, not after
    members = named_teachers(recipe.teacher.model, kind, progress)
    student = resolve(recipe.student.model, role="student", modality=kind)[0]
    wanted = [] if recipe.assistants == "none" else recipe.assistants
    assistants = [resolve(a, role="assistant", modality=kind)[0] for a in wanted]
    if recipe.student.model != student:
        progress.say(f"{recipe.student.model} → {student}")
    teacher, named = ",".join(m.spelled for m in members), "+".join(m.name for m in members)
    _check_overrides(recipe, [*(m.name for m in members), student, *assistants])
    for member in members:
        if member.given:
            first = assistants[0] if assistants else "student"
            recipe = logits_alone(recipe, member.spelled, first, assistants[0] if assistants else student, progress)
    dataset = load_dataset(recipe.data, progress)
    for note in dataset.notes:
        progress.say(note)
    if dataset.unreadable:
        listed = ", ".join(dataset.unreadable[:5]) + (" …" if len(dataset.unreadable) > 5 else "")
        progress.say(f"skipped {len(dataset.unreadable)} unreadable sample(s): {listed}")
    epochs = recipe.stage.epochs
    if epochs == "auto":
        epochs = suggested(dataset, student, recipe.student.init, role="student", stem=recipe.student.stem)
    resolved = recipe.model_copy(
        update={
            "seeds": _seeds(recipe, dataset),
            "threads": _threads() if recipe.threads == "auto" else recipe.threads,
            "data": recipe.data.model_copy(
                update=kind_of(dataset.modality).settled(dataset) | {"workers": worker_count(dataset)}
            ),
            "teacher": recipe.teacher.model_copy(update={"model": teacher}),
            "student": recipe.student.model_copy(update={"model": student}),
            "assistants": assistants or "none",
            "stage": recipe.stage.model_copy(update={"epochs": epochs}),
        }
    )
    passes = teacher_epochs(recipe, resolved, dataset, members, named)
    resolved = resolved.model_copy(update={"teacher": resolved.teacher.model_copy(update={"epochs": passes})})
    if recipe.seeds == "auto" and resolved.seeds != 1:
        progress.say(
            f"student and baseline are trained with {resolved.seeds} seeds each: from one, nobody can tell whether the "
            "teacher helped; --seeds 1 is quicker"
        )
    stages = tuple(_stages(resolved, dataset, members, student, assistants))
    return Plan(recipe=resolved, dataset=dataset, stages=stages)


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


def _stages(
    recipe: Recipe, dataset: Dataset, members: list[NamedTeacher], student: str, assistants: list[str]
) -> Iterator[Stage]:
    assert recipe.seeds != "auto"
    seeds = tuple(range(recipe.seed, recipe.seed + recipe.seeds))
    apart = members if len(members) > 1 else []
    rows = [("member", m.name, seeds[:1]) for m in apart]
    rows.append(("teacher", "+".join(m.name for m in members), seeds[:1]))
    rows += [("assistant", a, seeds[:1]) for a in assistants]
    rows.append(("student", student, seeds))
    if recipe.baseline:
        rows.append(("baseline", student, seeds))
    for index, (role, model, own) in enumerate(rows):
        config = recipe.stage_for("teacher" if role == "member" else role, model)
        passes = recipe.teacher.epochs if role in ("teacher", "member") else config.epochs
        if role == "member":
            passes = recipe.overrides.get(model, {}).get("epochs", passes)
        assert isinstance(passes, int)
        epochs: int = passes
        if role == "baseline" and "unlabeled" in dataset.splits:  # it gets as many steps, not as many epochs
            share = len(dataset.with_unlabeled().splits["train"]) / len(dataset.splits["train"])
            epochs = max(1, round(epochs * share))
        yield Stage(
            index=index,
            role=role,
            model=model,
            epochs=epochs,
            config=config,
            seeds=own,
            source=members[index].spelled if role == "member" else None,
        )


def run_name(planned: Plan) -> str:
    """`teacher-student-data`."""
    recipe = planned.recipe
    teacher = planned.stage("teacher")
    assert teacher is not None
    return f"{teacher.model}-{recipe.student.model}-{planned.dataset.name}"


def begin(
    planned: Plan,
    stage: Stage,
    seed: int,
    device: torch.device,
    members: Sequence[Result] = (),
    *,
    init: str | None = None,
) -> Start:
    """A stage's model before it is trained; of several teachers, the `members` that were. `init` overrules the recipe."""
    recipe, dataset = planned.recipe, planned.dataset
    if members and stage.role == "teacher":
        return mixture.mixed(members, calibrate=recipe.teacher.calibrate)
    if stage.role in ("member", "teacher"):
        own = recipe.teacher.model_copy(update={"init": init or recipe.teacher.init})
        if stage.role == "member":
            own = own.model_copy(update={"model": stage.source})
        return acquire.acquire_teacher(own, dataset, seed=seed, device=device)
    given = "auto" if stage.role == "assistant" else recipe.student.init
    return acquire.start(stage.model, init or given, dataset, role=stage.role, stem=recipe.student.stem, seed=seed)
