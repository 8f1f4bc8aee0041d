"""The chain of a plan, stage by stage: what is finished is read back, the rest is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from accelerate import Accelerator

from compressor.data.dataset import Dataset
from compressor.data.kind import kind_of
from compressor.distillation import chain
from compressor.distillation.chain import Result
from compressor.progress import Progress
from compressor.runfolder import RunFolder
from compressor.workflows import pilot, selecting
from compressor.workflows.plan import Plan, Stage, begin, settle
from compressor.workflows.ship import Results
from compressor.workflows.teaching import as_long_as_taught, decide_precision, introduction, train_one


def train(planned: Plan, run: RunFolder, device: Accelerator, progress: Progress) -> tuple[Plan, Results]:
    """Every stage's result, (role, seed) → results, and the plan with what was settled on the way.

    Finished stages are read back, not repeated.
    """
    assert planned.recipe.threads != "auto"
    torch.set_num_threads(planned.recipe.threads)
    results: Results = {}
    prepared: dict[str, Dataset] = {}
    earlier: list[Result] = []
    index = 0
    while index < len(planned.stages):  # the pilot may add some
        if earlier:
            planned = decide_precision(planned, run, earlier[0], device, progress)
        if planned.stages[index].role not in ("member", "teacher"):  # what is still to be chosen is chosen now
            planned = selecting.choose(planned, run, earlier, device, progress)
            planned = pilot.choose(planned, run, earlier, device, progress)
        for seed in planned.stages[index].seeds:
            stage = planned.stages[index]  # what one seed settles holds for the next
            folder = run.stage(stage.index, stage.role, stage.model, seed)
            result = chain.finished(folder)
            if result is None:
                result, planned = _trained(planned, run, stage, seed, earlier, results, prepared, device, progress)
            else:
                progress.say(f"{stage.role} {result.card.architecture.name} · seed {seed}: already finished")
            results.setdefault((stage.role, seed), []).append(result)
            if stage.role in ("teacher", "assistant", "member"):
                earlier += [result] if stage.role != "member" else []
                progress.say(
                    introduction(
                        stage.role, result, calibrated=planned.recipe.teacher.calibrate, tokens=planned.dataset.tokens
                    )
                )
        index += 1
    return planned, results


def _trained(
    planned: Plan,
    run: RunFolder,
    stage: Stage,
    seed: int,
    earlier: Sequence[Result],
    results: Results,
    prepared: dict[str, Dataset],
    device: Accelerator,
    progress: Progress,
) -> tuple[Result, Plan]:
    """A stage with one seed, and the plan with what was settled for it; `prepared` are the data by view key."""
    folder = run.stage(stage.index, stage.role, stage.model, seed)
    known = chain.begun(folder)
    # Weights that are trained already come from the save: nothing is fetched for them, or tried again.
    init = "scratch" if known else None
    first = begin(
        planned,
        stage,
        seed,
        device.device,
        results.get(("member", seed), []),
        init=init,
        teacher=earlier[0].known if earlier else None,
    )
    if first.notice:
        progress.say(first.notice)
    if stage.role == "student" and not known and planned.recipe.student.init == "auto":
        planned = settle(planned, run, {"student": {"init": first.origin}})
    sees = earlier[-1].card.preprocessing if earlier else first.preprocessing
    if sees.view_key not in prepared:  # opening a store reads all of it to check it: once is enough
        kind = kind_of(planned.dataset.modality)
        prepared[sees.view_key] = kind.prepared(planned.dataset, sees, progress)
        planned = settle(planned, run, {"data": kind.settled(prepared[sees.view_key])})
    own = replace(planned, dataset=prepared[sees.view_key])
    if stage.role == "baseline" and earlier:
        stage = as_long_as_taught(own, stage, earlier[-1], device)
    result, settled = train_one(own, run, stage, first, seed, earlier, folder, device, progress)
    return result, replace(settled, dataset=planned.dataset)
