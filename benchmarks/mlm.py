"""General distillation of an encoder: masked words of a public-domain corpus, then a task (DistilBERT's two steps).

    python benchmarks/mlm.py --corpus path/to/war-and-peace.txt --data path/to/clinc150/data_full.json --seeds 3 --save

Trains a narrow encoder of twelve layers on masked words (kept in --runs, so that a stopped script goes on), copies six
of its layers, and trains the copy by the triple loss and, for as many steps, by masked words alone. Then fine-tunes both,
the teacher and the same six layers from nothing on the labelled texts. Prints the NLL of masked words, a token, and
accuracy on the texts; ± is the standard deviation over seeds, differences are paired by seed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import Log, finish, parser
from help import spread, train

from compressor.distillation.accelerator import accelerator as chosen_device
from compressor.models.checkpoint import read_card

SPLITS = ("validation", "test")
TAUGHT, ALONE = "triple loss", "masked words alone"
TRIPLE = "{ce: {weight: 2}, kd: {weight: 5, temperature: 2}, cosine: {weight: 1, on: maps}}"


def main() -> None:
    """Trains what is not finished yet and prints the table."""
    arguments = options()
    device, log, root = chosen_device(), Log(), Path(arguments.runs)
    own = [
        "data.task=mlm", f"data.source={arguments.corpus}", f"data.options.length={arguments.length}",
        f"data.options.vocabulary={arguments.vocabulary}", f"teacher.model={arguments.teacher}",
        f"student.model={arguments.student}", f"teacher.epochs={arguments.teacher_epochs}",
        f"stage.epochs={arguments.epochs}", f"stage.objective={TRIPLE}", "stage.batch_size=16", "stage.targets.precision=fp32", *arguments.settings,
    ]  # fmt: skip
    first = train(root / "teacher", [*own, "baseline=false"], "teacher", log, device)
    teacher = next((root / "teacher" / "stages").glob("00-*/seed*/"))
    taught = [*own, f"teacher.model={teacher}", "teacher.tune=none", f"seeds={arguments.seeds}"]
    rows: dict[str, dict[str, Any]] = {}
    for name, role in ((TAUGHT, "student"), (ALONE, "baseline")):
        folder = root / name.replace(" ", "-")
        rows[name] = train(folder, [*taught, f"baseline={str(role == 'baseline').lower()}"], role, log, device)
        places = sorted((folder / "stages").glob(f"*-{role}-*/seed*/"))
        rows[name] |= {split: [_nll(place, split) for place in places] for split in SPLITS}
        rows[name] |= {
            "tuned": [_tuned(arguments, place, f"{folder.name}-{k}", log, device) for k, place in enumerate(places)]
        }
        log.say(f"{name}: NLL {rows[name]['test']}, fine-tuned {[one['test'] for one in rows[name]['tuned']]}")
    place = next((root / TAUGHT.replace(" ", "-") / "stages").glob("*-student-*/seed*/"))
    fresh = [
        _tuned(arguments, place, f"fresh-{k}", log, device, k, "teacher.init=scratch") for k in range(arguments.seeds)
    ]
    first |= {split: [_nll(teacher, split)] for split in SPLITS}
    first |= {"tuned": [_tuned(arguments, teacher, "teacher-0", log, device)]}
    report(arguments, {"teacher": first, **rows, "from nothing": {"validation": [], "test": [], "tuned": fresh}})


def options() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--corpus", required=True, help="running text: a .txt file, or a folder of these")
    made.add_argument("--data", required=True, help="texts with labels to fine-tune on")
    made.add_argument("--teacher", default="layers:12,hidden:128")
    made.add_argument("--student", default="layers:6")
    made.add_argument("--length", type=int, default=64, help="tokens of a window")
    made.add_argument("--vocabulary", type=int, default=4096)
    made.add_argument("--teacher-epochs", type=int, default=8)
    made.add_argument("--epochs", type=int, default=2, help="of the student on the corpus")
    made.add_argument("--tune-epochs", type=int, default=3, help="on the labelled texts")
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--set", dest="settings", action="append", default=[], help="a recipe value for the masked words")
    made.add_argument("--runs", default="runs/mlm", help="where finished trainings are kept")
    arguments = made.parse_args()
    if arguments.quick:
        arguments.settings += ["data.limit=64"]
        arguments.teacher, arguments.student, arguments.runs = (
            "layers:4,hidden:64",
            "layers:2",
            arguments.runs + "-quick",
        )
        arguments.teacher_epochs = arguments.epochs = arguments.tune_epochs = 1
        arguments.seeds = 2
    return arguments


def _nll(place: Path, split: str) -> float:
    """Of the hidden tokens of all windows of a split, nats each."""
    told = read_card(place / "model.json").language[split].nll
    assert told is not None
    return told


def _tuned(
    arguments: argparse.Namespace, place: Path, name: str, log: Log, device: Any, seed: int = 0, *more: str
) -> dict[str, float]:
    """An encoder's accuracy on the labelled texts after fine-tuning; each seed of an encoder is tuned with one of its own."""
    given = [
        f"data.source={arguments.data}", f"teacher.model={place}", "student.model=layers:1", "baseline=false",
        f"teacher.epochs={arguments.tune_epochs}", f"seed={seed or int(name.rsplit('-', 1)[1])}", *more,
    ]  # fmt: skip
    if arguments.quick:
        given.append("data.limit=200")
    done = train(Path(arguments.runs) / "tuned" / name, given, "teacher", log, device)
    return {"validation": done["validation"][0], "test": done["test"][0], "seconds": done["seconds"][0]}


