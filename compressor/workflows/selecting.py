"""The student that a budget allows: finalists from the screening, and one of them by short trainings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from accelerate import Accelerator

from compressor.benchmarking import frontier
from compressor.benchmarking.students import Candidate, Students, StudentTrial
from compressor.data.dataset import Dataset
from compressor.data.kind import kind_of
from compressor.data.load import load_dataset
from compressor.distillation.arms import Arm, Rungs
from compressor.distillation.chain import Result
from compressor.distillation.trials import Outcome
from compressor.errors import UsageError
from compressor.files import read_document, write_json
from compressor.models.config import DeviceBudget
from compressor.progress import Progress
from compressor.recipe import Recipe, merge
from compressor.runfolder import RunFolder
from compressor.workflows import screening
from compressor.workflows.plan import Plan, begin, replanned, settled
from compressor.workflows.students import limits_of, refuse_others_than_images, refuse_the_impossible
from compressor.workflows.trying import Trying

AUTO = "auto"
MOST, LEAST = 6, 3
"""Finalists: those with the best priors of a longer frontier; a shorter one is filled up with what else fits, so that the prior,
which is of another task, does not decide alone."""


def prepared(recipe: Recipe, progress: Progress) -> tuple[Recipe, Students | None]:
    """The recipe with finalists in the place of `student.model: auto`, and the screening that they come from.

    Where there is a budget, what it needs is exported and measured.

    Raises:
        UsageError: `auto` without a budget, with a time, or for texts; a budget that nothing keeps to.
    """
    own = recipe.student
    recipe = _measuring(recipe)
    if own.finalists:
        return with_student(recipe, own.finalists[0], own.finalists), None
    if not own.budget.limited and own.budget != DeviceBudget():
        raise UsageError(
            "student.budget (--precision) says what a student with a limit may ship as: give --max-latency, --max-size or "
            "--max-memory, too; what is exported without one is export.precisions"
        )
    if own.model != AUTO:
        return recipe, None
    if not own.budget.limited:
        raise UsageError("student 'auto' is chosen for a budget: give --max-latency, --max-size or --max-memory")
    if recipe.time is not None:
        raise UsageError("--time can't divide what choosing a student takes; give --epochs, or name the student")
    refuse_others_than_images(recipe.data.source)
    dataset = load_dataset(recipe.data, progress)
    task = _task(dataset, own.stem)
    found = screening.screen(own.candidates or screening.usual(), task, limits_of(own.budget), progress)
    refuse_the_impossible(found, others="candidates (--set student.candidates=[a,b])")
    fit = [one for one in found.candidates if one.standing in ("frontier", "fits")]
    on = sum(one.standing == "frontier" for one in fit)
    names = [one.name for one in fit[: min(MOST, max(LEAST, on))]]
    progress.say(f"{len(fit)} of {len(found.candidates)} candidates keep to the budget; finalists: {', '.join(names)}")
    return with_student(recipe, names[0], names), found.model_copy(update={"finalists": names})


def notes(planned: Plan) -> list[str]:
    """What a plan has to say of a student that is still to be chosen."""
    student, stage = planned.recipe.student, planned.stage("student")
    if not student.finalists or stage is None:
        return []
    spent = rungs(len(student.finalists), stage.epochs, student.search).cost if len(student.finalists) > 1 else 0
    return [
        f"the student will be one of {', '.join(student.finalists)}: the plan is {student.finalists[0]}'s, and choosing takes "
        f"{spent} epochs of theirs beside it"
    ]


def _task(dataset: Dataset, stem: str) -> screening.Task:
    return screening.Task(classes=len(dataset.classes), setup=dataset.setup, size=dataset.setup.size, stem=stem)


def with_student(recipe: Recipe, model: str, finalists: Sequence[str], **more: Any) -> Recipe:
    """The recipe with a student and what is still to be chosen from; `more` are other values of the student's."""
    student = recipe.student.model_copy(update={"model": model, "finalists": list(finalists), **more})
    return recipe.model_copy(update={"student": student})


def _measuring(recipe: Recipe) -> Recipe:
    """With the exports and the combination of the benchmark that a budget is judged by."""
    budget, timed = recipe.student.budget, recipe.benchmark
    if not budget.limited:
        return recipe
    precisions = list(dict.fromkeys([*recipe.export.precisions, "fp32", *budget.precisions]))
    # Where fp32 can't be what ships, a slower int8 file may still keep to the budget: its latency is judged, too.
    slower = budget.max_size_mb is not None or "fp32" not in budget.precisions
    export: dict[str, Any] = {"precisions": precisions}
    if slower and "int8" in budget.precisions:
        export["int8"] = {"allow_slower": True}
    benchmark = {
        "batches": list(dict.fromkeys([*timed.batches, 1])),
        "threads": list(dict.fromkeys([*timed.threads, budget.threads])),
        "providers": timed.providers and list(dict.fromkeys([*timed.providers, "cpu"])),
    }
    return Recipe.model_validate(merge(recipe.model_dump(), {"export": export, "benchmark": benchmark}))


def noted(run: RunFolder, planned: Plan) -> Students:
    """The run's `students.json`; an empty one where nothing was screened."""
    if run.students.is_file():
        return read_document(run.students, Students)
    size = getattr(planned.dataset.setup, "size", 0)
    return Students(
        classes=len(planned.dataset.classes),
        image_size=size,
        limits=limits_of(planned.recipe.student.budget),
        candidates=[],
    )


