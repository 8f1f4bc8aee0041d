"""Whether the student that was trained keeps to its budget, by the benchmark's figures; and the next one where it does not."""

from __future__ import annotations

import shutil

from compressor.artifact.providers import short
from compressor.benchmarking import frontier
from compressor.benchmarking.document import Benchmark
from compressor.benchmarking.students import Limits, Measurement, StudentFile, Students
from compressor.errors import CompressorError
from compressor.files import read_document, write_json
from compressor.progress import Progress
from compressor.runfolder import RunFolder
from compressor.runnote import ChosenStudent
from compressor.workflows.plan import Plan, settled
from compressor.workflows.selecting import noted, with_student
from compressor.workflows.students import limits_of


def following(planned: Plan, run: RunFolder, progress: Progress) -> Plan | None:
    """The plan with the next finalist, where the one that was trained is over the budget; None where it keeps to it.

    `students.json` and `run.json` say what was measured.

    Raises:
        CompressorError: it is over, and there is no other: the nearest, and by how much.
    """
    recipe = planned.recipe
    if not recipe.student.budget.limited:
        return None
    note = noted(run, planned)
    name, limits = recipe.student.model, limits_of(recipe.student.budget)
    mine = measured(name, run, limits)
    note = note.model_copy(
        update={"limits": limits, "measurements": [*(m for m in note.measurements if m.name != name), *mine]}
    )
    kept = next((m for m in mine if m.fits), None)
    rest = note.ranking[note.ranking.index(name) + 1 :] if name in note.ranking else []
    done = {m.name for m in note.measurements}
    further = next((other for other in rest if other not in done), None)
    if kept:
        note = note.model_copy(update={"chosen": name, "ships": run.artifact(kept.file.precision).name})
    write_json(run.students, note)
    run.update(student=_told(note, name, kept))
    if kept:
        progress.say(f"{name} keeps to the budget: {kept.why}")
        return None
    said = "; ".join(m.why for m in mine) or "no file of an allowed precision was made"
    if further is None:
        raise _refused(note)
    progress.say(f"{name} is over the budget, measured again ({said}); next: {further}")
    return settled(planned, with_student(recipe, further, [], init=note.init), run)


def _refused(note: Students) -> CompressorError:
    nearest = min(note.measurements, key=lambda m: frontier.excess(m.file, note.limits), default=None)
    what = f"the nearest is {nearest.name} ({nearest.why})" if nearest else "no file of an allowed precision was made"
    return CompressorError(
        f"no trained student keeps to the budget: {what}.\n"
        "The run keeps the last one, with its report. Give the budget more room, or name other student.candidates."
    )


def tidied(planned: Plan, run: RunFolder) -> None:
    """Moves the stages of students that gave way to another into `refused/`."""
    if not planned.recipe.student.budget.limited or planned.recipe.student.finalists:
        return
    own = {run.stage(s.index, s.role, s.model, 0).parent.name for s in planned.stages}
    for folder in sorted((run.path / "stages").glob("*")):
        role = folder.name.split("-", 2)[1:2]  # none of a file that a desktop left there
        if folder.name not in own and role in (["student"], ["baseline"]):
            target = run.path / "refused" / folder.name
            target.parent.mkdir(exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            shutil.move(folder, target)


def measured(name: str, run: RunFolder, limits: Limits) -> list[Measurement]:
    """What the benchmark says of the student's files of an allowed precision: fp32 first."""
    found = read_document(run.benchmark, Benchmark)
    told = []
    for precision in sorted(limits.precisions):
        label = run.artifact(precision).name
        rows = (r for r in found.rows if r.file == label and short(r.provider) == "cpu")
        row = next((r for r in rows if r.batch == 1 and r.threads == limits.threads), None)
        if row is None:
            continue
        file = StudentFile(
            precision=precision, bytes=found.models[label].bytes, p50_ms=row.p50_ms, p50_interval_ms=row.p50_interval_ms,
            peak_rss_mb=row.peak_rss_mb, processes=row.processes or 0, noisy=row.noisy,
        )  # fmt: skip
        fits = frontier.keeps(file, limits)
        why = frontier.within(file, limits) if fits else frontier.over(file, limits)
        told.append(Measurement(name=name, file=file, fits=fits, why=why))
    return told


def _told(note: Students, name: str, kept: Measurement | None) -> ChosenStudent:
    """For `run.json`."""
    return ChosenStudent(
        name=name if kept else None, file=note.ships if kept else None, finalists=note.finalists, reason=note.reason,
        measured=[f"{m.name}: {m.why}" for m in note.measurements],
    )  # fmt: skip
