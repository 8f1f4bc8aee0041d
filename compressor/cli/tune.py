"""`compress tune`: the objective's temperatures and weights, searched on validation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from compressor.cli.console import Console, JsonOption, QuietOption, VerboseOption, edge
from compressor.cli.distill import names


@edge
def tune(
    teacher: Annotated[
        str | None, typer.Option(help="timm name, hf-hub:…, checkpoint, or an earlier run's folder.")
    ] = None,
    student: Annotated[str | None, typer.Option(help="timm name; short names work: mobilenetv3.")] = None,
    data: Annotated[str | None, typer.Option(help="`digits`, or a folder with one sub-folder per class.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="A recipe (YAML) whose objective is searched around.")] = None,
    assistants: Annotated[str | None, typer.Option(help="none, or intermediate teachers: resnet34,resnet18.")] = None,
    trials: Annotated[int, typer.Option(min=1, help="Trainings of the student in all; hopeless ones stop early.")] = 20,
    epochs: Annotated[int | None, typer.Option(help="Epochs of every stage.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most this many samples per split, for a try.")] = None,
    seed: Annotated[int | None, typer.Option(help="Initialisation, order and the search itself.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any recipe value: stage.objective.dist.weight=2.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The run folder's name in runs/.")] = None,
    resume: Annotated[str | None, typer.Option(help="Continue a search, also with more trials: runs/NAME.")] = None,
    json_output: Annotated[bool, JsonOption] = False,
    quiet: Annotated[bool, QuietOption] = False,
    verbose: Annotated[bool, VerboseOption] = False,
) -> None:
    """Search temperature and weights on validation; write a recipe with what was found.

    Each term of the objective has its weight searched from a fifth to five times its own, ce and kd as one
    alpha, and temperatures from 1 to 10. The test split is not read.

    Examples:

        compress tune --teacher resnet50 --student mobilenetv3 --data photos/ --trials 20

        compress tune --resume runs/NAME --trials 40

        compress distill --recipe runs/NAME/tuned.yaml
    """
    from compressor.packages import require

    require("torch", "torchvision", "timm", "accelerate", "safetensors", "optuna")
    from compressor import runfolder
    from compressor.reporting import screen
    from compressor.workflows import plan as planning
    from compressor.workflows import tune as tuning

    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    given: dict[str, Any] = {
        "teacher.model": teacher, "student.model": student, "data.source": data, "assistants": names(assistants),
        "stage.epochs": epochs, "data.limit": limit, "seed": seed,
    }  # fmt: skip
    accelerator = planning.accelerator(device)
    chosen, run = planning.choose(recipe, given, settings, resume, search=True)
    planned = planning.plan(chosen, console)
    run = run or runfolder.create(name or f"{planning.run_name(planned)}-tune")
    console.say(f"run folder: {run.path}")
    try:
        found = tuning.tune(planned, run, trials, accelerator, console)
    except KeyboardInterrupt:
        console.say(f"stopped; continue with: compress tune --resume {run.path} --trials {trials}")
        raise
    console.show(screen.tuning(found))
    console.document(found)
