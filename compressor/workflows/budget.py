"""Minutes as a budget: measured steps turn the time for a whole run into epochs of its stages, once."""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator

from compressor.benchmarking.cells import default_providers
from compressor.benchmarking.lengths import possible
from compressor.data.dataset import Dataset
from compressor.data.kind import kind_of
from compressor.distillation.rates import Rate, rate
from compressor.distillation.room import no_room_for_targets
from compressor.errors import UsageError
from compressor.models.family import resolve
from compressor.options import lasting
from compressor.progress import Progress
from compressor.recipe import Recipe
from compressor.reporting.headline import budget_line, lasted
from compressor.runnote import Budget
from compressor.workflows.plan import Plan, Stage, baseline_share
from compressor.workflows.walk import walk

TEACHER = 0.4
"""The largest share of the training time that a teacher gets: what is left has to be enough to learn from it."""
FILE, INT8, REPORT, PROCESS = 10.0, 60.0, 3.0, 1.0
"""Seconds of an exported file, of an int8 ladder, of the report, and of starting one process of the benchmark."""
MOST = 100_000
"""Epochs that nobody asks for."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A stage and its rate."""

    stage: Stage
    rate: Rate
    share: float = 1.0
    """Its epochs for one of the student's: more for a baseline that gets as many steps from fewer samples."""

    @property
    def teaches(self) -> bool:
        """Whether it is the teacher, or one of several."""
        return self.stage.role in ("teacher", "member")

    def views(self, epochs: int) -> int:
        """Views whose answers are stored for so many epochs of it."""
        views = self.stage.config.targets.views
        return epochs if views == "all" else min(views, epochs)

    def trained(self, epochs: int) -> float:
        """Seconds of all its seeds."""
        return len(self.stage.seeds) * (self.rate.epoch * epochs + self.rate.once)

    def stored(self, epochs: int) -> float:
        """Seconds in which the answers that it learns from are stored, once for all seeds."""
        return self.rate.view * self.views(epochs)


def shares(teacher: float) -> dict[str, float]:
    """Role → its share of the time that trains; a pilot takes its own out of the student's.

    Args:
        teacher: the share that the epochs which the data suggest for a teacher would take; 0 where none is trained.
    """
    own = min(teacher, TEACHER)
    return {"teacher": own, "student": 1 - own}


def divide(
    planned: Plan, asked: Recipe, device: Accelerator, progress: Progress, *, since: float, keep: bool = True
) -> Plan:
    """The plan with the epochs that its recipe's `time` allows; as it is without one.

    Args:
        asked: the recipe before anything in it was settled.
        since: when the run began, by `time.monotonic`.
        keep: decodes the images for the run first, and measures as it will see them; else nothing is left behind.

    Raises:
        UsageError: not even one epoch of each stage fits; the time that would.
    """
    given = planned.recipe.time
    if given is None:
        return planned
    over = [] if asked.stage.epochs == "auto" else [f"stage.epochs = {asked.stage.epochs}"]
    over += [f"overrides.{name}.epochs = {own['epochs']}" for name, own in asked.overrides.items() if "epochs" in own]
    if over:
        progress.say(f"the time of {given} decides the epochs; left aside: {', '.join(over)}")
    costs = measured(planned, device, progress, keep=keep)
    fixed = {"start": time.monotonic() - since, **afterwards(planned.recipe, planned.dataset.modality)}
    budget = allotted(given, fixed, costs, pilot=_pilot(planned))
    progress.say(budget_line(budget))
    return settled(planned, budget)


def measured(planned: Plan, device: Accelerator, progress: Progress, *, keep: bool) -> list[Cost]:
    """Every stage's rate, with the threads and the images that it will have."""
    assert planned.recipe.threads != "auto"
    torch.set_num_threads(planned.recipe.threads)
    found: list[Cost] = []
    ready: dict[Any, Dataset] = {}
    sees = None
    with progress.bar("measuring steps", len(planned.stages)) as bar:
        for one in walk(planned, device.device):
            bar.advance(note=one.stage.model)
            stage, data = one.stage, one.data
            if one.teacher or sees is None or stage.role != "baseline":  # which sees what the student does
                sees = one.teacher.preprocessing if one.teacher else one.first.preprocessing
            if keep:
                if sees.view_key not in ready:
                    ready[sees.view_key] = kind_of(data.modality).prepared(planned.dataset, sees, progress)
                data = ready[sees.view_key].with_unlabeled() if one.teacher else ready[sees.view_key]
            own = rate(one.first, data, stage.config, seed=stage.seeds[0], teacher=one.teacher, accelerator=device)
            share = baseline_share(planned.dataset) if stage.role == "baseline" else 1.0
            found.append(Cost(stage=stage, rate=own, share=share))
    return found


def _pilot(planned: Plan) -> float:
    """What the pilot may take for each second of one of the student's trainings; 0 where nothing is left to it."""
    stage, recipe = planned.stage("student"), planned.recipe
    chooses = recipe.assistants == "auto" or (stage is not None and stage.config.objective.auto)
    return recipe.pilot if chooses and recipe.pilot != "off" else 0.0


