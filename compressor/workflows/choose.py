"""The recipe that a command means: from a file, options and settings, or from the run that it goes on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compressor import runfolder
from compressor.errors import CompressorError, UsageError
from compressor.options import Settings
from compressor.recipe import Recipe
from compressor.recipe import find as find_recipe
from compressor.recipe import load as load_recipe
from compressor.runfolder import RunFolder


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
        resume: a run to continue; `auto`: the newest unfinished one.
        search: whether it is `tune` that continues, not `distill`.

    Raises:
        UsageError: something is to be changed in a run that is continued, it is done, or the other command's.
        RecipeError: see `recipe.load`.
    """
    if resume is None:
        if "time" in given and "stage.epochs" in given:
            raise UsageError("--time decides the epochs, so --epochs can't be given beside it; leave one of them out")
        if "stage.epochs" in given:
            given = given | {"time": None}  # what is given now overrules the recipe's file
        return load_recipe(recipe if isinstance(recipe, Recipe) else find_recipe(recipe), given, settings), None
    if given or settings or recipe is not None:
        names = ", ".join([*given, *(settings or []), *(["recipe"] if recipe is not None else [])])
        raise UsageError(f"--resume continues a run with its own recipe; drop {names}, or start a new run")
    if resume == runfolder.AUTO:
        run = runfolder.newest_unfinished(("tuning",) if search else ("running", "interrupted", "failed"))
    else:
        run = runfolder.open_run(resume)
    status = run.read().status
    if (status in ("tuning", "tuned")) != search:
        owner = "distill" if search else "tune"
        raise UsageError(f"run '{run.path}' was made by another command: compress {owner} --resume {run.path}")
    if status == "done" and run.report.is_file():  # else it was stopped between its last word and its report
        raise UsageError(f"run '{run.path}' is already done; `compress report {run.path}` shows it")
    if not run.recipe.is_file():
        raise CompressorError(f"run '{run.path}' has no recipe.yaml to resume from")
    return load_recipe(run.recipe), run
