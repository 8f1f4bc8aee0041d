"""`report.json`: everything a run found, in one document, rebuilt from the run folder's files. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressor.benchmarking import rows
from compressor.benchmarking.document import Benchmark, ModelFacts, Row
from compressor.data.dataset import Dataset
from compressor.errors import CompressorError, MissingExtraError
from compressor.evaluation import metrics
from compressor.evaluation.document import SampleGroups
from compressor.evaluation.figures import copied_mistakes, figures, right
from compressor.evaluation.predictions import Predictions
from compressor.evaluation.slices import Answers
from compressor.files import checked, finite, read_document, read_documents, read_lines, write_json, write_text
from compressor.progress import log
from compressor.quantization.document import ArtifactEntry, Int8
from compressor.reporting import examples, headline, html, language, mistakes, pilot, pull_request, robustness, students
from compressor.reporting.document import ClassErrors, Curve, Errors, Help, Model, Report, RunEntry, Timing
from compressor.reporting.foretold import Continuations, Helped
from compressor.runfolder import RunFolder
from compressor.runnote import Epoch, StageNote

QUANTILES = 51
"""Points that a latency's distribution is drawn from: every 2 %."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A finished stage, as read from its folder."""

    folder: Path
    note: StageNote
    predictions: Predictions
    """On test."""
    epochs: list[Epoch]
    """Empty where it was not trained in the run."""

    @property
    def name(self) -> str:
        """Its architecture's."""
        return self.note.architecture.name


def write(run: RunFolder, dataset: Dataset | None = None) -> Report:
    """Builds the report and writes `report.json`, `.md`, `.csv` and, where jinja2 is there, `report.html`.

    With the dataset at hand, pictures on which student and teacher disagree and the groups of the test samples are
    stored in the run first, so that the report has them when it is rebuilt elsewhere.
    """
    if dataset is not None:
        _collect(run, dataset)
    report = build(run)
    write_json(run.report, report)
    write_text(run.path / "report.md", pull_request.render(report))
    write_text(run.path / "report.csv", headline.csv(report))
    try:
        write_text(run.path / "report.html", html.render(report, examples.embedded(run, report.examples)))
    except MissingExtraError as error:
        log.warning("report.html was not written: %s", error)
    return report


def _collect(run: RunFolder, dataset: Dataset) -> None:
    teacher, student = run.teacher(), run.shipped()
    if teacher and student and not dataset.tokens:  # one token of thousands is no example
        taught, seen = (Predictions.load(folder / "predictions.npz") for folder in (teacher, student))
        temperatures = (run.stage_note(teacher).temperature or 1.0, run.stage_note(student).temperature or 1.0)
        examples.collect(run, dataset, taught, seen, temperatures)
    if student and dataset.groups:
        ids = [str(i) for i in Predictions.load(student / "predictions.npz").ids]
        write_json(run.groups, SampleGroups(ids=ids, columns=dataset.row_groups(ids)))


