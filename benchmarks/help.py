"""What a teacher's help is worth: one teacher, one student, several objectives and seeds, against no teacher at all.

    python benchmarks/help.py --setting a --seeds 3 --save
    python benchmarks/help.py --setting c --data path/to/cifar10 --weights path/to/weights --seeds 3 --save

Trains the teacher once (kept in --runs, so that a stopped script goes on), then the student under each
objective, and the baseline; per seed all begin with the same weights and see the same views. Prints accuracy on
validation, which choices are made by, and on test.

Settings: a, the digits; b, few small images and a teacher from scratch; c, a strong pretrained teacher and a
student from scratch; d, the same and a pretrained student; f and g, the widest gaps, from scratch and from
trained weights; e, 1,000 labelled and 9,000 unlabelled images: of each
of CIFAR-10's classes, in the order of their names, 100 images in train/, 200 in val/, 900 in the unlabelled folder.
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
from compressor.evaluation import metrics
from compressor.evaluation.predictions import Predictions
from compressor.recipe import load
from compressor.runfolder import RunFolder
from compressor.workflows import plan as planning
from compressor.workflows.train import train as train_chain

ROWS: dict[str, list[str]] = {
    "baseline": [],
    "old default": [
        "stage.objective={ce: {weight: 0.1}, kd: {weight: 0.9, temperature: 4}, hint: {weight: 0.5}}",
    ],
    "kd T=1": ["stage.objective={ce: {weight: 0.1}, kd: {weight: 0.9, temperature: 1}}"],
    "dist": ["stage.objective={ce: {}, dist: {weight: 2.0, temperature: 1}}"],
    "dkd": ["stage.objective={ce: {}, dkd: {temperature: 2, beta: 2}}"],
    "dist + hint": ["stage.objective={ce: {}, dist: {weight: 2.0, temperature: 1}, hint: {weight: 0.5}}"],
    "new default": [],
}  # fmt: skip

CIFAR = ["data.limit=10000", "data.validation=0.04", "data.image_size=64"]
STRONG = ["teacher.model=tf_efficientnet_lite2", "teacher.init={weights}/tf_efficientnet_lite2.in1k.safetensors",
          "teacher.tune=all", "teacher.epochs=8"]  # fmt: skip
SETTINGS: dict[str, list[str]] = {
    "a": ["teacher.model=resnet50", "student.model=mobilenetv3_large_100", "data.source=digits"],
    "b": [
        "teacher.model=resnet18", "student.model=mobilenetv3_small_050", "data.image_size=32", "data.limit=4000",
        "teacher.epochs=10", "stage.epochs=10",
    ],
    "f": [
        "teacher.model=resnet50", "student.model=mobilenetv3_small_050", "data.image_size=32", "data.limit=4000",
        "teacher.epochs=10", "stage.epochs=10",
    ],
    "g": [*CIFAR, *STRONG, "student.model=mobilenetv3_small_050", "student.init=scratch", "stage.epochs=10"],
    "c": [*CIFAR, *STRONG, "student.model=mobilenetv3_small_100", "student.init=scratch", "stage.epochs=30"],
    "d": [
        *CIFAR, *STRONG, "student.model=tf_efficientnet_lite0",
        "student.init={weights}/tf_efficientnet_lite0.in1k.safetensors", "stage.epochs=6",
    ],
    "h": [
        *CIFAR, *STRONG, "teacher.image_size=96", "teacher.epochs=6", "student.model=mobilenetv3_small_100",
        "student.init=scratch", "stage.targets.views=30", "stage.epochs=380",
    ],
    "e": [
        *STRONG, "student.model=mobilenetv3_small_100", "student.init=scratch", "stage.epochs=10",
        "data.image_size=64", "data.unlabeled={unlabeled}",
    ],
}  # fmt: skip


def main() -> None:
    """Trains what is not finished yet and prints the table."""
    arguments = options()
    settings = [text.format(weights=arguments.weights, unlabeled=arguments.unlabeled)
                for text in SETTINGS[arguments.setting]]  # fmt: skip
    if arguments.data:
        settings.append(f"data.source={arguments.data}")
    settings += arguments.settings
    rows = dict(ROWS)
    for text in arguments.row:
        name, _, given = text.partition(": ")
        rows[name] = given.split("; ")
    if arguments.only:
        rows = {name: rows[name] for name in arguments.only.split(",")}
    root = Path(arguments.runs) / arguments.setting
    log = Log()
    accelerator = chosen_device()
    first = train(root / "teacher", [*settings, "baseline=false"], "teacher", log, accelerator)
    checkpoint = next((root / "teacher" / "stages").glob("00-*/seed*/"))
    found: dict[str, Any] = {}
    for name, own in rows.items():
        role = "baseline" if name == "baseline" else "student"
        given = [*settings, f"teacher.model={checkpoint}", "teacher.tune=none", f"seeds={arguments.seeds}", *own]
        if role == "student":
            given.append("baseline=false")
        found[name] = train(root / name.replace(" ", "-"), given, role, log, accelerator)
        log.say(f"{name}: validation {found[name]['validation']}")
    report(arguments, found, first, root / "teacher")


def options() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--setting", choices=list(SETTINGS), default="a")
    made.add_argument("--data", help="the image folder of the settings b to e: CIFAR-10, train/ and test/")
    made.add_argument("--unlabeled", help="setting e's folder of images without labels")
    made.add_argument("--weights", help="the folder of the settings' pretrained weights")
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--only", help="rows, separated by commas")
    made.add_argument("--row", action="append", default=[], help="another row: 'NAME: key=value; key=value'")
    made.add_argument("--set", dest="settings", action="append", default=[], help="a recipe value for all rows")
    made.add_argument("--runs", default="runs/help", help="where finished trainings are kept")
    arguments = made.parse_args()
    if arguments.quick:
        arguments.settings += ["data.limit=200", "stage.epochs=2", "teacher.epochs=2"]
        arguments.runs += "-quick"
        arguments.seeds = min(arguments.seeds, 2)
    return arguments


def train(folder: Path, settings: list[str], role: str, log: Log, accelerator: Any) -> dict[str, Any]:
    """The figures of one role's seeds; other roles are not trained, finished stages are read back."""
    planned = planning.make_plan(load(None, {}, settings), Log(quiet=True))
    stages = tuple(stage for stage in planned.stages if stage.role in ("teacher", role))
    planned = type(planned)(**(vars(planned) | {"stages": stages}))
    folder.mkdir(parents=True, exist_ok=True)
    _, results = train_chain(planned, RunFolder(folder), accelerator, log)
    own = [results[key][0] for key in sorted(results, key=str) if key[0] == role]
    shown = " ".join(f"--set '{text}'" if " " in text else f"--set {text}" for text in settings)
    seen = [Predictions.load(result.folder / "predictions.npz") for result in own]
    return {
        "command": f"compress distill {shown}",
        "validation": [result.card.validation["top1"] for result in own if result.card.validation],
        "validation_nll": [result.card.validation["nll"] for result in own if result.card.validation],
        "test": [result.card.top1 for result in own],
        "ece_shipped": [metrics.ece(p.labels, p.logits, temperature=r.card.temperature or 1.0)
                        for p, r in zip(seen, own, strict=True)],
        "last_gain": [_last_gain(result.folder) for result in own],
        "seconds": [result.card.train_seconds for result in own],
    }  # fmt: skip


