"""`compress tune`."""

from __future__ import annotations

from typing import Annotated

import typer

import compressor
from compressor.cli.console import Console, edge
from compressor.cli.options import (
    Assistants,
    Data,
    Device,
    Epochs,
    Json,
    Limit,
    Name,
    Quiet,
    RecipeFile,
    Resume,
    Seed,
    Settings,
    Student,
    Task,
    Teacher,
    Verbose,
    typed,
)


@edge
def tune(
    teacher: Teacher = None,
    student: Student = None,
    data: Data = None,
    recipe: RecipeFile = None,
    assistants: Assistants = None,
    trials: Annotated[int, typer.Option(help="Trainings of the student in all; hopeless ones stop early.")] = 20,
    epochs: Epochs = None,
    limit: Limit = None,
    seed: Seed = None,
    device: Device = "auto",
    settings: Settings = None,
    name: Name = None,
    resume: Resume = None,
    task: Task = None,
    json_output: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Search temperature and weights on validation; write a recipe with what was found.

    Each term of the objective has its weight searched from a fifth to five times its own, ce and kd as one
    alpha, and temperatures from 1 to 10. The test split is not read.

    Examples:

        compress tune --teacher resnet50 --student mobilenetv3 --data photos/ --trials 20

        compress tune --resume runs/NAME --trials 40

        compress distill --recipe runs/NAME/tuned.yaml
    """
    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    console.show(
        compressor.tune(
            teacher=teacher, student=student, data=data, recipe=recipe, assistants=assistants, trials=trials,
            epochs=epochs, limit=limit, seed=seed, device=device, settings=settings, name=name, resume=resume,
            progress=console.progress, command=typed(), task=task,
        )
    )  # fmt: skip