def build(run: RunFolder) -> Report:
    """The report of a run, as far as it has come.

    Raises:
        CompressorError: no stage is finished yet, or one of the run's files is damaged.
    """
    stages = [_read(run, folder) for folder in run.stages()]
    note = run.read()
    if not stages or note.dataset is None:
        raise CompressorError(f"run '{run.path}' has no finished stage yet; nothing to report")
    classes = note.dataset.classes
    teacher = next((stage for stage in stages if stage.note.role == "teacher"), None)
    benchmark = read_document(run.benchmark, Benchmark) if run.benchmark.is_file() else None
    choice = run.choice()
    told = any(stage.note.language for stage in stages)  # of tokens there are no tables by class
    report = Report(
        run=RunEntry(**note.model_dump(include=set(RunEntry.model_fields))),
        dataset=note.dataset,
        models=[_model(stage, teacher) for stage in stages],
        exports=read_documents(run.exports, ArtifactEntry) if run.exports.is_file() else [],
        int8=read_document(run.int8, Int8) if run.int8.is_file() else None,
        benchmark=[_timing(row) for row in benchmark.rows] if benchmark else [],
        shipped_seed=run.shipped_seed(),
        shipped_role=choice.role if choice else "student",
        choice=choice,
        help=None if told else _help(stages),
        foretold=language.help_of([stage.note for stage in stages]),
        continuations=read_document(run.continuations, Continuations).texts if run.continuations.is_file() else [],
        slices=robustness.slices_of(run, [_answers(stage) for stage in stages]),
        shift=robustness.shift_of(run),
        students=students.of_run(run),
        pilot=pilot.pilot_of(run),
        errors=Errors(classes=[], models=[]) if told else _errors(classes, stages),
        reliability=[] if told else mistakes.reliability(run),
        confusion=None if told else mistakes.confusion(run, classes),
        examples=examples.stored(run),
        benchmark_models=_unranked(benchmark.models) if benchmark and told else benchmark.models if benchmark else None,
        verdicts=benchmark.verdicts if benchmark else [],
        curves=[
            Curve(role=stage.note.role, name=stage.name, seed=stage.note.seed, epochs=stage.epochs)
            for stage in stages
            if (stage.folder / "metrics.jsonl").is_file()
        ],
        budget=note.budget,
        taken=note.taken,
        host=benchmark.host if benchmark else note.host,
        versions=note.versions,
    )
    report = report.model_copy(update={"warnings": _warnings(report)})
    # As it will be read again: a figure that JSON can't hold is null here, too.
    return checked(finite(report), Report, run.path)


def _read(run: RunFolder, folder: Path) -> Stage:
    return Stage(
        folder=folder,
        note=run.stage_note(folder),
        predictions=Predictions.load(folder / "predictions.npz"),
        epochs=read_lines(folder / "metrics.jsonl", Epoch),
    )


def _model(stage: Stage, teacher: Stage | None) -> Model:
    note, own = stage.note, stage.predictions
    # A table of probabilities may have no test samples.
    seen = figures(own, note.temperature).model_dump() if len(own.labels) else {}
    other = teacher.predictions if teacher and note.role != "teacher" else None
    if other is not None and not np.array_equal(other.ids, own.ids):
        other = None
    return Model(
        role=note.role,
        name=stage.name,
        seed=note.seed,
        stage=stage.folder.parent.name,
        params=note.params,
        macs=note.macs,
        top1=seen.get("top1"),
        top5=seen.get("top5"),
        nll=seen.get("nll"),
        ece=seen.get("ece"),
        temperature=note.temperature,
        calibration=note.calibration,
        nll_calibrated=seen.get("nll_calibrated"),
        ece_calibrated=seen.get("ece_calibrated"),
        balanced_accuracy=seen.get("balanced_accuracy"),
        teacher_agreement=metrics.agreement(other.logits, own.logits) if other else None,
        copied_mistakes=copied_mistakes(own, other) if other else None,
        validation=note.validation,
        language=note.language,
        train_seconds=note.train_seconds,
        images_per_second=note.images_per_second,
        data_wait_share=_waited(stage.epochs),
        weights=note.origin,
        bytes=None if note.params is None else (stage.folder / "weights.safetensors").stat().st_size,
    )


def _unranked(models: dict[str, ModelFacts]) -> dict[str, ModelFacts]:
    """Without the worst classes: of tokens the rare ones."""
    return {
        label: facts.model_copy(update={"accuracy": facts.accuracy and facts.accuracy.model_copy(update={"worst": []})})
        for label, facts in models.items()
    }


def _answers(stage: Stage) -> Answers:
    note = stage.note
    return Answers(role=note.role, seed=note.seed, predictions=stage.predictions, temperature=note.temperature)


def _waited(epochs: list[Epoch]) -> float | None:
    """The share of its training that a model spent waiting for data; None when it was not trained here."""
    seconds = sum(e.seconds for e in epochs)
    return sum(e.seconds * e.data_wait_share for e in epochs) / seconds if seconds else None


