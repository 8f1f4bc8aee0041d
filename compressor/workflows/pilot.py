"""The pilot: short trials on validation that choose how the student is taught, within a share of its training's time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from accelerate import Accelerator

from compressor.data.kind import kind_of
from compressor.distillation import arms, assistants, chain, stones, targets
from compressor.distillation.arms import Arm, Rungs
from compressor.distillation.chain import Result
from compressor.distillation.config import Guidance, StageConfig
from compressor.distillation.document import PastPilot, Pilot, PilotArm
from compressor.distillation.sources import TableTeacher
from compressor.files import read_document, write_json
from compressor.objectives.objective import active
from compressor.progress import Progress
from compressor.recipe import Recipe
from compressor.runfolder import RunFolder, slug
from compressor.workflows.plan import Plan, Stage, begin, replanned, settled
from compressor.workflows.teaching import train_one
from compressor.workflows.trying import Trying

FITS = 0.7
"""Share of validation on which a student that fits its teacher names the same class."""
MOST = 0.5
"""Share of the pilot's time that an assistant's training may take."""
DEAREST = 1.0
"""Epochs of the student that the targets of an arm may cost beside each of its own."""


def choose(planned: Plan, run: RunFolder, earlier: Sequence[Result], device: Accelerator, progress: Progress) -> Plan:
    """The plan with objective and assistants chosen, where the recipe leaves them to the pilot; else as it is.

    A pilot that was stopped goes on where it was and comes to the same choice.

    Args:
        earlier: the finished teacher, alone.
    """
    recipe, stage = planned.recipe, planned.stage("student")
    if stage is None:
        return planned
    own = stage.config.objective
    if not own.auto and recipe.assistants != "auto":
        return planned
    if recipe.pilot == "off":
        return settled(planned, _chosen(recipe, Arm(name=arms.OWN, objective=own), None), run)
    kind = kind_of(planned.dataset.modality)
    dataset = kind.prepared(planned.dataset, earlier[-1].card.preprocessing, progress)
    first = begin(planned, stage, stage.seeds[0], device.device, teacher=earlier[0].known)
    trying = Trying(
        planned=replace(planned, dataset=dataset),
        stage=stage,
        run=run,
        earlier=earlier,
        device=device,
        progress=progress,
        params=sum(p.numel() for p in first.model.parameters()),
        pretrained=first.training != "scratch",
    )
    known = read_document(run.pilot, Pilot) if run.pilot.is_file() else None
    found, arm, assistant = _carry_out(trying, known)
    write_json(run.pilot, found)
    progress.say(f"pilot: {found.why}")
    return settled(planned, _chosen(recipe, arm, assistant), run)


def _chosen(recipe: Recipe, arm: Arm, assistant: str | None) -> Recipe:
    """The recipe with an arm in its place; assistants are trained with the recipe's own objective."""
    own = recipe.stage_for("student", recipe.student.model).objective.model_copy(update={"auto": False})
    fixed = recipe.stage.objective.model_copy(update={"auto": False})
    changes = {
        key: value | ({"objective": {**value["objective"], "auto": False}} if "objective" in value else {})
        for key, value in recipe.overrides.items()
    }
    if arm.name != arms.OWN and arm.objective != own:
        terms = {name: term.model_dump(mode="json") for name, term in active(arm.objective).items()}
        changes["student"] = changes.get("student", {}) | {"objective": terms}
    named = [assistant] if assistant else recipe.assistants if isinstance(recipe.assistants, list) else "none"
    return recipe.model_copy(
        update={
            "stage": recipe.stage.model_copy(update={"objective": fixed}),
            "overrides": changes,
            "guidance": arm.guidance,
            "assistants": named,
        }
    )


