"""What a small causal language model keeps of its teacher: layers copied and taught, copied alone, and fresh.

    python benchmarks/language.py --data corpus.txt --seeds 3 --save
    python benchmarks/language.py --data corpus.txt --teacher path/to/gpt2 --student layers:6 --seeds 3 --save
    python benchmarks/language.py --quick

Trains the teacher once (kept in --runs, so that a stopped script goes on), then the student under each objective, and without
a teacher from the same copy of layers and from fresh weights. Rows have equal epochs: equally many tokens. Prints what is made
of the whole of validation, which choices are made by, and of test: nats a token, perplexity, bits per byte. Without --data a
corpus is made up whose words follow each other by chance, which shows nothing but that the script runs.
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
from common import Log, finish, parser
from help import spread, train

from compressor.distillation.accelerator import accelerator as chosen_device
from compressor.evaluation.perplexity import difference
from compressor.models.checkpoint import Card, read_card
from compressor.runfolder import slug

BASE = "copied, without a teacher"
ROWS: dict[str, list[str]] = {
    BASE: [],
    "fresh, without a teacher": ["student.init=scratch"],
    "the default": [],
    "kd T=2": ["stage.objective={kd: {weight: 1, temperature: 2}}"],
    "kd T=1": ["stage.objective={kd: {weight: 1, temperature: 1}}"],
    "5 kd T=2, 2 ce, 1 cosine": [
        "stage.objective={ce: {weight: 0.25}, kd: {weight: 0.625, temperature: 2}, cosine: {weight: 0.125}}"
    ],
    "the default, fresh": ["student.init=scratch"],
}


def main() -> None:
    """Trains what is not finished yet and prints the table."""
    arguments = options()
    device, log = chosen_device(arguments.device), Log()
    root = Path(arguments.runs) / Path(arguments.data).stem
    settings = ["data.task=lm", f"data.source={arguments.data}", f"teacher.model={arguments.teacher}",
                f"student.model={arguments.student}", "stage.targets.precision=fp32", *arguments.settings]  # fmt: skip
    train(root / "teacher", [*settings, "baseline=false"], "teacher", log, device)
    teacher = next((root / "teacher" / "stages").glob("00-*/seed*/"))
    rows = {name: ROWS[name] for name in arguments.only.split(";")} if arguments.only else dict(ROWS)
    for text in arguments.row:
        name, _, given = text.partition(": ")
        rows[name] = given.split("; ")
    found: dict[str, Any] = {}
    for row, own in rows.items():
        role = "baseline" if row.endswith("without a teacher") else "student"
        given = [*settings, f"teacher.model={teacher}", "teacher.tune=none", f"seeds={arguments.seeds}", *own]
        folder = root / slug(row)
        found[row] = train(folder, given + (["baseline=false"] if role == "student" else []), role, log, device)
        cards = [read_card(path) for path in sorted((folder / "stages").glob(f"*-{role}-*/seed*/model.json"))]
        found[row]["cards"] = cards
        log.say(f"{row}: validation {[figure(card, 'validation', 'nll') for card in cards]} nats a token")
    report(arguments, root.name, found, read_card(teacher / "model.json"))


def options() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--data", help="running text: a .txt file, a folder of these, or a table with a column of texts")
    made.add_argument("--teacher", default="layers:6,hidden:256", help="from scratch, or a folder with GPT-2")
    made.add_argument("--student", default="layers:3")
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--only", help="rows, separated by semicolons")
    made.add_argument("--row", action="append", default=[], help="another row: 'NAME: key=value; key=value'")
    made.add_argument("--set", dest="settings", action="append", default=[], help="a recipe value for all rows")
    made.add_argument("--device", default="auto", help="auto, cpu or cuda")
    made.add_argument("--runs", default="runs/language", help="where finished trainings are kept")
    arguments = made.parse_args()
    if arguments.quick:
        arguments.teacher, arguments.student, arguments.seeds = "layers:2,hidden:32", "layers:1", 2
        arguments.settings += ["data.limit=200", "data.options.length=32", "data.options.vocabulary=400",
                               "teacher.epochs=2", "stage.epochs=1", "threads=1"]  # fmt: skip
        arguments.runs += "-quick"
    if arguments.data is None:
        if not arguments.quick:
            made.error("--data is missing")
        arguments.data = made_up(Path(arguments.runs))
    return arguments


def made_up(folder: Path) -> str:
    """A corpus of words by chance, each likely to be followed by the same few."""
    rng, path = np.random.default_rng(0), folder / "made-up.txt"
    folder.mkdir(parents=True, exist_ok=True)
    words = ["".join(rng.choice(list("abcdefghijklmnopqrst"), rng.integers(2, 9))) for _ in range(200)]
    at, text = 0, []
    for number in range(20_000):
        at = (at * 3 + int(rng.integers(4))) % len(words)
        text.append(words[at] + ("\n" if number % 12 == 11 else " "))
    path.write_text("".join(text))
    return str(path)


def figure(card: Card, split: str, name: str) -> float:
    """Of a split's whole text."""
    return float(getattr(card.language[split], name))


