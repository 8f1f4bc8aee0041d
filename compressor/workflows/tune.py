"""`tune`: the objective's temperatures and weights, searched on validation with optuna; the test split is not read.

The study lies in the run folder as SQLite; a stopped search goes on where it was, in the middle of a trial too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from compressor import runfolder
from compressor.data.kind import kind_of
from compressor.display import surroundings
from compressor.distillation import trials
from compressor.distillation.accelerator import accelerator
from compressor.distillation.chain import Result
from compressor.distillation.document import Tuning
from compressor.errors import CompressorError, UsageError
from compressor.files import write_json, write_text
from compressor.objectives.config import ObjectiveConfig
from compressor.objectives.objective import active
from compressor.options import Settings, options, spelled, within
from compressor.packages import require
from compressor.progress import Progress
from compressor.recipe import Recipe
from compressor.reporting import screen
from compressor.reporting.screen import Block, Shown
from compressor.runfolder import RunFolder
from compressor.seeds import derive_seed, leaves_no_trace
from compressor.workflows.choose import choose
from compressor.workflows.distill import dataset_entry, same_data
from compressor.workflows.plan import (
    Plan,
    Stage,
    begin,
    make_plan,
    run_name,
)
from compressor.workflows.teaching import decide_precision, learning_from
from compressor.workflows.train import train

TEMPERATURES = (1.0, 10.0)
ALPHAS = (0.02, 0.9)
SPREAD = 5.0
"""Weights are searched from a fifth to five times the recipe's."""


@dataclass(frozen=True, kw_only=True)
class TuneResult(Shown):
    """A finished search."""

    run: Path
    """Its folder."""
    recipe: Path
    """The recipe with what was found."""
    document: Tuning
    """`tune.json`."""

    def blocks(self) -> list[Block]:
        """The best trials."""
        return screen.tuning(self.document)


@leaves_no_trace
def tune(
    *,
    teacher: str | Path | None = None,
    student: str | None = None,
    data: str | Path | None = None,
    recipe: Recipe | str | Path | None = None,
    assistants: str | Sequence[str] | None = None,
    trials: int = 20,
    epochs: int | None = None,
    limit: int | None = None,
    seed: int | None = None,
    device: str = "auto",
    settings: Settings | None = None,
    name: str | None = None,
    resume: str | Path | None = None,
    progress: Progress | None = None,
    command: str | None = None,
    task: str | None = None,
) -> TuneResult:
    """Searches the objective's temperatures and weights on validation and writes a recipe with what was found.

    Args: the options of `compress tune`; `recipe`, `settings`, `progress` and `command` as in `distill`.

    Raises:
        UsageError, RecipeError, DataError: something given is wrong; nothing was started.
        CompressorError: no trial came to its end.
    """
    within("trials", trials, 1, 10_000)
    require("torch", "torchvision", "timm", "accelerate", "safetensors", "optuna")
    progress = progress or surroundings()
    given = options(
        teacher=teacher, student=student, data=data, assistants=assistants, epochs=epochs, limit=limit, seed=seed,
        task=task,
    )  # fmt: skip
    own = accelerator(device)
    chosen, stopped = choose(recipe, given, settings, resume, search=True)
    planned = make_plan(chosen, progress)
    run = stopped or runfolder.create(name or f"{run_name(planned)}-tune")
    progress.say(f"run folder: {run.path}")
    try:
        with run.held():
            found = search(planned, run, trials, own, progress, command=command or spelled("tune", given, settings))
    except KeyboardInterrupt:
        progress.say(f"stopped; continue with: compress tune --resume {run.path} --trials {trials}")
        raise
    return TuneResult(run=run.path, recipe=Path(found.recipe), document=found)