def report(arguments: argparse.Namespace, rows: dict[str, dict[str, Any]]) -> None:
    """The table, and what the teacher changed, paired by seed."""
    lines = []
    for name, row in rows.items():
        tuned = [one["test"] for one in row["tuned"]]
        lines.append((
            name, *(spread(row[split]) if row[split] else "–" for split in SPLITS), spread([one["validation"] for one in row["tuned"]]), spread(tuned),
            f"{np.mean(row['seconds']):.0f} s" if row.get("seconds") and None not in row["seconds"] else "–",
        ))  # fmt: skip
    taught, alone = rows[TAUGHT], rows[ALONE]
    remarks = [
        f"Teacher {arguments.teacher}, {arguments.teacher_epochs} epochs of {Path(arguments.corpus).name}; student "
        f"{arguments.student}, a copy of its layers, {arguments.epochs} epochs of either row; windows of {arguments.length} "
        f"tokens; fine-tuned in {arguments.tune_epochs} epochs; {arguments.seeds} seeds of each row but the teacher's.",
        "NLL is of masked words, nats a token, in all windows. `fine-tuned` is accuracy on "
        f"{Path(arguments.data).stem}. Steps are equal; a step by the triple loss takes longer, by the teacher's forward.",
        "What the teacher changed, with its 95 % interval over seeds (Student's t): NLL on test "
        + _gap(taught["test"], alone["test"], 1)
        + "; accuracy after fine-tuning, points "
        + _gap([one["test"] for one in taught["tuned"]], [one["test"] for one in alone["tuned"]], 100)
        + ".",
        "Commands:\n\n" + "\n".join(f"    {row['command']}" for row in rows.values() if "command" in row),
    ]  # fmt: skip
    finish(arguments, "mlm", {"rows": rows}, title="General distillation of an encoder by masked words",
           header=("row", "NLL, validation", "NLL, test", "fine-tuned, validation", "fine-tuned, test", "training"),
           lines=lines, remarks=remarks)  # fmt: skip


def _gap(own: list[float], other: list[float], scale: float) -> str:
    """Mean difference, paired, with its interval where there are several."""
    gaps = scale * (np.array(own) - np.array(other))
    if len(gaps) < 2:
        return f"{gaps.mean():+.3f} (one seed)"
    half = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / len(gaps) ** 0.5
    return f"{gaps.mean():+.3f} [{gaps.mean() - half:+.3f}, {gaps.mean() + half:+.3f}]"


if __name__ == "__main__":
    main()