def _help(stages: list[Stage]) -> Help | None:
    """What the teacher was worth: student − baseline on test, paired by seed and sample; None without both."""
    found: dict[str, dict[int | None, NDArray[np.bool_]]] = {"student": {}, "baseline": {}}
    seconds: dict[int | None, list[float | None]] = {}
    for stage in stages:
        if stage.note.role in found:
            found[stage.note.role][stage.note.seed] = right(stage.predictions)
            seconds.setdefault(stage.note.seed, []).append(stage.note.train_seconds)
    seeds = sorted(seed for seed in found["student"].keys() & found["baseline"].keys() if seed is not None)
    if not seeds:
        return None
    student, baseline = (np.stack([found[role][s] for s in seeds]) for role in ("student", "baseline"))
    gain = metrics.training_gain(student, baseline)
    verdict: Helped = "helped" if gain["low"] > 0 else "hurt" if gain["high"] < 0 else "no difference"
    dearer = None
    if len(seeds) == 1:  # whatever the samples say: two trainings of one recipe differ, too
        verdict = "one training"
        known = [s for s in seconds[seeds[0]] if s is not None]
        dearer = 2 * sum(known) if len(known) == 2 else None
    return Help(
        seeds=seeds,
        top1_gain=[float(v) for v in student.mean(axis=1) - baseline.mean(axis=1)],
        top1_gain_mean=gain["mean"],
        interval=(gain["low"], gain["high"]),
        mcnemar_p=[metrics.mcnemar(a, b) for a, b in zip(student, baseline, strict=True)],
        verdict=verdict,
        three_seeds_seconds=dearer,
    )


def _errors(classes: list[str], stages: list[Stage]) -> Errors:
    """Per-class accuracy, one entry per model, in the order of `classes`."""
    models = []
    for stage in stages:
        own = stage.predictions
        accuracies = metrics.per_class(own.labels, own.logits, len(classes))
        models.append(ClassErrors(role=stage.note.role, name=stage.name, seed=stage.note.seed, per_class=accuracies))
    return Errors(classes=classes, models=models)


def _timing(row: Row) -> Timing:
    """A benchmark row with its samples as quantiles, which the plots are drawn from."""
    quantiles = np.quantile(np.concatenate(row.raw_ms), np.linspace(0, 1, QUANTILES))
    return Timing(**{k: v for k, v in vars(row).items() if k != "raw_ms"}, quantiles_ms=[float(v) for v in quantiles])


def _warnings(report: Report) -> list[str]:
    """What a reader must know before trusting the result."""
    found = []
    top1: dict[str, float] = {}
    for role in ("teacher", "baseline", "student"):
        values = [m.top1 for m in report.models if m.role == role and m.top1 is not None]
        if values:
            top1[role] = float(np.mean(values))
    found += language.warnings(report)
    known = "teacher" in top1 and "baseline" in top1 and not language.told(report)
    if known and top1["teacher"] <= top1["baseline"]:
        found.append(
            f"The teacher ({top1['teacher']:.3f}) is no better than the baseline ({top1['baseline']:.3f}): "
            "it has little to teach. Train it longer, use pretrained weights, or take a stronger one."
        )
    if report.help and report.help.verdict == "hurt":
        found.append(
            f"The teacher hurt: {100 * report.help.top1_gain_mean:+.1f} points against the same student "
            "without it. Try another objective (docs/objectives.md)."
        )
    for model in report.models:
        if model.role in ("teacher", "member") and model.weights == "scratch":
            found.append("The teacher had no pretrained weights and was trained on this data.")
        if model.role == "teacher" and model.calibration:
            found.append(model.calibration)
    if report.int8 and report.int8.kept is None:
        found.append(f"No int8 file was made: {report.int8.reason}.")
    found += [f"not used of the data: {entry}" for entry in report.dataset.unused]
    return found + rows.warnings(report.benchmark)
