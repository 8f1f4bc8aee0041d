"""The trials of one pilot: how an arm is tried, and how two are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from accelerate import Accelerator

from compressor.distillation import trials
from compressor.distillation.arms import Arm
from compressor.distillation.chain import Result
from compressor.distillation.document import PilotTrial
from compressor.distillation.trials import Outcome
from compressor.evaluation import metrics
from compressor.progress import Progress
from compressor.runfolder import RunFolder, slug
from compressor.workflows.plan import Plan, Stage, begin
from compressor.workflows.teaching import learning_from


@dataclass(frozen=True, kw_only=True)
class Trying:
    """What all trials of a pilot have in common, and what they came to."""

    planned: Plan
    stage: Stage
    run: RunFolder
    earlier: Sequence[Result]
    device: Accelerator
    progress: Progress
    params: int
    """Of the student."""
    pretrained: bool
    """Whether it starts from trained weights."""
    outcomes: dict[tuple[str, int], Outcome] = field(default_factory=dict)
    """(arm's name, epochs) → what it came to."""

    def trial(self, arm: Arm, epochs: int, earlier: Sequence[Result] | None = None) -> Outcome:
        """One trial; `earlier` where an assistant joins the chain."""
        seed = self.stage.seeds[0]
        folder = self.run.path / "pilot" / f"{slug(arm.name)}-{epochs}"
        if (found := trials.ended(folder)) is None:
            with self.run.timed("pilot"):
                found = self._trained(arm, epochs, seed, folder, earlier or self.earlier)
        self.progress.say(f"pilot: {arm.name} · {epochs} epoch(s) · validation {found.top1:.3f}")
        self.outcomes[arm.name, epochs] = found
        return found

    def _trained(self, arm: Arm, epochs: int, seed: int, folder: Path, earlier: Sequence[Result]) -> Outcome:
        warmup = self.stage.config.warmup_epochs * epochs / self.stage.epochs
        config = self.stage.config.model_copy(update={"objective": arm.objective, "warmup_epochs": warmup})
        stage = replace(self.stage, config=config, epochs=epochs)
        recipe = self.planned.recipe.model_copy(update={"guidance": arm.guidance})
        planned = replace(self.planned, recipe=recipe)
        first = begin(planned, stage, seed, self.device.device, teacher=self.earlier[0].known)
        dataset, teacher = planned.dataset, None
        if arm.taught:
            dataset, teacher = learning_from(planned, stage, first, earlier, self.device, self.progress)
        return trials.run(
            first, dataset, config, label=f"pilot: {arm.name}", epochs=epochs, seed=seed, teacher=teacher,
            folder=folder, accelerator=self.device, progress=self.progress,
        )  # fmt: skip

    def ahead(self, one: str, other: str, epochs: int) -> dict[str, float] | None:
        """How much more often `one` is right than `other` after the same epochs; None where one was not tried.

        The interval is over samples: what another training of both would give it does not know.
        """
        both = [self.outcomes.get((name, epochs)) for name in (one, other)]
        right = [(o.seen.logits.argmax(axis=1) == o.seen.labels)[None] for o in both if o is not None]
        return metrics.training_gain(*right) if len(right) == 2 else None

    def agreement(self, outcome: Outcome) -> float | None:
        """Share of validation on which a student names its first teacher's class; None where that one says nothing."""
        said = self.earlier[0].validation.logits
        return metrics.agreement(said, outcome.seen.logits) if len(said) == len(outcome.seen.logits) else None

    def score(self, arm: Arm, epochs: int) -> float:
        """What arms are ordered by."""
        return self.outcomes[arm.name, epochs].score

    def row(self, name: str, epochs: int) -> PilotTrial:
        """A trial for the document."""
        one = self.outcomes[name, epochs]
        return PilotTrial(
            epochs=epochs, seed=self.stage.seeds[0], top1=one.top1, nll=one.nll, agreement=self.agreement(one),
            seconds=one.seconds,
        )  # fmt: skip