def _carry_out(trying: Trying, known: Pilot | None) -> tuple[Pilot, Arm, str | None]:
    """What was tried, the arm that is taken and the assistant that goes with it."""
    recipe, stage = trying.planned.recipe, trying.stage
    assert recipe.pilot != "off"
    own, budget = stage.config.objective, recipe.pilot * stage.epochs
    tried, extra, costs = _arms(trying, known.costs if known else {})
    helper, reserved, note = None, 0.0, None
    if recipe.assistants == "auto":
        helper, reserved, note = _assistant(trying, costs, budget)
    begun = Pilot(share=recipe.pilot, budget=budget, costs=costs)
    write_json(trying.run.pilot, begun)
    joining, plan = _rungs(tried, extra, budget - reserved, stage.epochs) if own.auto else (tried, None)
    plan = plan if own.auto else _alone(budget - reserved, helper)
    if plan is None:
        why = f"{budget - reserved:.1f} epochs are too few to compare anything in; the recipe's own objective stays"
        told = [PilotArm(name="an assistant", objective="", guidance="last", note=note)] if note else []
        return begun.model_copy(update={"chosen": arms.OWN, "why": why, "arms": told}), tried[0], None
    finalists, length = _halve(trying, joining, plan), plan.epochs[-1]
    winner = _best(trying, finalists, length)
    helped, more = None, 0.0
    if helper is not None:
        winner, helped, more, note = _with_assistant(trying, winner, helper, plan)
        more += reserved if more else 0.0
    without = trying.ahead(arms.CONTROL, winner.name, length)
    why = _why(trying, winner, helped, length)
    if without is not None and without["low"] > 0:
        why = f"after {length} epochs no teacher was better by {_signed(without)} than '{winner.name}': none teaches"
        winner, helped = arms.control(own), None
    found = begun.model_copy(
        update={
            "spent": plan.cost + more + sum(extra.get(name, 0.0) * e for name, e in trying.outcomes),
            "seconds": sum(outcome.seconds for outcome in trying.outcomes.values()),
            "arms": _told(trying, tried, helper, note),
            "chosen": winner.name,
            "assistant": helped,
            "why": why,
        }
    )
    _remember(trying, tried, plan)
    return found, winner, helped


def _arms(trying: Trying, costs: dict[str, float]) -> tuple[list[Arm], dict[str, float], dict[str, float]]:
    """The arms in the order in which they are tried, what an epoch of each costs beyond the student's own (in epochs),
    and what was measured for that."""
    recipe, teacher, own = trying.planned.recipe, trying.earlier[0], trying.stage.config.objective
    if not own.auto:
        return [Arm(name=arms.OWN, objective=own)], {}, _measured(trying, costs, view=False)
    steps = len(stones.kept(teacher.folder)) if recipe.guidance == "last" else 0
    costs = _measured(trying, costs, view=steps > 0)
    extra = {}
    if steps:  # the teacher's own answers are needed for the full training anyway, its earlier weights' are not
        ratio = costs["view"] / costs["epoch"]
        extra = {"route": ratio, "snapshots": steps * ratio}
    found = arms.candidates(own, features=not teacher.given, stones=steps > 0)
    gap, views = _features(trying)
    return arms.ordered(found, arms.remembered(), gap=gap, views=views, pretrained=trying.pretrained), extra, costs


def _features(trying: Trying) -> tuple[float, float]:
    """What past pilots are compared by: the logarithms of the gap in parameters and of the samples seen in all."""
    count = len(trying.planned.dataset.splits["train"]) * trying.stage.epochs
    return math.log(max(trying.earlier[0].card.params or trying.params, 1) / trying.params), math.log(count)


def _rungs(tried: list[Arm], extra: dict[str, float], budget: float, epochs: int) -> tuple[list[Arm], Rungs | None]:
    """The arms that there is time for and their rungs, dear targets counted."""
    while True:
        plan = arms.rungs(budget, epochs, len(tried))
        if plan is None:
            return tried, None
        dear = {arm.name: extra[arm.name] for arm in tried[: plan.arms] if arm.name in extra}
        if not dear or plan.cost + sum(plan.epochs) * sum(dear.values()) <= budget:
            return tried[: plan.arms], plan
        tried = [arm for arm in tried if arm.name != max(dear, key=lambda name: dear[name])]


