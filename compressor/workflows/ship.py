"""Which of the trained models ships: the taught student or the one without a teacher, and of it the best seed."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from typing import Literal

import numpy as np

from compressor.distillation.chain import Result
from compressor.evaluation import metrics
from compressor.evaluation.figures import right
from compressor.files import write_json
from compressor.models import checkpoint
from compressor.models.seen import SEEN
from compressor.progress import Progress
from compressor.reporting.headline import choice_line
from compressor.runfolder import RunFolder
from compressor.runnote import Choice, LanguageFigures

Results = dict[tuple[str, int], list[Result]]
"""(role, seed) → the results of that role's stages, in the chain's order."""


def choose(results: Results, ship: Literal["better", "student"]) -> Choice | None:
    """Student or baseline, by validation accuracy over the seeds that both have; test is not looked at.

    The baseline ships only where it is right on more rows, or on as many with a lower calibrated NLL; of language models,
    where its NLL of the validation text is lower. None without one.
    """
    seeds = [seed for role, seed in results if role == "student" and ("baseline", seed) in results]
    if not seeds:
        return None
    seen = {role: [results[role, seed][0] for seed in seeds] for role in ("student", "baseline")}
    hits = {role: sum(int(right(one.validation).sum()) for one in found) for role, found in seen.items()}
    nll = {role: float(np.mean([_nll(one) for one in found])) for role, found in seen.items()}
    rows = max(1, sum(len(one.validation.labels) for one in seen["student"]))
    foretold = {role: [one.card.language.get("validation") for one in found] for role, found in seen.items()}
    by: Literal["top1", "nll"] = "top1"
    if all(one is not None for found in foretold.values() for one in found):
        # What a language model is for; a token named first says little of it, and predictions are of a part of the text.
        by, nll = "nll", {role: _mean_nll(found) for role, found in foretold.items()}
        loses = nll["student"] > nll["baseline"]
    else:
        loses = (hits["student"], -nll["student"]) < (hits["baseline"], -nll["baseline"])
    return Choice(
        role="baseline" if loses and ship == "better" else "student",
        seeds=len(seeds),
        student_top1=hits["student"] / rows, baseline_top1=hits["baseline"] / rows,
        student_nll=nll["student"], baseline_nll=nll["baseline"], by=by,
    )  # fmt: skip


def _mean_nll(found: Sequence[LanguageFigures | None]) -> float:
    """Over the seeds; what is no number loses."""
    return float(np.mean([math.inf if one is None or one.nll is None else one.nll for one in found]))


def _nll(result: Result) -> float:
    """On validation, of the probabilities that would ship; 0 without a labelled row."""
    seen = result.validation
    return (
        metrics.nll(seen.labels, seen.logits, temperature=result.card.temperature or 1.0) if len(seen.labels) else 0.0
    )


def best_seed(results: Results, role: str) -> int:
    """The role's seed with the best validation accuracy (then NLL); of language models with the lowest NLL."""
    cards = {seed: found[0].card for (own, seed), found in results.items() if own == role}

    def rank(seed: int) -> tuple[float, float]:
        told = cards[seed].language.get("validation")
        if told is not None:
            return 0.0, _mean_nll([told])
        seen = cards[seed].validation or {}
        return -seen.get("top1", 0.0), seen.get("nll", 0.0)

    return min(cards, key=rank)


def ship(run: RunFolder, results: Results, wanted: Literal["better", "student"], progress: Progress) -> None:
    """`student.safetensors` and `student.json`: what is best on validation, under the student's role and name."""
    choice = choose(results, wanted)
    role = choice.role if choice else "student"
    found = results[role, best_seed(results, role)][0]
    shutil.copyfile(found.folder / checkpoint.WEIGHTS, run.student)
    if (found.folder / SEEN).is_file():
        shutil.copyfile(found.folder / SEEN, run.path / SEEN)
    card = found.card.model_copy(update={"role": "student", "choice": choice})
    write_json(run.student.with_suffix(".json"), card.model_dump(mode="json"))
    if choice and (line := choice_line(choice)):
        progress.say(line)
