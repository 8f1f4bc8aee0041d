"""Whether the pilot picks the arm that is best at full length, and what it costs when it does not.

    python benchmarks/pilot.py --setting b --data path/to/cifar10 --seeds 3 --save

Trains the teacher once, then the student under every arm at full length (the truth), then lets the pilot choose at
several shares of that length, each seed anew and without a memory of past pilots. Its choices are made on validation;
regret is on test: the best arm's mean over the seeds minus the chosen arm's. The settings are those of help.py.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import Log, finish, parser
from help import SETTINGS, spread, train

from compressor.distillation import arms, chain, stones
from compressor.distillation.accelerator import accelerator as chosen_device
from compressor.distillation.document import Pilot
from compressor.files import read_document
from compressor.objectives.objective import active
from compressor.recipe import load
from compressor.runfolder import RunFolder, slug
from compressor.workflows import pilot
from compressor.workflows import plan as planning

SHARES = (0.1, 0.25, 0.5, 1.0)


def main() -> None:
    """Trains what is not finished yet and prints the table."""
    arguments = options()
    settings = [text.format(weights=arguments.weights, unlabeled=None) for text in SETTINGS[arguments.setting]]
    settings += [f"data.source={arguments.data}"] if arguments.data else []
    settings += arguments.settings
    root, log, device = Path(arguments.runs) / arguments.setting, Log(), chosen_device()
    arms.remembered = lambda: []  # each pilot for itself
    arms.remember = lambda pilot: None
    train(root / "teacher", [*settings, "baseline=false"], "teacher", log, device)
    checkpoint = next((root / "teacher" / "stages").glob("00-*/seed*/"))
    given = [*settings, f"teacher.model={checkpoint}", "teacher.tune=none"]
    truth: dict[str, dict[str, Any]] = {}
    own = load(None, {}, given).stage.objective
    for arm in [arms.control(own), *arms.candidates(own, features=True, stones=bool(stones.kept(checkpoint)))]:
        terms = {name: term.model_dump(exclude_none=True) for name, term in active(arm.objective).items()}
        role = "student" if arm.taught else "baseline"
        more = [f"seeds={arguments.seeds}", f"stage.objective={terms}", f"guidance={arm.guidance}"]
        if arm.taught:
            more.append("baseline=false")
        else:
            more.pop(1)
        truth[arm.name] = train(root / slug(arm.name), [*given, *more], role, log, device)
        log.say(f"{arm.name}: validation {truth[arm.name]['validation']}")
    picks = {}
    for share in SHARES if arguments.shares is None else [float(s) for s in arguments.shares.split(",")]:
        folder = root / f"pilot-{share:g}"
        picks[share] = [picked(folder / f"seed{s}", [*given, f"seed={s}", "seeds=1"], share, log, device)
                        for s in range(arguments.seeds)]  # fmt: skip
    report(arguments, truth, picks)


def options() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--setting", choices=list(SETTINGS), default="b")
    made.add_argument("--data", help="CIFAR-10, train/ and test/")
    made.add_argument("--weights", help="the folder of the settings' pretrained weights")
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--shares", help=f"of the student's training, separated by commas; {SHARES}")
    made.add_argument("--set", dest="settings", action="append", default=[], help="a recipe value for all")
    made.add_argument("--runs", default="runs/pilot", help="where finished trainings are kept")
    arguments = made.parse_args()
    if arguments.quick:
        arguments.settings += ["data.limit=200", "stage.epochs=4", "teacher.epochs=4"]
        arguments.runs += "-quick"
        arguments.seeds = 1
    return arguments


def picked(folder: Path, settings: list[str], share: float, log: Log, device: Any) -> Pilot:
    """What a pilot with this share of the student's training chooses."""
    run = RunFolder(folder)
    if not (run.pilot.is_file() and read_document(run.pilot, Pilot).chosen):
        folder.mkdir(parents=True, exist_ok=True)
        recipe = load(None, {}, [*settings, "stage.objective=auto", f"pilot={share}"])
        planned = planning.make_plan(recipe, Log(quiet=True))
        teacher = chain.finished(Path(planned.recipe.teacher.model))
        assert teacher is not None
        pilot.choose(planned, run, [teacher], device, log)
    return read_document(run.pilot, Pilot)


def report(arguments: argparse.Namespace, truth: dict[str, dict[str, Any]], picks: dict[float, list[Pilot]]) -> None:
    """Every arm at full length, then what was chosen and what that was worth."""
    means = {name: float(np.mean(row["test"])) for name, row in truth.items()}
    best = max(means, key=lambda name: means[name])
    shown = [(f"full length: {name}", spread(row["validation"]), spread(row["test"]),
              f"{100 * (means[best] - means[name]):.1f}") for name, row in truth.items()]  # fmt: skip
    figures: dict[str, Any] = {"truth": truth, "best": best, "picks": {}}
    for share, found in picks.items():
        names = [one.chosen or arms.OWN for one in found]
        regret = [100 * (means[best] - means[name]) for name in names]
        figures["picks"][f"{share:g}"] = {"chosen": names, "regret": regret, "spent": [one.spent for one in found]}
        listed = ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names))
        trials = [len({(a.name, t.epochs) for a in one.arms for t in a.trials}) for one in found]
        shown.append((f"pilot {share:g}: {listed}", f"{np.mean(trials):.0f} trials",
                      f"best in {names.count(best)} of {len(names)}", f"{np.mean(regret):.1f}"))  # fmt: skip
    remarks = [
        f"{arguments.seeds} seeds; ± is the standard deviation. Regret is in points of test accuracy: the mean over seeds of "
        f"the best arm ('{best}') minus that of the arm in question.",
        "Commands of the trainings at full length:\n\n" + "\n".join(f"    {row['command']}" for row in truth.values()),
    ]
    finish(arguments, f"pilot-{arguments.setting}", figures, title=f"What the pilot picks: setting {arguments.setting}",
           header=("", "validation", "test", "regret"), lines=shown, remarks=remarks)  # fmt: skip


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
