"""What a report says of language models: help by seed and stretch, verdicts of files, warnings."""

from __future__ import annotations

import numpy as np
import pytest

from compressor.benchmarking import verdict
from compressor.benchmarking.compare import Ratio
from compressor.reporting import comparison, language
from compressor.reporting.document import ComparedRun, Comparison
from compressor.runnote import ArchitectureNote, LanguageFigures, StageNote


def figures(nll: float, rng: np.random.Generator, *, spread: float = 0.02, blocks: int = 64) -> LanguageFigures:
    """On a text whose stretches are as hard for everybody, but for some noise."""
    own = nll + np.linspace(-1, 1, blocks) + spread * rng.standard_normal(blocks)
    mean = float(own.mean())
    return LanguageFigures(
        nll=mean, perplexity=float(np.exp(mean)), bits_per_byte=mean / 2, tokens=6400, bytes=20_000, length=128,
        stride=64, blocks=own.tolist(),
    )  # fmt: skip


def notes(student: list[float], baseline: list[float]) -> list[StageNote]:
    rng = np.random.default_rng(0)
    return [
        StageNote(
            architecture=ArchitectureNote(name="x"), role=role, origin="scratch", seed=seed, train_seconds=30.0,
            language={"test": figures(nll, rng)},
        )
        for role, each in (("student", student), ("baseline", baseline))
        for seed, nll in enumerate(each)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("student", "baseline", "told"),
    [
        ([3.00, 3.01, 2.99], [3.20, 3.21, 3.19], "helped"),
        ([3.20, 3.21, 3.19], [3.00, 3.01, 2.99], "hurt"),
        ([3.0, 3.3, 3.1], [3.1, 3.0, 3.3], "no difference"),
        ([3.0], [3.2], "one training"),
    ],
)
def test_the_help_is_judged_by_seed_and_stretch(student: list[float], baseline: list[float], told: str) -> None:
    found = language.help_of(notes(student, baseline))
    assert found is not None
    assert found.interval is not None
    low, high = found.interval
    assert found.verdict == told
    assert found.difference_mean == pytest.approx(np.mean(student) - np.mean(baseline), abs=0.02)
    assert low < found.difference_mean < high
    assert found.three_seeds_seconds == (120 if told == "one training" else None)


def test_without_a_baseline_or_of_classifiers_there_is_no_help_of_that_kind() -> None:
    assert language.help_of(notes([3.0], [])) is None
    assert language.help_of([one.model_copy(update={"language": {}}) for one in notes([3.0], [3.1])]) is None
    shared = language.help_of(notes([3.0, 9.0], [2.9]))
    assert shared is not None
    assert (shared.seeds, shared.verdict) == ([0], "one training")
    assert shared.difference_mean == pytest.approx(0.1, abs=0.02)


def judged(own: LanguageFigures, other: LanguageFigures, speed: str = "faster") -> tuple[str, str]:
    ratio = {"faster": Ratio(0.5, 0.48, 0.52, "faster"), "slower": Ratio(2.0, 1.9, 2.1, "slower")}[speed]
    return verdict.judge(speed=ratio, size=0.5, memory=None, accuracy=verdict.told(own, other))


def test_a_file_is_worth_it_by_time_for_a_token_and_perplexity() -> None:
    rng = np.random.default_rng(1)
    teacher = figures(3.0, rng)
    worth, reasons = judged(figures(3.2, rng), teacher)
    assert worth == "a trade"
    assert f"perplexity {np.exp(3.2):.1f}"[:-1] in reasons
    assert judged(figures(2.9, rng), teacher)[0] == "worth it"
    worth, reasons = judged(figures(3.0, rng, spread=0.5), teacher)
    assert worth == "worth it"
    assert "within noise" in reasons
    assert judged(figures(2.9, rng), teacher, "slower")[0] == "not worth it"
    assert judged(figures(3.2, rng, blocks=32), teacher)[0] == "undecided", "other stretches are not compared"


@pytest.mark.parametrize(("masked", "shown"), [(False, "time per token p50"), (True, "latency p50")])
def test_runs_side_by_side_say_what_their_time_is_of(masked: bool, shown: str) -> None:
    run = ComparedRun(
        run="runs/a", name="a", status="done", student="layers:1", top1=None, top1_std=None, teacher=None,
        teacher_top1=None, help=None, bytes=None, p50_ms=1.5, peak_rss_mb=None, perplexity=20.0, masked=masked,
    )  # fmt: skip
    columns, (line,) = comparison.table(Comparison(runs=[run]))
    assert line[columns.index(shown)] == "1.500 ms"
    assert line[columns.index("perplexity")] == "20.00"
