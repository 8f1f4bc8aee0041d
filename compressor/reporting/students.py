"""What a budget leaves of the candidates for the student: a table, a plot of speed against the prior, a page."""

from __future__ import annotations

from pathlib import Path

from compressor.benchmarking import frontier
from compressor.benchmarking.students import Candidate, Limits, StudentFile, Students
from compressor.files import inside, read_document
from compressor.reporting import svg
from compressor.reporting.plots import COLORS, Plot
from compressor.reporting.svg import Series
from compressor.runfolder import RunFolder

COLUMNS = ("candidate", "file", "latency p50", "size", "memory", "parameters", "published", "standing")

STANDINGS = {"frontier": "frontier", "fits": "fits", "over": "over", "too large": "too large", "failed": "left out"}


def lines(found: Students) -> list[tuple[str, ...]]:
    """A line per measured file; of a candidate that was not exported, one that says why."""
    rows: list[tuple[str, ...]] = []
    for one in found.candidates:
        about = (
            "–" if one.params is None else f"{one.params / 1e6:.2f} M",
            "–" if one.published is None else f"{100 * one.published:.1f} %",
        )
        standing = STANDINGS[one.standing] + (f": {one.why}" if one.why and one.standing != "frontier" else "")
        if not one.files:
            rows.append((one.name, "–", "–", "–", "–", *about, standing))
        fits = frontier.fitting(one, found.limits)
        for i, file in enumerate(one.files):
            fit = "" if one.standing == "over" else " ✓" if file in fits else ""
            rows.append((
                one.name if i == 0 else "", f"{file.precision}{fit}", latency(file), f"{file.bytes / 1e6:.2f} MB",
                "–" if file.peak_rss_mb is None else f"{file.peak_rss_mb:.0f} MB", *(about if i == 0 else ("", "")), standing if i == 0 else "",
            ))  # fmt: skip
    return rows


def latency(file: StudentFile) -> str:
    """`3.21 ms (3.15 … 3.27)`; `*` behind it where something disturbed the timing, `about` where it is one process's."""
    if file.p50_ms is None:
        return "–"
    noise = " *" if file.noisy else ""
    if file.p50_interval_ms is None:
        return f"about {file.p50_ms:.2f} ms{noise}"
    low, high = file.p50_interval_ms
    return f"{file.p50_ms:.2f} ms ({low:.2f} … {high:.2f}){noise}"


def asked(limits: Limits) -> str:
    """`at most 5 ms and 4 MB, as fp32 or int8`."""
    parts = [
        None if limits.max_latency_ms is None else f"{limits.max_latency_ms:g} ms",
        None if limits.max_size_mb is None else f"{limits.max_size_mb:g} MB of file",
        None if limits.max_memory_mb is None else f"{limits.max_memory_mb:g} MB of memory",
    ]
    given = " and ".join(part for part in parts if part)
    return (f"at most {given}" if given else "without a limit") + f", as {' or '.join(limits.precisions)}"


def remarks(found: Students) -> list[str]:
    """What the table means."""
    size, limits = found.image_size, found.limits
    fit = sum(one.standing in ("frontier", "fits") for one in found.candidates)
    threads = f"{limits.threads} thread{'s' if limits.threads > 1 else ''}"
    said = [
        f"{fit} of {len(found.candidates)} candidates fit ({asked(limits)}) for {found.classes} classes at {size} pixels; random "
        f"weights, batch 1, {threads} of {(found.host and found.host.cpu) or 'this CPU'}.",
        "The frontier: none of the others is faster with a better prior. The prior is timm's published top-1 on ImageNet, of "
        "another task: what a student is worth here, only training it tells.",
    ]
    if any(file.noisy for one in found.candidates for file in one.files):
        said.append(
            "*: something else used the machine meanwhile; when it is quiet, compress cache rm screened has all measured again."
        )
    return said


def spot(one: Candidate, limits: Limits) -> StudentFile | None:
    """The file that stands for a candidate in the plot: its fastest that fits, else its fastest."""
    timed = sorted((f for f in one.files if f.p50_ms is not None), key=lambda f: f.p50_ms or 0.0)
    return next(iter(frontier.fitting(one, limits)), None) or next(iter(timed), None)