def allotted(given: str, fixed: dict[str, float], costs: Sequence[Cost], *, pilot: float = 0.0) -> Budget:
    """The division: what is fixed first, then `shares`; what whole epochs leave of the teacher's is the student's.

    Student, baseline and assistants get equal epochs.

    Args:
        fixed: phase → seconds that don't depend on epochs.
        pilot: its share of one of the student's trainings.

    Raises:
        UsageError: see `divide`.
    """
    teachers, pupils = [c for c in costs if c.teaches], [c for c in costs if not c.teaches]

    def choosing(epochs: int) -> float:
        return sum(pilot * c.rate.epoch * epochs for c in pupils if c.stage.role == "student")

    def learning(epochs: int) -> float:
        each = sum(c.trained(_epochs(c, 0, epochs)) + c.stored(_epochs(c, 0, epochs)) for c in pupils)
        return each + choosing(epochs)

    each = sum(c.rate.epoch for c in teachers)
    left = lasting(given) - sum(fixed.values()) - sum(c.rate.once for c in teachers)
    if left < each + learning(1):
        needed = lasting(given) - left + each + learning(1)
        raise UsageError(
            f"a time of {given} is too short: one epoch of each stage with exports and benchmark takes "
            f"{lasted(needed)}.\nGive at least --time {math.ceil(1.1 * needed / 60)}m, fewer seeds (--seeds 1) or fewer "
            "samples (--limit)."
        )
    own = 0
    if each:
        suggested = max(c.stage.epochs for c in teachers if c.rate.epoch)
        own = max(1, int(shares(suggested * each / left)["teacher"] * left / each + 1e-9))
        own = min(suggested, own, int((left - learning(1)) / each))
    epochs = bisect_right(range(1, MOST), left - own * each, key=learning)
    got = {c.stage.role: _epochs(c, own, epochs) for c in costs}
    live = [_live(c, got[c.stage.role]) for c in costs]
    if live != list(costs):
        return allotted(given, fixed, live, pilot=pilot)
    planned = {"start": fixed["start"], "teacher": sum(c.trained(got[c.stage.role]) for c in teachers)}
    planned["pilot"] = choosing(epochs)
    planned["targets"] = sum(c.stored(got[c.stage.role]) for c in pupils)
    for cost in pupils:
        role = cost.stage.role
        planned[role] = planned.get(role, 0.0) + cost.trained(got[role])
    rounded = {phase: round(seconds, 3) for phase, seconds in (planned | fixed).items() if seconds}
    return Budget(time=given, seconds=lasting(given), epochs=got, planned=rounded)


def _epochs(cost: Cost, teacher: int, student: int) -> int:
    """A stage's epochs where teacher and student get so many; 0 where it is not trained."""
    if not cost.rate.epoch:
        return 0
    return teacher if cost.teaches else max(1, round(student * cost.share))


def _live(cost: Cost, epochs: int) -> Cost:
    """The cost with the teacher asked in every step, where its answers for so many epochs would not fit on the disk."""
    needed = cost.rate.view_bytes * cost.views(epochs)
    if no_room_for_targets(cost.stage.role, needed, cost.stage.config, epochs=max(1, epochs)) is None:
        return cost
    return replace(cost, rate=replace(cost.rate, epoch=cost.rate.epoch + cost.rate.view, view=0.0, view_bytes=0))


def afterwards(recipe: Recipe, modality: str) -> dict[str, float]:
    """Seconds of what comes after the training. Accuracy under damage is not reserved for."""
    ladder = "int8" in recipe.export.precisions
    files = len({*recipe.export.precisions} - {"int8"}) + 1  # the teacher's
    config = recipe.benchmark
    providers = config.providers or default_providers()
    _, kin = resolve(recipe.student.model, role="student", modality=modality)
    lengths = len(possible(config.lengths, longest=None, data=True)) if kin.dynamic() else 1
    rows = (files + ladder) * len(providers) * len(config.batches) * len(config.threads) * lengths
    timing = rows * config.processes * (PROCESS + config.warmup_seconds + config.min_seconds)
    return {"export": files * FILE + ladder * INT8, "benchmark": timing, "report": REPORT}


def settled(planned: Plan, budget: Budget) -> Plan:
    """The plan with its epochs in the recipe, in the place of the time: as a resume will read it."""
    recipe, got = planned.recipe, budget.epochs
    own = got.get("member") or got.get("teacher") or recipe.teacher.epochs
    overrides = {name: {k: v for k, v in part.items() if k != "epochs"} for name, part in recipe.overrides.items()}
    recipe = recipe.model_copy(update={
        "time": None, "overrides": {name: part for name, part in overrides.items() if part},
        "stage": recipe.stage.model_copy(update={"epochs": got["student"]}),
        "teacher": recipe.teacher.model_copy(update={"epochs": own}),
    })  # fmt: skip
    stages = tuple(
        replace(
            stage,
            epochs=got[stage.role] or stage.epochs,
            config=recipe.stage_for("teacher" if stage.role == "member" else stage.role, stage.model),
        )
        for stage in planned.stages
    )
    return replace(planned, recipe=recipe, stages=stages, budget=budget)
