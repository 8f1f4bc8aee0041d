"""What a given teacher changes in a plan: it has logits alone, so that terms on features have nothing to read."""

from __future__ import annotations

from compressor.distillation.config import StageConfig
from compressor.errors import UsageError
from compressor.objectives.config import ObjectiveConfig
from compressor.objectives.objective import TERMS, active
from compressor.progress import Progress
from compressor.recipe import Recipe


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
    blind = [name for name, term in active(objective).items() if TERMS[name].reads(term) - {"logits"}]
    if not blind:
        return recipe
    listed = ", ".join(blind)
    if objective != StageConfig().objective:
        raise UsageError(
            f"teacher '{what}' gives logits alone, and {listed} of the objective would read its features.\n"
            "Leave them out, or take a teacher that is a model here (a timm name, a checkpoint or a run)."
        )
    left = ObjectiveConfig.model_validate({k: v.model_dump() for k, v in active(objective).items() if k not in blind})
    progress.say(
        f"teacher '{what}' gives logits alone: {listed} of the default objective has nothing to read, and is left out"
    )
    own = recipe.overrides.get(taught, {}) | {"objective": left.model_dump(mode="json", exclude_none=True)}
    return recipe.model_copy(update={"overrides": recipe.overrides | {taught: own}})