def _measured(trying: Trying, costs: dict[str, float], *, view: bool) -> dict[str, float]:
    """Adds to `costs` what is not known yet of the student's epoch and, for `view`, of the teacher's answers."""
    stage, dataset, device = trying.stage, trying.planned.dataset, trying.device
    found = dict(costs)
    if "epoch" not in found:
        first = begin(trying.planned, stage, stage.seeds[0], device.device, teacher=trying.earlier[0].known)
        found["epoch"] = chain.stage_seconds(
            first, dataset, stage.config, epochs=1, seed=stage.seeds[0], teacher=None, accelerator=device
        )
    if view and "view" not in found:
        own = trying.earlier[0].as_teacher(calibrate=False).in_precision(stage.config.targets.precision)
        found["view"] = targets.seconds_per_view(own, dataset, stage.config.targets, device.device)
    return found


def _assistant(trying: Trying, costs: dict[str, float], budget: float) -> tuple[str | None, float, str | None]:
    """An assistant that there is time for, its cost in epochs of the student, and what has to be said; adds to `costs`."""
    planned, teacher = trying.planned, trying.earlier[0]
    name = assistants.between(teacher, trying.stage.model, trying.params, planned.dataset)
    if name is None:
        return None, 0.0, "no model lies between this teacher and this student"
    stage = _assistants_stage(trying, name)
    if "assistant" not in costs:
        first = begin(planned, stage, stage.seeds[0], trying.device.device, teacher=teacher.known)
        costs["assistant"] = chain.stage_seconds(
            first, planned.dataset, stage.config, epochs=stage.epochs, seed=stage.seeds[0], teacher=None,
            accelerator=trying.device,
        )  # fmt: skip
    price = costs["assistant"] / costs["epoch"]
    if price > MOST * budget:
        return None, 0.0, (
            f"{name} would take as long as {price:.0f} epochs of the student, and the pilot has {budget:.1f} in all"
        )  # fmt: skip
    return name, price, None


def _assistants_stage(trying: Trying, name: str) -> Stage:
    """The stage that an assistant would be, first after the teacher."""
    recipe = trying.planned.recipe.model_copy(update={"assistants": [name], "guidance": "last"})
    return next(s for s in replanned(trying.planned, recipe).stages if s.role == "assistant")


def _alone(budget: float, helper: str | None) -> Rungs | None:
    """Trials of one arm, the control and a student with an assistant, where only the chain is to be chosen."""
    length = int(budget / 4)  # the arm, the control, the assistant's student, and that of all before it
    if helper is None or length < 1:
        return None
    return Rungs(arms=1, epochs=(length,))


def _halve(trying: Trying, tried: list[Arm], plan: Rungs) -> list[Arm]:
    """Runs the rungs and gives the arms on the last one."""
    left = tried
    for rung, epochs in enumerate(plan.epochs):
        last = rung == len(plan.epochs) - 1
        if rung:  # the recipe's own arm stays: what is chosen instead of it has to beat it
            ranked = sorted(left[1:], key=lambda arm: trying.score(arm, plan.epochs[rung - 1]), reverse=True)
            left = [left[0], *ranked[: plan.width(rung) - 1]]
        joined = [*left, arms.control(trying.stage.config.objective)] if last and plan.control else left
        for arm in joined:
            trying.trial(arm, epochs)
    return left


def _best(trying: Trying, finalists: list[Arm], epochs: int) -> Arm:
    """The recipe's own arm, unless another is better beyond chance."""
    own, *others = finalists
    gains = {arm.name: trying.ahead(arm.name, own.name, epochs) for arm in others}
    better = [arm for arm in others if (gain := gains[arm.name]) and gain["low"] > 0]
    return max(better, key=lambda arm: trying.score(arm, epochs), default=own)