def report(arguments: argparse.Namespace, name: str, found: dict[str, Any], teacher: Card) -> None:
    """Nats a token, and differences to the copy without a teacher, paired by seed and stretch of text."""
    base = found.get(BASE)
    if base is not None:  # whatever the order of the rows
        base["figures"] = [card.language["test"] for card in base["cards"]]
        base["test_nll"] = [figure(card, "test", "nll") for card in base["cards"]]
    lines = [("teacher", "", *(f"{figure(teacher, s, 'nll'):.4f}" for s in ("validation", "test")),
              f"{figure(teacher, 'test', 'perplexity'):.2f}", f"{figure(teacher, 'test', 'bits_per_byte'):.4f}", "–", "–",
              f"{teacher.train_seconds or 0:.0f} s")]  # fmt: skip
    for row, one in found.items():
        cards: list[Card] = one.pop("cards")
        one["cards"] = [card.model_dump(mode="json", include={"seed", "params", "language"}) for card in cards]
        test = [figure(card, "test", "nll") for card in cards]
        apart, paired = "–", "–"
        if base is not None and row != BASE:
            gaps = np.array(test) - np.array(base["test_nll"])
            if len(gaps) > 1:
                half = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / len(gaps) ** 0.5
                apart = f"{gaps.mean():+.4f} [{gaps.mean() - half:+.4f}, {gaps.mean() + half:+.4f}]"
            whole = difference([card.language["test"] for card in cards], base["figures"])
            paired = "–" if whole is None else f"{whole.mean:+.4f} [{whole.low:+.4f}, {whole.high:+.4f}]"
        lines.append((row, f"{(cards[0].params or 0) / 1e6:.2f} M", spread([figure(c, "validation", "nll") for c in cards]),
                      spread(test), f"{np.exp(np.mean(test)):.2f}",
                      f"{np.mean([figure(c, 'test', 'bits_per_byte') for c in cards]):.4f}", apart, paired,
                      f"{np.mean([card.train_seconds or 0 for card in cards]):.0f} s"))  # fmt: skip
    if base is not None:
        base.pop("figures")
    remarks = [
        f"Teacher {teacher.architecture.name}, {(teacher.params or 0) / 1e6:.2f} M parameters, {len(teacher.classes):,} tokens; "
        f"{teacher.language['test'].tokens:,} tokens of test in windows of {teacher.language['test'].length}; "
        f"{arguments.seeds} seeds.",
        "± is the standard deviation over seeds. `against the copy` is nats a token of test less those of the copied layers "
        "without a teacher, below zero is better: by seeds with Student's t, and over seeds and stretches of the text "
        "(`evaluation/perplexity.py`, `difference`).",
        "Commands:\n\n" + "\n".join(f"    {one['command']}" for one in found.values()),
    ]
    finish(arguments, f"language-{name}", {"rows": found, "teacher": teacher.model_dump(mode="json", include={"language"})},
           title=f"What a small language model keeps: {name}",
           header=("row", "parameters", "validation, nats", "test, nats", "perplexity", "bits per byte",
                   "against the copy, by seeds", "and stretches", "training"),
           lines=lines, remarks=remarks)  # fmt: skip


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