def choose(planned: Plan, run: RunFolder, earlier: Sequence[Result], device: Accelerator, progress: Progress) -> Plan:
    """The plan with one of the recipe's finalists as its student; as it is where there are none.

    Finalists are arms of a trial: the recipe's own objective, one seed, one teacher and its one store. A choice that was
    stopped goes on where it was and comes to the same.

    Args:
        earlier: the finished teacher, alone.
    """
    names = planned.recipe.student.finalists
    if not names:
        return planned
    note = noted(run, planned)
    trying = _Finalists(planned=planned, run=run, earlier=earlier, device=device, progress=progress, note=note)
    ranking, why = [names[0]], "no other candidate keeps to the budget"
    trials: list[StudentTrial] = []
    if len(names) > 1:
        ranking, why, trials = trying.ranked(names)
    write_json(
        run.students,
        note.model_copy(
            update={
                "finalists": list(names),
                "ranking": ranking,
                "reason": why,
                "trials": trials,
                "init": planned.recipe.student.init,
            }
        ),
    )
    progress.say(f"student: {ranking[0]}: {why}")
    return settled(planned, with_student(planned.recipe, ranking[0], []), run)


@dataclass(kw_only=True)
class _Finalists:
    """The finalists' trials."""

    planned: Plan
    run: RunFolder
    earlier: Sequence[Result]
    device: Accelerator
    progress: Progress
    note: Students
    outcomes: dict[tuple[str, int], Outcome] = field(default_factory=dict)
    tries: dict[str, Trying] = field(default_factory=dict)

    def ranked(self, names: Sequence[str]) -> tuple[list[str], str, list[StudentTrial]]:
        """From the one to be taken first to the last, why, and every trial."""
        kind = kind_of(self.planned.dataset.modality)
        dataset = kind.prepared(self.planned.dataset, self.earlier[-1].card.preprocessing, self.progress)
        for name in names:
            self.tries[name] = self._trying(name, replace(self.planned, dataset=dataset))
        stage = self.tries[names[0]].stage
        plan = rungs(len(names), stage.epochs, self.planned.recipe.student.search)
        left, dropped = list(names), list[str]()
        for rung, epochs in enumerate(plan.epochs):
            if rung:
                kept = sorted(left, key=lambda n: self.outcomes[n, plan.epochs[rung - 1]].score, reverse=True)
                left, dropped = kept[: plan.width(rung)], [*kept[plan.width(rung) :], *dropped]
            for name in left:
                own = self.tries[name]
                objective = own.stage.config.objective.model_copy(update={"auto": False})
                own.trial(Arm(name=name, objective=objective), epochs)
        ranking, why = self._order(left, plan.epochs[-1])
        return [*ranking, *dropped], why, [self._row(*key) for key in self.outcomes]

    def _trying(self, name: str, planned: Plan) -> Trying:
        own = replanned(planned, with_student(planned.recipe, name, []))
        stage = own.stage("student")
        assert stage is not None
        first = begin(own, stage, stage.seeds[0], self.device.device, teacher=self.earlier[0].known)
        return Trying(
            planned=own, stage=stage, run=self.run, earlier=self.earlier, device=self.device, progress=self.progress,
            params=sum(p.numel() for p in first.model.parameters()), pretrained=first.training != "scratch",
            outcomes=self.outcomes,
        )  # fmt: skip

    def _order(self, left: Sequence[str], epochs: int) -> tuple[list[str], str]:
        """By accuracy, but of those that the best is not ahead of beyond chance the fastest first."""
        ranking: list[str] = []
        why = ""
        rest = list(left)
        while rest:
            best = max(rest, key=lambda name: self.outcomes[name, epochs].score)
            tied = [n for n in rest if n == best or not self._ahead(best, n, epochs)]
            chosen = min(tied, key=self._cost)
            if not ranking:
                why = self._why(chosen, best, tied, epochs)
            ranking.append(chosen)
            rest.remove(chosen)
        return ranking, why

    def _ahead(self, one: str, other: str, epochs: int) -> bool:
        gain = self.tries[one].ahead(one, other, epochs)
        return gain is not None and gain["low"] > 0

    def _cost(self, name: str) -> tuple[float, int]:
        """Milliseconds of its fastest file that fits, then parameters: without a screening these alone."""
        one = next((c for c in self.note.candidates if c.name == name), Candidate(name=name))
        files = frontier.fitting(one, self.note.limits)
        p50 = files[0].p50_ms if files and files[0].p50_ms is not None else math.inf
        return p50, self.tries[name].params

    def _why(self, chosen: str, best: str, tied: Sequence[str], epochs: int) -> str:
        top1 = {name: f"{self.outcomes[name, epochs].top1:.3f}" for name in tied}
        if chosen == best and len(tied) == 1:
            return f"ahead of all others beyond chance after {epochs} epoch(s), {top1[best]} on validation"
        if chosen == best:
            return f"the best after {epochs} epoch(s), {top1[best]} on validation, and the fastest of those that are as good"
        return (
            f"after {epochs} epoch(s) {best} ({top1[best]} on validation) is not ahead of it ({top1[chosen]}) beyond chance, "
            "and it is faster"
        )

    def _row(self, name: str, epochs: int) -> StudentTrial:
        one = self.outcomes[name, epochs]
        seed = self.tries[name].stage.seeds[0]
        return StudentTrial(name=name, epochs=epochs, seed=seed, top1=one.top1, nll=one.nll, seconds=one.seconds)


def rungs(count: int, epochs: int, share: float) -> Rungs:
    """Halving `count` finalists within a share of what training all of them would take; at least one epoch each.

    Args:
        epochs: of a finalist's whole training.
    """
    most = max(1, math.ceil(math.log2(count)))
    for steps in range(most, 0, -1):
        plan = Rungs(arms=count, epochs=tuple(2**k for k in range(steps)), control=False)
        first = min(int(share * count * epochs / plan.cost), epochs // plan.epochs[-1])
        if first:
            break
    return replace(plan, epochs=tuple(max(1, first) * length for length in plan.epochs))
