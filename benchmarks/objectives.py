"""Objectives side by side: one teacher, one student, several seeds, every row by its own command.

    python benchmarks/objectives.py --setting digits --seeds 3 --save
    python benchmarks/objectives.py --setting cifar10 --data path/to/cifar10 --seeds 3 --save

Trains the teacher once (kept in --runs, so that a stopped run goes on), then the student under each
objective from the same initial weights per seed. Prints accuracy on validation, which choices are made by,
and on test.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import Log, finish, parser

from compressor.distillation.accelerator import accelerator as chosen_device
from compressor.recipe import load
from compressor.runfolder import RunFolder
from compressor.workflows import distill as pipeline
from compressor.workflows import plan as planning

ROWS: dict[str, dict[str, Any] | None] = {
    "baseline": {"ce": {}},
    "kd": {"ce": {"weight": 0.1}, "kd": {"weight": 0.9, "temperature": 4}},
    "kd+standardize": {"ce": {"weight": 0.1}, "kd": {"weight": 0.9, "temperature": 2, "standardize": True}},
    "dkd": {"ce": {}, "dkd": {"temperature": 4}},
    "dist": {"ce": {}, "dist": {"weight": 2.0, "temperature": 1}},
    "kd+hint": {"ce": {"weight": 0.1}, "kd": {"weight": 0.9, "temperature": 4}, "hint": {"weight": 1.0, "on": "maps"}},
    "dist+hint": {"ce": {}, "dist": {"weight": 2.0, "temperature": 1}, "hint": {"weight": 0.5}},
    "default": None,
}

SETTINGS: dict[str, list[str]] = {
    "digits": ["teacher.model=resnet50", "student.model=mobilenetv3_small_100", "data.source=digits"],
    "cifar10": [
        "teacher.model=resnet18", "student.model=mobilenetv3_small_050", "data.image_size=32", "data.limit=4000",
        "teacher.epochs=10", "stage.epochs=10",
    ],
}  # fmt: skip


def main() -> None:
    """Trains what is not finished yet and prints the table."""
    arguments = options()
    settings = SETTINGS[arguments.setting] + arguments.settings
    if arguments.data:
        settings.append(f"data.source={arguments.data}")
    rows = dict(ROWS)
    for text in arguments.row:
        name, _, objective = text.partition("=")
        rows[name] = json.loads(objective)
    if arguments.only:
        rows = {name: rows[name] for name in arguments.only.split(",")}
    root = Path(arguments.runs) / arguments.setting
    log = Log()
    accelerator = chosen_device()
    teacher = root / "teacher"
    train(teacher, [*settings, "baseline=false", "seeds=1"], None, log, accelerator, only_teacher=True)
    checkpoint = next((teacher / "stages").glob("00-*/seed*/"))
    found: dict[str, Any] = {}
    for name, objective in rows.items():
        own = [*settings, f"teacher.model={checkpoint}", f"seeds={arguments.seeds}", "baseline=false"]
        found[name] = train(root / name, own, objective, log, accelerator)
        log.say(f"{name}: validation {found[name]['validation']}, test {found[name]['test']}")
    report(arguments, found, teacher)


def options() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--setting", choices=list(SETTINGS), default="digits")
    made.add_argument("--data", help="the image folder of the cifar10 setting")
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--only", help="rows, separated by commas")
    made.add_argument("--row", action="append", default=[], help='another row: NAME={"ce": {}, "kd": {}}')
    made.add_argument("--set", dest="settings", action="append", default=[], help="a recipe value for all rows")
    made.add_argument("--runs", default="runs/objectives", help="where finished trainings are kept")
    arguments = made.parse_args()
    if arguments.quick:
        arguments.settings += ["data.limit=200", "stage.epochs=2", "teacher.epochs=2",
                               "teacher.model=resnet18", "student.model=mobilenetv3_small_050"]  # fmt: skip
        arguments.runs += "-quick"
        arguments.seeds = min(arguments.seeds, 2)
    return arguments


def train(
    folder: Path,
    settings: list[str],
    objective: dict[str, Any] | None,
    log: Log,
    accelerator: Any,
    *,
    only_teacher: bool = False,
) -> dict[str, Any]:
    """The student's accuracies per seed under one objective; finished stages are read back."""
    options = {"stage.objective": objective} if objective else {}
    planned = planning.make_plan(load(None, options, settings), Log(quiet=True))
    if only_teacher:
        planned = type(planned)(**(vars(planned) | {"stages": planned.stages[:1]}))
    folder.mkdir(parents=True, exist_ok=True)
    results = pipeline.train(planned, RunFolder(folder), accelerator, log)
    cards = {seed: found[0].card for (role, seed), found in results.items() if role == "student"}
    rendered = [f"--set {s}" for s in settings]
    if objective:
        rendered.append(f"--set 'stage.objective={json.dumps(objective)}'")
    return {
        "command": "compress distill " + " ".join(rendered),
        "validation": [found["top1"] for s in sorted(cards) if (found := cards[s].validation)],
        "validation_nll": [found["nll"] for s in sorted(cards) if (found := cards[s].validation)],
        "test": [cards[s].top1 for s in sorted(cards)],
        "seconds": [cards[s].train_seconds for s in sorted(cards)],
    }


def report(arguments: argparse.Namespace, found: dict[str, Any], teacher: Path) -> None:
    """The table: mean ± standard deviation, and the difference to the default paired by seed."""
    card = json.loads(next((teacher / "stages").glob("00-*/seed*/model.json")).read_text())
    default = found.get("default")
    lines = []
    for name, row in found.items():
        difference = "–"
        if default and row is not default and len(row["test"]) > 1:
            gaps = 100 * (np.array(row["test"]) - np.array(default["test"]))
            half = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / len(gaps) ** 0.5
            row["minus_default"] = {"mean": gaps.mean(), "low": gaps.mean() - half, "high": gaps.mean() + half}
            difference = f"{gaps.mean():+.2f} [{gaps.mean() - half:+.2f}, {gaps.mean() + half:+.2f}]"
        lines.append((name, spread(row["validation"]), f"{np.mean(row['validation_nll']):.4f}", spread(row["test"]),
                      difference, f"{np.mean(row['seconds']):.0f} s"))  # fmt: skip
    remarks = [
        f"Teacher {card['architecture']['name']}: test {card['top1']:.4f}, validation {card['validation']['top1']:.4f}.",
        f"{arguments.seeds} seeds; ± is the standard deviation; the difference to the default is paired by seed, "
        "in points, with its 95 % interval (Student's t).",
        "Commands:\n\n" + "\n".join(f"    {row['command']}" for row in found.values()),
    ]
    finish(arguments, f"objectives-{arguments.setting}", {"rows": found, "teacher": card["top1"]},
           title=f"Objectives on {arguments.setting}",
           header=("objective", "validation", "NLL", "test", "minus default", "training"),
           lines=lines, remarks=remarks)  # fmt: skip


def spread(values: list[float]) -> str:
    """Mean ± standard deviation."""
    return f"{np.mean(values):.4f}" + (f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else "")


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