def plot(found: Students) -> Plot | None:
    """Prior against measured latency, with the limit; None where fewer than two candidates have both."""
    spots = [(one, file) for one in found.candidates if (file := spot(one, found.limits)) and one.expected is not None]
    if len(spots) < 2:
        return None
    values = [v for _, file in spots for v in (file.p50_ms or 0.0, *(file.p50_interval_ms or ()))]
    limit = found.limits.max_latency_ms
    x = svg.around([*values, *([limit] if limit else [])], "latency p50, ms", log=max(values) / min(values) > 4)
    y = svg.around([100 * (one.expected or 0.0) for one, _ in spots], "published top-1 on ImageNet, %")
    front = sorted(_point(one, file) for one, file in spots if one.standing == "frontier")
    series = [Series(label="frontier", points=front, color="currentColor", dash="2 4")] if len(front) > 1 else []
    if limit:
        series.append(
            Series(label=f"{limit:g} ms", points=[(limit, y.low), (limit, y.high)], color="#b45309", dash="6 3")
        )
    series += [_mark(one, file) for one, file in spots]
    remark = ("Each candidate by its fastest file that fits; blue: fp32, green: int8; pale: not on the frontier. Whiskers: 95 % "
              "intervals over processes. The prior is of another task.")  # fmt: skip
    return Plot(name="students", title="Speed here against the prior", remark=remark, keys=[],
                drawing=svg.plot("students", "Published accuracy against measured latency", series, x, y))  # fmt: skip


def _point(one: Candidate, file: StudentFile) -> tuple[float, float]:
    return (file.p50_ms or 0.0, 100 * (one.expected or 0.0))


def _mark(one: Candidate, file: StudentFile) -> Series:
    at, on = _point(one, file), one.standing == "frontier"
    low, high = file.p50_interval_ms or (at[0], at[0])
    color = COLORS["int8" if file.precision == "int8" else "student"]
    return Series(
        label=one.name, points=[at], color=color, labels=on, faint=not on, whiskers=[(low, high, at[1], at[1])]
    )


def of_run(run: RunFolder) -> Students | None:
    """What a run knows of its student's budget; None where it had none."""
    return read_document(run.students, Students) if run.students.is_file() else None


def line(found: Students | None) -> str | None:
    """Whether the student keeps to its budget, and how it was chosen; None without one, or before it was measured."""
    if found is None or not found.measurements:
        return None
    kept = next((m for m in found.measurements if m.name == found.chosen and m.fits), None)
    before = [m for m in found.measurements if not m.fits and m.name != found.chosen]
    limits = asked(found.limits)
    text = (
        f"{kept.name} keeps to the budget ({limits}): {kept.why}."
        if kept
        else f"No student keeps to the budget ({limits})."
    )
    if len(found.finalists) > 1 and found.ranking:
        text += (
            f" Of {len(found.finalists)} finalists, tried in {sum(trial.seconds for trial in found.trials) / 60:.1f} min of "
            f"training, {found.ranking[0]} was taken first: {found.reason}."
        )
    if before:
        text += " Trained and refused: " + "; ".join(f"{m.name} ({m.why})" for m in before) + "."
    return text


def ships(run: RunFolder, found: Students | None) -> Path:
    """The file that keeps to the run's budget; the fp32 one where there was none."""
    named = inside(run.path, found.ships) if found and found.ships else None  # a run may come from a stranger
    return run.path / named.name if named and (run.path / named.name).is_file() else run.artifact("fp32")


TRIAL_COLUMNS = ("finalist", "epochs", "validation", "NLL", "training")


def trial_lines(found: Students) -> list[tuple[str, ...]]:
    """The finalists' trials, the longest and best first."""
    rows = sorted(found.trials, key=lambda trial: (-trial.epochs, -trial.top1, trial.nll))
    return [(t.name, str(t.epochs), f"{t.top1:.4f}", f"{t.nll:.4f}", f"{t.seconds:.0f} s") for t in rows]


def sections(found: Students | None) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Title, header and lines of the report's tables; none without a budget."""
    if found is None:
        return []
    rows = [("Finalists", TRIAL_COLUMNS, trial_lines(found)), ("Candidates", COLUMNS, lines(found))]
    return [row for row in rows if row[2]]
