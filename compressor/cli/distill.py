"""`compress distill`."""

from __future__ import annotations

from typing import Annotated, Any

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
    MaxLatency,
    MaxMemory,
    MaxSize,
    Name,
    Precisions,
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
def distill(
    teacher: Teacher = None,
    student: Student = None,
    data: Data = None,
    recipe: RecipeFile = None,
    unlabeled: Annotated[
        str | None, typer.Option(help="A folder of samples without labels; only the teacher speaks to them.")
    ] = None,
    assistants: Assistants = None,
    baseline: Annotated[
        bool | None, typer.Option("--baseline/--no-baseline", help="Train the student without a teacher, too.")
    ] = None,
    epochs: Epochs = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples per step.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Height and width of the models' input.")] = None,
    limit: Limit = None,
    seed: Seed = None,
    views: Annotated[str | None, typer.Option(help="all, or how many stored views are reused in turn.")] = None,
    cache_limit: Annotated[float | None, typer.Option(help="GB that stored teacher outputs may take.")] = None,
    seeds: Annotated[
        int | None,
        typer.Option(help="Train student and baseline with so many seeds. Without it: digits 3, a folder 1."),
    ] = None,
    shift: Annotated[
        bool | None, typer.Option("--shift/--no-shift", help="The report tells accuracy under damage, too.")
    ] = None,
    pilot: Annotated[
        str | None,
        typer.Option(
            help="What choosing `auto` objective or assistants may take, as a share of the student's training; off."
        ),
    ] = None,
    strict_data: Annotated[
        bool | None, typer.Option("--strict-data/--no-strict-data", help="Repeats in two splits are an error.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="What the whole run may take: 90s, 10m, 1h30m; it decides the epochs.")
    ] = None,
    task: Task = None,
    max_latency: MaxLatency = None,
    max_size: MaxSize = None,
    max_memory: MaxMemory = None,
    precision: Precisions = None,
    device: Device = "auto",
    settings: Settings = None,
    name: Name = None,
    resume: Resume = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan with an estimate; train nothing.")] = False,
    json_output: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """The whole street: plan, data, teacher, chain, student, export, benchmark, report.

    Examples:

        compress distill --teacher resnet50 --student mobilenetv3

        compress distill --teacher resnet50 --student mobilenetv3 --data photos/

        compress distill --teacher resnet50 --student mobilenetv3_small_050 --assistants resnet18

        compress distill --teacher resnet50 --student mobilenetv3 --data photos/ --assistants auto --set stage.objective=auto

        compress distill --teacher resnet50 --student mobilenetv3 --data photos/ --unlabeled more-photos/

        compress distill --task lm --teacher layers:6,hidden:256 --student layers:3 --data corpus.txt

        compress distill --recipe recipes/cifar10.yaml --data cifar10/ --dry-run

        compress distill --teacher resnet50 --student mobilenetv3 --data photos/ --time 30m

        compress distill --teacher resnet50 --student auto --max-latency 5ms --max-size 4MB --data photos/

        compress distill --resume runs/NAME
    """
    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    given: dict[str, Any] = {
        "teacher": teacher, "student": student, "data": data, "recipe": recipe, "unlabeled": unlabeled,
        "assistants": assistants, "baseline": baseline, "epochs": epochs, "batch_size": batch_size,
        "image_size": image_size, "limit": limit, "seed": seed, "views": views, "cache_limit": cache_limit,
        "seeds": seeds, "device": device, "settings": settings, "resume": resume, "shift": shift,
        "pilot": pilot,
        "strict_data": strict_data,
        "time": time,
        "task": task,
        "max_latency": max_latency, "max_size": max_size, "max_memory": max_memory, "precision": precision,
        "progress": console.progress,
    }  # fmt: skip
    console.show(compressor.plan(**given) if dry_run else compressor.distill(**given, name=name, command=typed()))
