"""`compress distill` and `compress export`: the commands that need torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from compressor.cli.console import Console, JsonOption, QuietOption, VerboseOption, edge


@edge
def distill(
    teacher: Annotated[
        str | None, typer.Option(help="timm name, hf-hub:…, checkpoint, or an earlier run's folder.")
    ] = None,
    student: Annotated[str | None, typer.Option(help="timm name; short names work: mobilenetv3.")] = None,
    data: Annotated[str | None, typer.Option(help="`digits`, or a folder with one sub-folder per class.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="A recipe (YAML); options overrule it.")] = None,
    unlabeled: Annotated[
        str | None, typer.Option(help="A folder of images without labels; only the teacher speaks to them.")
    ] = None,
    assistants: Annotated[str | None, typer.Option(help="none, or intermediate teachers: resnet34,resnet18.")] = None,
    baseline: Annotated[
        bool | None, typer.Option("--baseline/--no-baseline", help="Train the student without a teacher, too.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of every stage.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples per step.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Height and width of the models' input.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most this many samples per split, for a try.")] = None,
    seed: Annotated[int | None, typer.Option(help="Initialisation and order.")] = None,
    views: Annotated[str | None, typer.Option(help="all, or how many stored views are reused in turn.")] = None,
    cache_limit: Annotated[float | None, typer.Option(help="GB that stored teacher outputs may take.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Repeat student and baseline with this many seeds.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any recipe value: stage.objective.kd.temperature=2.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The run folder's name in runs/.")] = None,
    resume: Annotated[str | None, typer.Option(help="Continue a stopped run: runs/NAME.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan with an estimate; train nothing.")] = False,
    json_output: Annotated[bool, JsonOption] = False,
    quiet: Annotated[bool, QuietOption] = False,
    verbose: Annotated[bool, VerboseOption] = False,
) -> None:
    """The whole street: plan, data, teacher, chain, student, export, benchmark, report.

    Examples:

        compress distill --teacher resnet50 --student mobilenetv3

        compress distill --teacher resnet50 --student mobilenetv3 --data photos/

        compress distill --teacher resnet50 --student mobilenetv3_small_050 --assistants resnet18

        compress distill --teacher resnet50 --student mobilenetv3 --data photos/ --unlabeled more-photos/

        compress distill --recipe recipes/cifar10.yaml --data cifar10/ --dry-run

        compress distill --resume runs/NAME
    """
    from compressor.packages import require

    require("torch", "torchvision", "timm", "accelerate", "safetensors", "onnx", "onnxscript", "onnxruntime")
    from compressor import runfolder
    from compressor.reporting import screen
    from compressor.workflows import distill as pipeline
    from compressor.workflows import plan as planning

    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    given: dict[str, Any] = {
        "teacher.model": teacher, "student.model": student, "data.source": data, "data.unlabeled": unlabeled,
        "assistants": names(assistants), "baseline": baseline, "stage.epochs": epochs,
        "stage.batch_size": batch_size, "data.image_size": image_size, "data.limit": limit,
        "seed": seed, "seeds": seeds, "stage.targets.cache_limit": cache_limit,
        "stage.targets.views": int(views) if views and views.isdigit() else views,
    }  # fmt: skip
    accelerator = planning.accelerator(device)
    chosen, run = planning.choose(recipe, given, settings, resume)
    planned = planning.plan(chosen, console)
    if dry_run:
        estimate = planning.estimate(planned, accelerator, console)
        console.show(screen.plan(estimate))
        console.document(estimate)
        return
    run = run or runfolder.create(name or planning.run_name(planned))
    console.say(f"run folder: {run.path}")
    try:
        report = pipeline.distill(planned, run, console, device=accelerator)
    except KeyboardInterrupt:
        console.say(f"stopped; continue with: compress distill --resume {run.path}")
        raise
    console.show(screen.report(run, report))
    console.document(report)


@edge
def export(
    source: Annotated[
        str | None, typer.Argument(help="A run, a checkpoint folder, or weights with their card; the newest run.")
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32, fp16, int8; several with commas.")] = "fp32",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file, or a folder for several.")] = None,
    opset: Annotated[int, typer.Option(help="Version of ONNX's operators.")] = 18,
    batch: Annotated[str, typer.Option(help="dynamic, or a fixed batch size.")] = "dynamic",
    uint8_input: Annotated[
        bool, typer.Option("--uint8-input", help="Pixels in, probabilities out: normalisation and softmax inside.")
    ] = False,
    max_drop: Annotated[float, typer.Option(help="int8: points of validation top-1 that it may lose.")] = 0.5,
    target: Annotated[str, typer.Option(help="int8: auto (this CPU), x86-vnni, x86 or arm.")] = "auto",
    qat: Annotated[bool, typer.Option("--qat", help="int8: fine-tune where the drop is too large.")] = False,
    allow_slower: Annotated[
        bool, typer.Option("--allow-slower", help="int8: keep it for its size, even where fp32 is faster.")
    ] = False,
    data: Annotated[
        str | None, typer.Option(help="Images for the parity gate, for a checkpoint outside a run.")
    ] = None,
    json_output: Annotated[bool, JsonOption] = False,
    quiet: Annotated[bool, QuietOption] = False,
    verbose: Annotated[bool, VerboseOption] = False,
) -> None:
    """PyTorch student → ONNX, checked against the PyTorch model on real validation images.

    Examples:

        compress export

        compress export runs/NAME --precision fp32,int8

        compress export runs/NAME --precision int8 --max-drop 1 --qat

        compress export runs/NAME --uint8-input -o pixels.onnx

        compress export weights/model.safetensors --data photos/ -o model.onnx
    """
    from compressor.packages import require

    require("torch", "timm", "onnx", "onnxscript", "onnxruntime")
    from compressor.reporting import screen
    from compressor.workflows import export as shipping

    console = Console(json_output=json_output, quiet=quiet, verbose=verbose)
    values = {"precisions": [p.strip() for p in precision.split(",")], "opset": opset,
              "batch": int(batch) if batch.isdigit() else batch, "uint8_input": uint8_input,
              "int8": {"max_drop": max_drop, "target": target, "qat": qat, "allow_slower": allow_slower}}  # fmt: skip
    entries = shipping.export_source(source, values, output=output, data=data, progress=console)
    console.show(screen.exports(entries))
    console.document(entries)
    if not any(entry.file for entry in entries):
        raise typer.Exit(1)


def names(text: str | None) -> list[str] | str | None:
    """`none`, or a list: resnet34,resnet18."""
    if text is None or text == "none":
        return text
    return [name.strip() for name in text.split(",") if name.strip()]
