"""Options that several commands share, each said once."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

Teacher = Annotated[
    str | None,
    typer.Option(
        help="timm name, hf-hub:…, checkpoint, earlier run, .onnx, .csv or .npz of probabilities; or several: a,b. Of "
        "texts: a folder in Hugging Face's format; of running text also layers:6,hidden:256."
    ),
]
Student = Annotated[
    str | None,
    typer.Option(
        help="timm name; short names work: mobilenetv3. `auto`: the best for --max-latency, --max-size. Of texts: layers:3."
    ),
]
Data = Annotated[
    str | None, typer.Option(help="`digits`, a folder with one sub-folder per class, or texts: .csv, .jsonl, .txt.")
]
Task = Annotated[
    str | None,
    typer.Option(
        help="The data are running text: lm writes it on (GPT-2), mlm fills in masked words (BERT). Without it: classify."
    ),
]
RecipeFile = Annotated[Path | None, typer.Option(help="A recipe (YAML); options overrule it.")]
Assistants = Annotated[str | None, typer.Option(help="none, or intermediate teachers: resnet34,resnet18.")]
Epochs = Annotated[int | None, typer.Option(help="Epochs of every stage.")]
Limit = Annotated[int | None, typer.Option(help="At most this many samples per split, for a try.")]
Seed = Annotated[int | None, typer.Option(help="Initialisation and order.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Any recipe value: stage.objective.kd.temperature=2.")
]
MaxLatency = Annotated[
    str | None, typer.Option(help="Most that the student's median call may take on this CPU: 5ms, 0.5s.")
]
MaxSize = Annotated[str | None, typer.Option(help="Most that the student's file may be: 4MB, 900KB.")]
MaxMemory = Annotated[str | None, typer.Option(help="Most memory of a process that runs the student: 60MB.")]
Precisions = Annotated[str | None, typer.Option(help="What a student with a budget may ship as: int8,fp32.")]
Name = Annotated[str | None, typer.Option(help="The run folder's name in runs/.")]
Resume = Annotated[
    str | None, typer.Option(help="Continue what was stopped: runs/NAME, or auto: the newest unfinished run.")
]
Provider = Annotated[str, typer.Option(help="Execution provider for ONNX files.")]
Threads = Annotated[int | None, typer.Option(help="Threads of onnxruntime; it chooses where none is given.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, everything else on stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors alone.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show library warnings, and a traceback with an error.")]


def typed() -> str:
    """The command as it was typed."""
    return shlex.join(["compress", *sys.argv[1:]])
