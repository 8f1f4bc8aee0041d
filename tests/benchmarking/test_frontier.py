"""What fits a budget, and who is on the frontier: rules on figures that are made up."""

from __future__ import annotations

import pytest

from compressor.benchmarking import frontier
from compressor.benchmarking.students import Candidate, Limits, Standing, StudentFile


def file(
    p50: float, megabytes: float = 1.0, *, precision: str = "fp32", high: float | None = None, memory: float = 80.0
) -> StudentFile:
    interval = None if high is None else (2 * p50 - high, high)
    return StudentFile(
        precision=precision, bytes=int(megabytes * 1e6), p50_ms=p50, p50_interval_ms=interval, peak_rss_mb=memory,
        processes=5,
    )  # fmt: skip


def candidate(name: str, top1: float | None, *files: StudentFile, standing: Standing = "fits") -> Candidate:
    return Candidate(name=name, published=top1, expected=top1, params=1_000_000, files=list(files), standing=standing)


def standings(found: list[Candidate]) -> dict[str, str]:
    return {one.name: one.standing for one in found}


def test_a_latency_fits_by_the_upper_end_of_its_interval() -> None:
    limits = Limits(max_latency_ms=5.0)
    assert frontier.fitting(candidate("a", 0.7, file(4.8, high=4.99)), limits)
    assert not frontier.fitting(candidate("a", 0.7, file(4.8, high=5.01)), limits)
    assert frontier.fitting(candidate("a", 0.7, file(5.0, high=5.0)), limits)


def test_a_median_above_its_own_interval_counts() -> None:
    """The median is over all calls, the interval over processes' medians: the one may lie outside the other."""
    one = file(5.1).model_copy(update={"p50_interval_ms": (4.8, 4.9)})
    assert not frontier.fitting(candidate("a", 0.7, one), Limits(max_latency_ms=5.0))


def test_nothing_keeps_to_a_limit_that_there_is_no_figure_for() -> None:
    limits = Limits(max_latency_ms=5.0, max_memory_mb=100.0)
    untold = file(2.0).model_copy(update={"peak_rss_mb": None})  # as on Windows
    (found,) = frontier.judged([candidate("a", 0.7, untold)], limits)
    assert (found.standing, found.why) == ("over", "fp32: its memory can't be measured here")
    assert frontier.keeps(untold, Limits(max_latency_ms=5.0))


def test_what_is_hardly_over_is_told_from_what_fits() -> None:
    assert frontier.over(file(5.002), Limits(max_latency_ms=5.0)) == "fp32: 5.00 ms, 1.0004 times 5 ms"


def test_every_limit_counts_and_one_file_has_to_keep_to_all() -> None:
    limits = Limits(max_latency_ms=5.0, max_size_mb=4.0, max_memory_mb=100.0)
    slow_and_small, fast_and_large = file(6.0, 1.0, precision="int8"), file(2.0, 9.0)
    assert frontier.fitting(candidate("a", 0.7, slow_and_small, fast_and_large), limits) == []
    assert frontier.fitting(candidate("a", 0.7, file(2.0, 3.0, memory=101.0)), limits) == []
    assert frontier.fitting(candidate("a", 0.7, file(2.0, 3.0, memory=99.0)), limits)
    assert frontier.fitting(candidate("a", 0.7, file(2.0, 3.0)), Limits(precisions=["int8"])) == []


def test_whoever_is_slower_with_a_worse_prior_is_not_on_the_frontier() -> None:
    limits = Limits(max_latency_ms=10.0)
    found = frontier.judged(
        [
            candidate("fast", 0.60, file(1.0)),
            candidate("good", 0.75, file(4.0)),
            candidate("dominated", 0.60, file(3.0)),
            candidate("nearly as good", 0.743, file(4.5)),
            candidate("unknown", None, file(9.0)),
            candidate("slow", 0.90, file(11.0)),
        ],
        limits,
    )
    assert standings(found) == {
        "good": "frontier", "nearly as good": "frontier", "fast": "frontier", "unknown": "frontier",
        "dominated": "frontier", "slow": "over",
    }  # fmt: skip
    # `fast` is faster than `dominated` and no better: it takes a prior that is better by more than `SLACK`.
    found = frontier.judged([candidate("a", 0.60, file(3.0)), candidate("b", 0.65, file(1.0))], limits)
    assert standings(found) == {"b": "frontier", "a": "fits"}
    assert "b is faster" in found[1].why


def test_what_is_over_the_budget_dominates_nobody() -> None:
    found = frontier.judged(
        [candidate("big", 0.9, file(1.0, 9.0)), candidate("small", 0.6, file(3.0, 1.0))], Limits(max_size_mb=4.0)
    )
    assert standings(found) == {"small": "frontier", "big": "over"}
    assert "9.00 MB of file, 2.25 times 4 MB" in found[1].why


def test_a_quick_look_ends_only_what_is_far_over() -> None:
    limits = Limits(max_latency_ms=5.0, max_size_mb=4.0)
    assert frontier.hopeless(file(6.6), limits)
    assert not frontier.hopeless(file(6.4), limits)
    assert frontier.hopeless(file(1.0, 4.01), limits), "bytes are exact"


def test_the_nearest_is_named_with_by_how_much() -> None:
    limits = Limits(max_latency_ms=1.0, max_size_mb=4.0)
    over = [candidate("a", 0.6, file(3.0, 1.0)), candidate("b", 0.6, file(1.5, 2.0, high=1.6)),
            candidate("c", 0.6, file(0.5, 8.0))]  # fmt: skip
    said = frontier.nearest(frontier.judged(over, limits), limits)
    assert said == "the nearest is b (fp32: 1.50 ms (up to 1.60), 1.60 times 1 ms)"
    said = frontier.nearest([candidate("d", 0.5, standing="too large")], Limits(max_size_mb=0.1))
    assert said == "the nearest is d (int8: at least 0.90 MB by its 1.00 M parameters, 9.00 times 0.1 MB)"


def test_without_a_published_figure_a_model_is_expected_to_be_as_good_as_others_of_its_cost() -> None:
    known = [(10**6, 0.5), (10**8, 0.7)]
    one = Candidate(name="a", macs=10**7)
    (found,) = frontier.expected([one], known)
    assert found.expected == pytest.approx(0.6)
    assert found.published is None
    (found,) = frontier.expected([one.model_copy(update={"published": 0.9})], known)
    assert found.expected == 0.9