def search(
    planned: Plan, run: RunFolder, trials: int, device: Accelerator, progress: Progress, *, command: str | None = None
) -> Tuning:
    """Searches until the study has `trials` trials; writes `tune.json` and the recipe `tuned.yaml`.

    The first trial is the recipe's own objective, so that what is found is never worse on validation.

    Args:
        planned: its last stage of role `student` is what is trained, one seed.
        run: holds the study; its teacher (and assistants) are trained first where they are not there.
        trials: pruned ones count.

    Raises:
        UsageError: the objective searched would be overruled by an override; or the data are no longer the run's.
        CompressorError: no trial came to its end.
    """
    import optuna

    _check(planned.recipe)
    planned = replace(planned, dataset=planned.dataset.keeping(progress))
    same_data(run, planned.dataset)
    if not run.recipe.is_file():
        write_text(run.recipe, planned.recipe.to_yaml())
        run.update(command=command)
    run.update(name=run.path.name, status="tuning", dataset=dataset_entry(planned.dataset))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    teachers = tuple(s for s in planned.stages if s.role in ("member", "teacher", "assistant"))
    _, found = train(replace(planned, stages=teachers), run, device, progress)
    earlier = [found[s.role, s.seeds[0]].pop(0) for s in teachers if s.role != "member"]
    planned = decide_precision(planned, run, earlier[-1], device, progress)
    kind = kind_of(planned.dataset.modality)
    planned = replace(planned, dataset=kind.prepared(planned.dataset, earlier[-1].card.preprocessing, progress))
    stage = planned.stage("student")
    assert stage is not None
    study = optuna.create_study(
        storage=f"sqlite:///{run.path / 'tune.db'}",
        study_name="tune",
        load_if_exists=True,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=max(1, stage.epochs // 3)),
    )
    # A search that goes on must not draw again what it drew before it was stopped.
    seed = derive_seed(planned.recipe.seed, "tune", len(study.trials)) % 2**32
    study.sampler = optuna.samplers.TPESampler(seed=seed)
    own = stage.config.objective
    _enqueue_stopped(study, _values(own))

    def attempt(trial: Any) -> float:
        return _attempt(trial, planned, stage, earlier, run, device, progress)

    while (left := trials - len(_counted(study))) > 0:
        study.optimize(attempt, n_trials=1)
        _say(study, left, trials, progress)
    written = _write(planned.recipe, run, earlier[0], study, own)
    run.update(status="tuned")
    return written


def _enqueue_stopped(study: Any, own: dict[str, float]) -> None:
    """Puts the recipe's own values first in a new study, and in an old one what was stopped in the middle."""
    from optuna.trial import TrialState

    if not study.trials:
        study.enqueue_trial(own)
    for stopped in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(stopped.number, state=TrialState.FAIL)
    known = [t.params for t in _counted(study)]
    known += [t.system_attrs["fixed_params"] for t in study.get_trials(states=(TrialState.WAITING,))]
    for stopped in study.get_trials(states=(TrialState.FAIL,)):
        params = stopped.params or stopped.system_attrs.get("fixed_params", {})
        if params and params not in known:
            study.enqueue_trial(params)
            known.append(params)


def _check(recipe: Recipe) -> None:
    for name, change in recipe.overrides.items():
        if "objective" in change:
            raise UsageError(
                f"tune searches stage.objective, and overrides.{name}.objective would overrule it: drop it"
            )


def _say(study: Any, left: int, trials: int, progress: Progress) -> None:
    last = study.trials[-1]
    outcome = "stopped early" if last.value is None or last.state.name == "PRUNED" else f"{last.user_attrs['top1']:.4f}"
    progress.say(f"trial {trials - left + 1}/{trials}: {describe(last.params)} → validation {outcome}")


def _attempt(
    trial: Any,
    planned: Plan,
    stage: Stage,
    earlier: Sequence[Result],
    run: RunFolder,
    device: Accelerator,
    progress: Progress,
) -> float:
    """One training of the student; accuracy on validation, of which less than one row is the NLL's to decide."""
    import optuna

    objective = suggest(trial, stage.config.objective)
    config = stage.config.model_copy(update={"objective": objective})
    # Named by what is tried: a trial that was stopped finds its state again.
    digest = hashlib.blake2b(json.dumps(trial.params, sort_keys=True).encode(), digest_size=6).hexdigest()
    folder = run.path / "trials" / digest
    first = begin(planned, stage, stage.seeds[0], device.device, teacher=earlier[0].known)
    dataset, source = learning_from(planned, replace(stage, config=config), first, earlier, device, progress)
    rows = len(dataset.splits["validation"]) * dataset.rows

    def watch(record: dict[str, Any]) -> None:
        seen = trials.score(record["validation_top1"], record["validation_nll"], rows, tokens=dataset.tokens)
        trial.report(seen, record["epoch"])
        if record["epoch"] < stage.epochs and trial.should_prune():
            raise optuna.TrialPruned

    try:
        found = trials.run(
            first, dataset, config, label=f"trial {trial.number}", epochs=stage.epochs, seed=stage.seeds[0],
            teacher=source, folder=folder, accelerator=device, progress=progress, watch=watch,
        )  # fmt: skip
    except CompressorError as error:  # a loss that is no longer finite says that these values are bad
        trial.set_user_attr("error", str(error))
        raise optuna.TrialPruned from error
    trial.set_user_attr("top1", found.top1)
    trial.set_user_attr("nll", found.nll)
    return found.score


def _space(objective: ObjectiveConfig) -> dict[str, tuple[float, float, bool]]:
    """Searched values by name: low, high, logarithmic."""
    terms = active(objective)
    space: dict[str, tuple[float, float, bool]] = {}
    tied = {"ce", "kd"} <= terms.keys()
    if tied:
        space["alpha"] = (*ALPHAS, False)
    for name, term in terms.items():
        if not (tied and name in ("ce", "kd")):
            space[f"{name}.weight"] = (term.weight / SPREAD, term.weight * SPREAD, True)
        if hasattr(term, "temperature"):
            space[f"{name}.temperature"] = (*TEMPERATURES, True)
    return space


def _values(objective: ObjectiveConfig) -> dict[str, float]:
    """The objective's own values in the search's terms, moved into its bounds."""
    terms = active(objective)
    values = {}
    for name, (low, high, _) in _space(objective).items():
        if name == "alpha":
            value = terms["ce"].weight / (terms["ce"].weight + terms["kd"].weight)
        else:
            term, _, key = name.partition(".")
            value = getattr(terms[term], key)
        values[name] = min(max(value, low), high)
    return values


def suggest(trial: Any, objective: ObjectiveConfig) -> ObjectiveConfig:
    """The objective with a trial's temperatures and weights; `ce` and `kd` share one alpha (Hinton's)."""
    values = {
        name: trial.suggest_float(name, low, high, log=log) for name, (low, high, log) in _space(objective).items()
    }
    return with_values(objective, values)


def with_values(objective: ObjectiveConfig, values: dict[str, float]) -> ObjectiveConfig:
    """The objective with searched values put in their places."""
    document = objective.model_dump()
    for name, value in values.items():
        if name == "alpha":
            document["ce"]["weight"], document["kd"]["weight"] = value, 1 - value
        else:
            term, _, key = name.partition(".")
            document[term][key] = value
    return ObjectiveConfig.model_validate(document)


def describe(values: dict[str, float]) -> str:
    """Searched values for a line on the screen."""
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items())