def _last_gain(folder: Path) -> float:
    """Validation accuracy of a training's last fifth minus that of the fifth before: whether it still gains."""
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return 0.0
    top1 = [json.loads(line)["validation_top1"] for line in path.read_text().splitlines()]
    fifth = max(1, len(top1) // 5)
    return float(np.mean(top1[-fifth:]) - np.mean(top1[-2 * fifth : -fifth] or top1[:1]))


def report(arguments: argparse.Namespace, found: dict[str, Any], first: dict[str, Any], teacher: Path) -> None:
    """The table: mean ± standard deviation, and the help, paired by seed."""
    card = json.loads(next((teacher / "stages").glob("00-*/seed*/model.json")).read_text())
    base = found.get("baseline")
    lines = []
    for name, row in found.items():
        difference = "–"
        if base and row is not base and len(row["test"]) > 1:
            gaps = 100 * (np.array(row["test"]) - np.array(base["test"]))
            half = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / len(gaps) ** 0.5
            row["help"] = {
                "per_seed": list(gaps),
                "mean": gaps.mean(),
                "low": gaps.mean() - half,
                "high": gaps.mean() + half,
            }
            difference = f"{gaps.mean():+.2f} [{gaps.mean() - half:+.2f}, {gaps.mean() + half:+.2f}]"
        lines.append((name, spread(row["validation"]), spread(row["test"]), difference,
                      f"{np.mean(row['ece_shipped']):.3f}", f"{100 * np.mean(row['last_gain']):+.1f}",
                      f"{np.mean(row['seconds']):.0f} s"))  # fmt: skip
    remarks = [
        f"Teacher {card['architecture']['name']}: test {card['top1']:.4f}, validation {card['validation']['top1']:.4f}"
        f", trained in {card['train_seconds'] or 0:.0f} s.",
        f"{arguments.seeds} seeds; ± is the standard deviation; help is test accuracy minus the baseline's, paired by "
        "seed, in points, with its 95 % interval (Student's t). ECE is that of the shipped, calibrated "
        "probabilities. `gain` is validation accuracy of the training's last fifth minus that of the fifth before, points.",
        "Commands:\n\n" + "\n".join(f"    {row['command']}" for row in [first, *found.values()]),
    ]
    finish(arguments, f"help-{arguments.setting}", {"rows": found, "teacher": card["top1"]},
           title=f"What the teacher's help is worth: setting {arguments.setting}",
           header=("row", "validation", "test", "help", "shipped ECE", "gain", "training"),
           lines=lines, remarks=remarks)  # fmt: skip


def spread(values: list[float]) -> str:
    """Mean ± standard deviation."""
    return f"{np.mean(values):.4f}" + (f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else "")


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
