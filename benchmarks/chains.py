"""Assistants, dense guidance, a route over the teacher's checkpoints and `auto` against direct teaching, at equal time.

    python benchmarks/chains.py --setting f --data path/to/cifar10 --seeds 3 --save
    python benchmarks/chains.py --setting g --data path/to/cifar10 --weights path/to/weights --seconds 480 --seeds 3 --save

Trains the teacher once. Then every row has the same seconds for all that comes after: assistants, the pilot's trials,
the storing of answers, and the student. What an epoch of each model and a stored view takes is measured once, before
the first row, so that a busy moment favours none; a row's epochs follow from that, equal for assistants and student, as
`--time` divides them. An assistant is trained with the first seed and counted in full. `auto` chooses anew for each
seed, without a memory of past pilots, and its pilot has a quarter. The settings are those of help.py.
"""

from __future__ import annotations

import argparse
import os
import sys
from bisect import bisect_right
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import Log, finish, parser
from help import ROWS, SETTINGS, spread, train

from compressor.distillation import arms
from compressor.distillation.accelerator import accelerator as chosen_device
from compressor.files import read_json, write_json
from compressor.recipe import load
from compressor.runfolder import RunFolder, slug
from compressor.workflows import budget
from compressor.workflows import plan as planning
from compressor.workflows.train import train as train_chain

ASSISTANTS: dict[str, tuple[str, str, str]] = {
    "b": ("mobilenetv3_small_100", "resnet10t", "mobilenetv3_small_075"),
    "f": ("resnet10t", "resnet18", "mobilenetv3_small_100"),
    "g": ("mobilenetv3_small_100", "mobilenetv3_large_075", "mobilenetv3_small_075"),
    "c": ("mobilenetv3_large_075", "mobilenetv3_large_100", "mobilenetv3_small_100"),
}
"""Alone, and a pair: near the geometric means of the capacities (Mirzadeh et al. 2020)."""
PILOT = 0.25


def main() -> None:
    """Trains what is not finished yet and prints the table."""
    arguments = options()
    settings = [text.format(weights=arguments.weights, unlabeled=None) for text in SETTINGS[arguments.setting]]
    settings += [f"data.source={arguments.data}"] if arguments.data else []
    settings += arguments.settings
    root, log = Path(arguments.runs) / arguments.setting, Log()
    arms.remembered = lambda: []  # each pilot for itself
    arms.remember = lambda pilot: None
    first = train(root / "teacher", [*settings, "baseline=false"], "teacher", log, chosen_device())
    checkpoint = next((root / "teacher" / "stages").glob("00-*/seed*/"))
    given = [*settings, f"teacher.model={checkpoint}", "teacher.tune=none", "baseline=false"]
    rates = measured_rates(root / "rates.json", given, ASSISTANTS[arguments.setting], log)
    rows = rows_of(arguments.setting)
    if arguments.only:
        rows = {name: rows[name] for name in arguments.only.split(",")}
    found = {}
    for name, own in rows.items():
        epochs = affordable(arguments.seconds, name, [*settings, *own], rates)
        found[name] = row(root / slug(name), [*given, *own, f"stage.epochs={epochs}"], name, arguments, log)
        log.say(f"{name}: {epochs} epochs, validation {found[name]['validation']}")
    report(arguments, found, first, rates)


def options() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--setting", choices=list(ASSISTANTS), default="f")
    made.add_argument("--data", help="CIFAR-10, train/ and test/")
    made.add_argument("--weights", help="the folder of the settings' pretrained weights")
    made.add_argument("--seconds", type=float, default=300.0, help="what a row has, for each seed, after the teacher")
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--only", help="rows, separated by commas")
    made.add_argument("--set", dest="settings", action="append", default=[], help="a recipe value for all")
    made.add_argument("--runs", default="runs/chains", help="where finished trainings are kept")
    arguments = made.parse_args()
    if arguments.quick:
        arguments.settings += ["data.limit=200", "teacher.epochs=2"]
        arguments.seconds, arguments.seeds = 4.0, 1
        arguments.runs += "-quick"
    return arguments


def rows_of(setting: str) -> dict[str, list[str]]:
    """Every row's recipe values beside those that all share; the fixed objectives are help.py's."""
    one, large, small = ASSISTANTS[setting]
    direct = {name: own for name, own in ROWS.items() if name != "old default"}
    pair = f"assistants=[{large}, {small}]"
    return direct | {
        "one assistant": [f"assistants=[{one}]"],
        "two assistants": [pair],
        "two assistants, dense": [pair, "guidance=all"],
        "route": ["guidance=route"],
        "auto": ["stage.objective=auto", "assistants=auto", f"pilot={PILOT}"],
    }