def _counted(study: Any) -> list[Any]:
    return [t for t in study.trials if t.state.name in ("COMPLETE", "PRUNED")]


def _write(recipe: Recipe, run: RunFolder, first: Result, study: Any, own: ObjectiveConfig) -> Tuning:
    if all(t.state.name == "PRUNED" for t in _counted(study)):
        raise CompressorError(
            f"no trial came to its end: {study.trials[-1].user_attrs.get('error', 'all stopped early')}"
        )
    best = study.best_trial
    chosen = with_values(own, {name: float(f"{value:.4g}") for name, value in best.params.items()})
    tuned = recipe.model_copy(
        update={
            # Trained once: what learns from it later takes it from here.
            "teacher": recipe.teacher.model_copy(update={"model": str(first.folder)}),
            "stage": recipe.stage.model_copy(update={"objective": chosen}),
        }
    )
    write_text(run.path / "tuned.yaml", tuned.to_yaml())
    found = Tuning.model_validate({
        "recipe": str(run.path / "tuned.yaml"),
        "best": {"params": best.params, "top1": best.user_attrs["top1"], "nll": best.user_attrs["nll"]},
        "own": {"params": study.trials[0].params, **_first(study)},
        "trials": [
            {"number": t.number, "state": t.state.name.lower(), "params": t.params, **t.user_attrs}
            for t in _counted(study)
        ],
    })  # fmt: skip
    write_json(run.path / "tune.json", found)
    return found


def _first(study: Any) -> dict[str, float | None]:
    seen = next((t for t in study.trials if t.state.name == "COMPLETE" and t.params == study.trials[0].params), None)
    return {key: seen.user_attrs[key] if seen else None for key in ("top1", "nll")}
