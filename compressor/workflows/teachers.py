"""What a plan has to know of its teachers: what they are, how long they train, whether they have features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor.data.dataset import Dataset
from compressor.distillation import acquire
from compressor.distillation.config import StageConfig
from compressor.errors import UsageError
from compressor.models import checkpoint
from compressor.models.config import TeacherConfig
from compressor.models.family import Known
from compressor.models.locate import GIVEN, locate, several
from compressor.objectives.config import ObjectiveConfig
from compressor.objectives.objective import active, reading_features
from compressor.progress import Progress
from compressor.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class NamedTeacher:
    """A teacher as it was given, and the name of what it is."""

    spelled: str
    name: str
    given: bool
    """Whether it is a file that only answers."""
    made: bool = False
    """Whether it is built here, from a name."""


def named_teachers(spelled: str, modality: str, progress: Progress) -> list[NamedTeacher]:
    """One teacher, or the parts of `a,b`. Raises UsageError for an unknown name, a path where nothing is, a table of many."""
    found = [_named(part, modality, progress) for part in several(spelled)]
    tables = [one.spelled for one in found if one.given and not one.spelled.lower().endswith(".onnx")]
    if tables and len(found) > 1:
        raise UsageError(
            f"teacher '{tables[0]}' can't be one of several: only models that see images are mixed.\n"
            "Mix its probabilities into the table itself, or let it teach alone."
        )
    return found


def _named(spelled: str, modality: str, progress: Progress) -> NamedTeacher:
    source = locate(spelled, role="teacher", modality=modality)
    if source.path is None:
        name = source.name or spelled
        if Path(name).is_dir():  # a folder as others write them: what it is called, not where it lies
            return NamedTeacher(spelled=name, name=Path(name).name, given=False, made=True)
        if name != spelled:
            progress.say(f"{spelled} → {name}")
        return NamedTeacher(spelled=name, name=name, given=False, made=True)
    path = source.path
    if path.suffix.lower() in GIVEN:
        return NamedTeacher(spelled=str(path), name=path.stem, given=True)
    found = checkpoint.find(path)  # without a card it is refused later
    name = checkpoint.read_card(found[1]).architecture.name if found else str(path)
    return NamedTeacher(spelled=str(path), name=name, given=False)


def known_teacher(teacher: NamedTeacher, config: TeacherConfig, dataset: Dataset) -> Known | None:
    """What a plan knows of a teacher without its weights; None of a file that only answers, or has no card."""
    if teacher.made:
        architecture, preprocessing = acquire.described(
            teacher.spelled, dataset, role="teacher", stem=config.stem, size=config.image_size
        )
        return Known(architecture=architecture, preprocessing=preprocessing)
    found = None if teacher.given else checkpoint.find(Path(teacher.spelled))
    if found is None:
        return None
    card = checkpoint.read_card(found[1])
    return Known(architecture=card.architecture, preprocessing=card.preprocessing)


def teacher_epochs(asked: Recipe, resolved: Recipe, dataset: Dataset, teachers: list[NamedTeacher], name: str) -> int:
    """Epochs of a teacher that has to be trained here: those given for it, else the stage's or what the data suggest."""
    if asked.teacher.epochs is not None:
        return asked.teacher.epochs
    named = any("epochs" in asked.overrides.get(key, {}) for key in ("teacher", name))
    if asked.stage.epochs != "auto" or named:
        epochs = resolved.stage_for("teacher", name).epochs
        assert isinstance(epochs, int)
        return epochs
    own = asked.teacher
    return dataset.teacher_epochs or max(
        suggested(dataset, one.spelled, own.init, role="teacher", stem=own.stem) for one in teachers
    )


def suggested(dataset: Dataset, name: str, init: str, *, role: str, stem: str, teacher: Known | None = None) -> int:
    """Epochs that the data suggest for a model: fewer where its weights are trained, which has to be tried.

    `teacher` is the one that a student may be named by.
    """
    if dataset.epochs == dataset.trained_epochs:
        return dataset.epochs
    if locate(name, role=role, modality=dataset.modality).path is not None:
        return dataset.trained_epochs
    architecture, _ = acquire.described(name, dataset, role=role, stem=stem, teacher=teacher)
    if init == "teacher" or (init == "auto" and architecture.copies_teacher):
        return dataset.trained_epochs
    scratch = init == "scratch" or acquire.start(name, init, dataset, role=role, stem=stem, seed=0).origin == "scratch"
    return dataset.epochs if scratch else dataset.trained_epochs


def logits_alone(recipe: Recipe, what: str, taught: str, model: str, progress: Progress) -> Recipe:
    """The recipe with an objective that a teacher without features can serve.

    Of the default objective the other terms are left out, and it is said; in one that a person gave they are refused.

    Args:
        what: the teacher, as it was given.
        taught: `student`, or the first assistant's name: the stage that learns from it.
        model: that stage's model.

    Raises:
        UsageError: terms that a person asked for read features.
    """
    objective = recipe.stage_for("assistant" if taught != "student" else "student", model).objective
    blind = reading_features(objective)
    if not blind:
        return recipe
    listed = ", ".join(blind)
    if objective.model_copy(update={"auto": False}) != StageConfig().objective:
        raise UsageError(
            f"teacher '{what}' gives logits alone, and {listed} of the objective would read its features.\n"
            "Leave them out, or take a teacher that is a model here (a timm name, a checkpoint or a run)."
        )
    left = ObjectiveConfig.model_validate({k: v.model_dump() for k, v in active(objective).items() if k not in blind})
    progress.say(
        f"teacher '{what}' gives logits alone: {listed} of the default objective has nothing to read, and is left out"
    )
    terms: dict[str, Any] = {name: term.model_dump(mode="json") for name, term in active(left).items()}
    own = recipe.overrides.get(taught, {}) | {"objective": terms | ({"auto": True} if objective.auto else {})}
    return recipe.model_copy(update={"overrides": recipe.overrides | {taught: own}})
