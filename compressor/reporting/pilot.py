"""What a run's pilot tried and chose, for the report. No torch."""

from __future__ import annotations

from compressor.distillation.document import Pilot, PilotArm
from compressor.files import read_document
from compressor.reporting.document import Report
from compressor.runfolder import RunFolder

COLUMNS = ("arm", "objective", "taught by", "epochs", "validation top-1", "names the teacher's class",
           "ahead of the recipe's own", "training")  # fmt: skip

WAYS = {
    "last": "the model before it", "all": "all models before it", "route": "the teacher's earlier weights in turn",
    "snapshots": "the mean of the teacher's earlier weights", "none": "–",
}  # fmt: skip
"""Guidance → who teaches, for people."""


def pilot_of(run: RunFolder) -> Pilot | None:
    """The run's pilot; None without one, or before it has chosen."""
    found = read_document(run.pilot, Pilot) if run.pilot.is_file() else None
    return found if found and found.chosen else None


def line(report: Report) -> str | None:
    """What it chose, why, and what it took; None without one."""
    found = report.pilot
    if found is None:
        return None
    helped = f" with {found.assistant} as assistant" if found.assistant else ""
    return (
        f"The pilot chose '{found.chosen}'{helped}: {found.why}. It took {found.spent:.1f} of the {found.budget:.1f} epochs "
        f"of the student that it was given ({100 * found.share:.0f} % of its training), {found.seconds / 60:.1f} min of "
        "training. All of it was decided on validation."
    )


def table(found: Pilot) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and lines: an arm each, at its longest trials; what was not tried last."""
    arms = sorted(found.arms, key=lambda arm: (-_longest(arm), -_mean(arm)))
    return COLUMNS, [_line(arm) for arm in arms]


def _longest(arm: PilotArm) -> int:
    return max((trial.epochs for trial in arm.trials), default=0)


def _mean(arm: PilotArm) -> float:
    last = [trial.top1 for trial in arm.trials if trial.epochs == _longest(arm)]
    return sum(last) / len(last) if last else 0.0


def _line(arm: PilotArm) -> tuple[str, ...]:
    if not arm.trials:
        return (arm.name, arm.objective or "–", WAYS.get(arm.guidance, "–"), "–", arm.note or "–", "–", "–", "–")
    last = [trial for trial in arm.trials if trial.epochs == _longest(arm)]
    agreed = [trial.agreement for trial in last if trial.agreement is not None]
    ahead = arm.ahead
    return (
        arm.name, arm.objective, WAYS.get(arm.guidance, arm.guidance),
        " → ".join(str(epochs) for epochs in sorted({trial.epochs for trial in arm.trials}))
        + (f" ({len(last)} seeds)" if len(last) > 1 else ""),
        f"{_mean(arm):.3f}",
        f"{sum(agreed) / len(agreed):.3f}" if agreed and arm.guidance != "none" else "–",
        f"{100 * ahead['mean']:+.1f} pt ({100 * ahead['low']:+.1f} … {100 * ahead['high']:+.1f})" if ahead else "–",
        f"{sum(trial.seconds for trial in arm.trials):.0f} s",
    )  # fmt: skip