def measured_rates(path: Path, given: list[str], names: tuple[str, ...], log: Log) -> dict[str, dict[str, float]]:
    """Model → seconds of one epoch and of one stored view of who teaches it; kept, so that all rows go by the same."""
    if path.is_file():
        kept: dict[str, dict[str, float]] = read_json(path)
        return kept
    found: dict[str, dict[str, float]] = {}
    for name in names:
        recipe = load(None, {}, [*given, f"assistants=[{name}]", "stage.epochs=1", "seeds=1"])
        planned = planning.make_plan(recipe, Log(quiet=True))
        taught = name
        for cost in budget.measured(planned, chosen_device(), log, keep=True):
            if cost.stage.role == "assistant":
                found[name] = {"epoch": cost.rate.epoch, "view": cost.rate.view}
            elif cost.stage.role == "student":
                found["student"] = {"epoch": cost.rate.epoch}
                found[taught]["asked"] = cost.rate.view
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found)
    return found


def affordable(seconds: float, name: str, settings: list[str], rates: dict[str, dict[str, float]]) -> int:
    """Epochs of a row's student, and of each of its assistants."""
    said = dict(text.split("=", 1) for text in settings)
    between = [one for one in said.get("assistants", "").strip("[]").split(", ") if one in rates]
    teacher = next(rate["view"] for model, rate in rates.items() if model != "student")
    asked = [] if name == "baseline" else [teacher, *(rates[one]["asked"] for one in between)]
    learners = [*(rates[one]["epoch"] for one in between), rates["student"]["epoch"]]
    views = said.get("stage.targets.views", "all")

    def cost(epochs: int) -> float:
        # A view's answers are stored once by each model that is asked, however many learn from them.
        stored = sum(asked) * (epochs if views == "all" else min(int(views), epochs))
        pilot = PILOT * rates["student"]["epoch"] * epochs if name == "auto" else 0.0
        return epochs * sum(learners) + stored + pilot

    return max(1, bisect_right(range(1, 100_000), seconds, key=cost))


def row(folder: Path, settings: list[str], name: str, arguments: argparse.Namespace, log: Log) -> dict[str, Any]:
    """A row's students: of all seeds in one chain, or with a pilot each."""
    several = [f"seeds={arguments.seeds}"]
    if name == "baseline":
        own = [text for text in settings if text != "baseline=false"]
        return train(folder, [*own, *several], "baseline", log, chosen_device()) | {
            "chains": ["–"], "epochs": int(settings[-1].split("=")[1])
        }  # fmt: skip
    parts = [several] if name != "auto" else [["seeds=1", f"seed={s}"] for s in range(arguments.seeds)]
    results, chains = [], []
    for number, own in enumerate(parts):
        place = folder / f"part{number}"
        place.mkdir(parents=True, exist_ok=True)
        planned = planning.make_plan(load(None, {}, [*settings, *own]), Log(quiet=True))
        planned, trained = train_chain(planned, RunFolder(place), chosen_device(), log)
        results += [trained[key][0] for key in sorted(trained, key=str) if key[0] == "student"]
        chains.append("→".join(s.model for s in planned.stages if s.role in ("assistant", "student")))
    shown = " ".join(f"--set '{text}'" if " " in text else f"--set {text}" for text in [*settings, *several])
    return {
        "command": f"compress distill {shown}",
        "chains": chains,
        "validation": [r.card.validation["top1"] for r in results if r.card.validation],
        "test": [r.card.top1 for r in results],
        "seconds": [r.card.train_seconds for r in results],
        "epochs": int(settings[-1].split("=")[1]),
    }


def report(
    arguments: argparse.Namespace, found: dict[str, Any], first: dict[str, Any], rates: dict[str, dict[str, float]]
) -> None:
    """The table; the last column is a row minus the default, paired by seed."""
    own = found.get("new default")
    lines = []
    for name, one in found.items():
        difference = "–"
        if own and one is not own and len(one["test"]) > 1:
            gaps = 100 * (np.array(one["test"]) - np.array(own["test"]))
            half = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / len(gaps) ** 0.5
            one["gain"] = {"mean": gaps.mean(), "low": gaps.mean() - half, "high": gaps.mean() + half}
            difference = f"{gaps.mean():+.2f} [{gaps.mean() - half:+.2f}, {gaps.mean() + half:+.2f}]"
        chains = ", ".join(dict.fromkeys(one["chains"]))
        lines.append((name, chains, str(one["epochs"]), spread(one["validation"]), spread(one["test"]), difference))
    remarks = [
        f"Every row has {arguments.seconds:g} s for each seed after the teacher (test {np.mean(first['test']):.4f}): "
        "assistants, pilots, stored answers and student, by rates that were measured once: "
        + "; ".join(f"{name} {', '.join(f'{k} {v:.2f} s' for k, v in rate.items())}" for name, rate in rates.items()),
        f"{arguments.seeds} seeds; ± is the standard deviation; gain is test accuracy minus the default's, paired by seed, "
        "in points, with its 95 % interval (Student's t). Assistants are trained with one seed and shared.",
        "Commands:\n\n" + "\n".join(f"    {one['command']}" for one in [first, *found.values()]),
    ]
    finish(arguments, f"chains-{arguments.setting}", {"rows": found, "rates": rates, "seconds": arguments.seconds},
           title=f"Chains at equal time: setting {arguments.setting}",
           header=("row", "chain", "epochs", "validation", "test", "gain"), lines=lines, remarks=remarks)  # fmt: skip


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
