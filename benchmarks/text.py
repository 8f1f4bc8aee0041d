"""What a small encoder of texts keeps of its teacher: layers copied and taught, copied alone, and fresh.

    python benchmarks/text.py --data path/to/banking77 --encoder path/to/all-MiniLM-L6-v2 --seeds 3 --save
    python benchmarks/text.py --data path/to/clinc150/data_full.json --encoder path/to/all-MiniLM-L6-v2 --seeds 3 --save

Fine-tunes the encoder once (kept in --runs, so that a stopped script goes on), then trains the student under each
objective and the two baselines: the same copy of the teacher's layers without a teacher, and fresh weights. Rows have
equal epochs. Then exports the default's best student on validation in fp32 and int8 and times it beside the teacher, at
the data's own lengths among others. Prints accuracy on validation, which choices are made by, and on test.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import Log, benchmark, finish, parser
from help import spread, train

import compressor
from compressor.distillation.accelerator import accelerator as chosen_device
from compressor.models.checkpoint import read_card
from compressor.runfolder import slug

ROWS: dict[str, list[str]] = {
    "copied, without a teacher": [],
    "fresh, without a teacher": ["student.init=scratch"],
    "kd T=2": ["stage.objective={ce: {weight: 0.5}, kd: {weight: 0.5, temperature: 2}}"],
    "kd T=2 + cosine": ["stage.objective={ce: {weight: 0.5}, kd: {weight: 0.5, temperature: 2}, cosine: {weight: 1}}"],
    "dist + hint": ["stage.objective={ce: {}, dist: {weight: 2.0, temperature: 1}, hint: {weight: 0.5}}"],
    "kd T=2 + minilm": ["stage.objective={ce: {weight: 0.5}, kd: {weight: 0.5, temperature: 2}, minilm: {weight: 1}}"],
    "the default": [],
}  # fmt: skip


def main() -> None:
    """Trains what is not finished yet and prints the tables."""
    arguments = options()
    device, log = chosen_device(), Log()
    name = Path(arguments.data).stem if Path(arguments.data).stem != "data_full" else Path(arguments.data).parent.name
    root = Path(arguments.runs) / name
    settings = [f"teacher.model={arguments.encoder}", "student.model=" + arguments.student, f"data.source={arguments.data}",
                f"stage.epochs={arguments.epochs}", f"teacher.epochs={arguments.teacher_epochs}", *arguments.settings]  # fmt: skip
    first = train(root / "teacher", [*settings, "baseline=false"], "teacher", log, device)
    checkpoint = next((root / "teacher" / "stages").glob("00-*/seed*/"))
    found: dict[str, Any] = {}
    rows = {key: ROWS[key] for key in arguments.only.split(";")} if arguments.only else ROWS
    for row, own in rows.items():
        role = "baseline" if row.endswith("without a teacher") else "student"
        given = [*settings, f"teacher.model={checkpoint}", "teacher.tune=none", f"seeds={arguments.seeds}", *own]
        found[row] = train(
            root / slug(row), given + (["baseline=false"] if role == "student" else []), role, log, device
        )
        log.say(f"{row}: validation {found[row]['validation']}")
    files = None if arguments.no_files else shipped(root, checkpoint, arguments)
    report(arguments, name, found, first, files)


def options() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--data", required=True, help="texts with labels: a table, JSON by split, or a folder of these")
    made.add_argument("--encoder", required=True, help="the teacher: a folder in Hugging Face's format")
    made.add_argument("--student", default="layers:3")
    made.add_argument("--epochs", type=int, default=10)
    made.add_argument("--teacher-epochs", type=int, default=4)
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--only", help="rows, separated by semicolons")
    made.add_argument("--no-files", action="store_true", help="neither exports nor times anything")
    made.add_argument("--set", dest="settings", action="append", default=[], help="a recipe value for all rows")
    made.add_argument("--runs", default="runs/text", help="where finished trainings are kept")
    arguments = made.parse_args()
    if arguments.quick:
        arguments.settings += ["data.limit=300"]
        arguments.epochs, arguments.teacher_epochs, arguments.seeds = 1, 1, 1
        arguments.runs += "-quick"
    return arguments


def shipped(root: Path, teacher: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """The default's best student on validation and the teacher as files: their accuracy on test, timed side by side."""
    stages = sorted((root / slug("the default") / "stages").glob("*-student-*/seed*"))
    best = max(stages, key=lambda stage: (read_card(stage / "model.json").validation or {})["top1"])
    files: dict[str, Path] = {}
    for label, source, precisions in (("student", best, ["fp32", "int8"]), ("teacher", teacher, ["fp32"])):
        made = compressor.export(source, precision=precisions, data=arguments.data, output=root / "files" / label)
        files |= {f"{label} {precision}": path for precision, path in made.files.items()}
    timed, seconds = benchmark(list(files.values()), "--threads", "1", "--lengths", "8,32,128,data")
    top1 = {label: compressor.evaluate(path, data=arguments.data).plain()["top1"] for label, path in files.items()}
    return {"rows": timed, "top1": top1, "bytes": {k: p.stat().st_size for k, p in files.items()}, "seconds": seconds}


def report(
    arguments: argparse.Namespace, name: str, found: dict[str, Any], first: dict[str, Any], files: dict[str, Any] | None
) -> None:
    """Accuracies, and gains over the copy without a teacher, paired by seed."""
    base = found.get("copied, without a teacher")
    top = float(np.mean(first["test"]))
    lines = []
    for row, one in found.items():
        difference = "–"
        if base and one is not base and len(one["test"]) > 1:
            gaps = 100 * (np.array(one["test"]) - np.array(base["test"]))
            half = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / len(gaps) ** 0.5
            one["gain"] = {"mean": gaps.mean(), "low": gaps.mean() - half, "high": gaps.mean() + half}
            difference = f"{gaps.mean():+.2f} [{gaps.mean() - half:+.2f}, {gaps.mean() + half:+.2f}]"
        lines.append((row, spread(one["validation"]), spread(one["test"]), f"{100 * np.mean(one['test']) / top:.1f} %",
                      difference, f"{np.mean(one['ece_shipped']):.3f}", f"{np.mean(one['seconds']):.0f} s"))  # fmt: skip
    remarks = [
        f"Teacher: test {top:.4f}, validation {np.mean(first['validation']):.4f}, fine-tuned in {arguments.teacher_epochs} "
        f"epochs; student {arguments.student}, {arguments.epochs} epochs, {arguments.seeds} seeds.",
        "± is the standard deviation; `kept` is of the teacher's accuracy on test; gain is test accuracy minus that of the "
        "copied layers without a teacher, paired by seed, in points, with its 95 % interval (Student's t).",
    ]
    if files:
        remarks.append("Files: " + "; ".join(
            f"{label} {files['bytes'][label] / 1e6:.1f} MB, top-1 {top1:.4f}" for label, top1 in files["top1"].items()
        ))  # fmt: skip
    remarks.append("Commands:\n\n" + "\n".join(f"    {one['command']}" for one in [first, *found.values()]))
    finish(arguments, f"text-{name}", {"rows": found, "teacher": top, "files": files},
           title=f"What a student of texts keeps: {name}",
           header=("row", "validation", "test", "kept", "gain", "shipped ECE", "training"), lines=lines, remarks=remarks)  # fmt: skip


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