def _with_assistant(trying: Trying, winner: Arm, name: str, plan: Rungs) -> tuple[Arm, str | None, float, str | None]:
    """Tries an assistant where the student fits its teacher badly; it is taken where it is better beyond chance.

    Gives the arm that is taken, the assistant's name where it is one, the epochs that its trials cost (0: not tried),
    and what has to be said of it.
    """
    length = plan.epochs[-1]
    fits = trying.agreement(trying.outcomes[winner.name, length])
    if fits is not None and fits >= FITS:
        return winner, None, 0.0, f"not tried: the student names its teacher's class on {fits:.2f} of validation"
    stage = _assistants_stage(trying, name)
    # Not among the run's stages: it may be refused. Where it is taken, its stage finds it in the cache.
    folder = trying.run.path / "pilot" / f"assistant-{slug(name)}"
    result = chain.finished(folder)
    if result is None:
        first = begin(trying.planned, stage, stage.seeds[0], trying.device.device, teacher=trying.earlier[0].known)
        result, _ = train_one(
            trying.planned,
            trying.run,
            stage,
            first,
            stage.seeds[0],
            trying.earlier,
            folder,
            trying.device,
            trying.progress,
        )
    earlier, cost = [*trying.earlier, result], 0.0
    table = isinstance(trying.earlier[0].as_teacher(calibrate=False), TableTeacher)
    ways: tuple[Guidance, ...] = ("last",) if table else ("last", "all")
    for guidance in ways:
        arm = replace(winner, name=f"{name}, {_GUIDED[guidance]}", guidance=guidance)
        trying.trial(arm, length, earlier)
        cost += length
        gain = trying.ahead(arm.name, winner.name, length)
        if gain is not None and gain["low"] > 0:
            return arm, name, cost, None
    return winner, None, cost, "its student was not better beyond chance"


_GUIDED: dict[Guidance, str] = {"last": "teaching", "all": "teaching beside the teacher"}


def _why(trying: Trying, winner: Arm, helped: str | None, epochs: int) -> str:
    text = f"'{winner.name}' is better after {epochs} epochs, beyond chance"
    if winner.name == arms.OWN:
        text = f"nothing was better than the recipe's own after {epochs} epochs, beyond chance"
    if helped:
        text = f"'{winner.name}' was better than the teacher alone after {epochs} epochs, beyond chance"
    own = trying.ahead(winner.name, arms.OWN, epochs) if winner.name != arms.OWN else None
    none = trying.ahead(winner.name, arms.CONTROL, epochs)
    text += f" ({_signed(own)} against the recipe's own)" if own else ""
    return text + (f", {_signed(none)} against no teacher" if none else "")


def _signed(gain: dict[str, float]) -> str:
    """In points, with the interval."""
    return f"{100 * gain['mean']:+.1f} [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]"


def _told(trying: Trying, tried: Sequence[Arm], helper: str | None, note: str | None) -> list[PilotArm]:
    """Every arm with its trials, for the document."""
    known = [*tried, arms.control(trying.stage.config.objective)]
    names = [arm.name for arm in known]
    later = [name for name, _ in trying.outcomes if name not in names]
    own = trying.stage.config.objective
    known += [Arm(name=name, objective=own, guidance="last") for name in dict.fromkeys(later)]
    found = []
    for arm in known:
        rows = sorted(epochs for name, epochs in trying.outcomes if name == arm.name)
        found.append(
            PilotArm(
                name=arm.name,
                objective=" + ".join(f"{t.weight:g} {n}" for n, t in active(arm.objective).items()),
                guidance=arm.guidance if arm.taught else "none",
                trials=[trying.row(arm.name, epochs) for epochs in rows],
                note=None if rows else "not tried: no time",
                ahead=trying.ahead(arm.name, arms.OWN, rows[-1]) if rows and arm.name != arms.OWN else None,
            )
        )
    if note:
        name = f"assistant {helper}" if helper else "an assistant"
        found.append(PilotArm(name=name, objective="", guidance="last", note=note))
    return found


def _remember(trying: Trying, tried: Sequence[Arm], plan: Rungs) -> None:
    """Notes what the arms gained over the recipe's own, each at the longest length that both were tried at."""
    stage = trying.stage
    gains = {}
    for arm in tried[1:]:
        for epochs in reversed(plan.epochs):
            gain = trying.ahead(arm.name, arms.OWN, epochs)
            if gain is not None:
                gains[arm.name] = gain["mean"]
                break
    if gains and stage.config.objective.model_copy(update={"auto": False}) == StageConfig().objective:
        gap, views = _features(trying)
        arms.remember(PastPilot(gap=gap, views=views, pretrained=trying.pretrained, gains=gains))
