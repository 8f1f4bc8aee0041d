"""`benchmark`: from named files, runs and timm models to `benchmark.json` with accuracy and verdicts.

torch is only loaded for timm models that are exported on the fly.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor import runfolder
from compressor.artifact import session
from compressor.artifact.session import Artifact
from compressor.benchmarking import accuracy, measure, regression, verdict
from compressor.benchmarking.config import BenchmarkConfig
from compressor.benchmarking.document import Benchmark
from compressor.data.dataset import Dataset
from compressor.display import surroundings
from compressor.errors import ArtifactError, CompressorError, MissingExtraError, UsageError
from compressor.evaluation.predictions import Predictions, predict_artifact, saved, saved_at
from compressor.files import cache_dir, finite, read_documents, write_json
from compressor.options import checked, listed, numbers, options, within
from compressor.options import lengths as tokens
from compressor.packages import require
from compressor.progress import Progress
from compressor.quantization.cpus import open_artifact
from compressor.quantization.document import ArtifactEntry
from compressor.recipe import load as load_recipe
from compressor.reporting import build, screen
from compressor.reporting.screen import Block, Shown
from compressor.runfolder import RunFolder
from compressor.runnote import LanguageFigures
from compressor.section import LARGEST_IMAGE
from compressor.seeds import leaves_no_trace
from compressor.workflows.evaluate import data_for


@dataclass(frozen=True, kw_only=True)
class BenchmarkResult(Shown):
    """What was measured."""

    run: Path | None
    """The run whose report it joined."""
    document: Benchmark
    """`benchmark.json`."""
    regressions: regression.Findings | None = None
    """What got worse, where an earlier benchmark was given."""

    def blocks(self) -> list[Block]:
        """Timings, accuracies, verdicts; then what got worse."""
        return screen.benchmark(self.document) + (screen.regressions(self.regressions) if self.regressions else [])

    def plain(self) -> Any:
        """The document, with `regressions` and `notes` where an earlier one was given."""
        found = self.regressions
        return finite(self.document) | ({"regressions": found.worse, "notes": found.notes} if found else {})


@leaves_no_trace
def benchmark(
    models: str | Path | Sequence[str | Path] | None = None,
    *,
    provider: str | Sequence[str] | None = None,
    batch: int | str | Sequence[int] | None = None,
    threads: int | str | Sequence[int] | None = None,
    data: str | Path | None = None,
    size: int = 224,
    processes: int | None = None,
    max_processes: int | None = None,
    samples: int | None = None,
    check_regression: str | Path | None = None,
    progress: Progress | None = None,
    lengths: int | str | Sequence[int | str] | None = None,
) -> BenchmarkResult:
    """Latency, memory, size and accuracy per file, provider, batch size, threads and length, in fresh processes.

    Of one run, it is stored there and joins its report.

    Args: the options of `compress benchmark`. What is None is as the run's own recipe says, else the default.
        models: ONNX files, runs or timm names; None: the newest run.
        data: samples for the accuracy; a run has its own.
        lengths: tokens that texts are measured at, and `data` for as many as the validation samples have.
        check_regression: an earlier `benchmark.json`, which `regressions` compares with.

    Raises:
        UsageError: a name that is neither a file, a run nor a timm model; data that is not there.
    """
    progress = progress or surroundings()
    given = options(
        providers=listed(provider), batches=numbers(batch, "--batch"), threads=numbers(threads, "--threads"),
        samples=samples, processes=processes, max_processes=max_processes, lengths=tokens(lengths),
    )  # fmt: skip
    checked(BenchmarkConfig, **given)
    within("size", size, 1, LARGEST_IMAGE)
    old = regression.read(Path(check_regression)) if check_regression else None
    require("onnxruntime")
    named = [] if models is None else [str(m) for m in ([models] if isinstance(models, str | Path) else models)]
    new, run = measured(named, given, progress, data=None if data is None else str(data), size=size)
    found = regression.check(old, new) if old else None
    return BenchmarkResult(run=run.path if run else None, document=new, regressions=found)


def measured(
    named: list[str], given: dict[str, Any], progress: Progress, *, data: str | None = None, size: int = 224
) -> tuple[Benchmark, RunFolder | None]:
    """`benchmark.json` of what was named, with the `given` values of the configuration; and the run it was stored in."""
    files, run = artifacts(named, size, progress)
    own = load_recipe(run.recipe).benchmark.model_dump() if run and run.recipe.is_file() else {}
    config = checked(BenchmarkConfig, **own | given)
    classes, fingerprint, seen = _predictions(files, run, data, progress)
    with run.held() if run else contextlib.nullcontext():
        told = foretold(run) if run else None
        found = document(files, config, progress, seen=seen, classes=classes, data=fingerprint, foretold=told)
        if run is not None:
            write_json(run.benchmark, found)
            build.write(run)
    return found, run


def document(
    files: dict[str, Path],
    config: BenchmarkConfig,
    progress: Progress,
    *,
    seen: dict[str, Predictions],
    classes: list[str],
    data: str,
    foretold: dict[str, LanguageFigures] | None = None,
) -> Benchmark:
    """`benchmark.json`: the files' timings, accuracy where there are predictions, and a verdict per model.

    Args:
        files: label → ONNX file.
        seen: label → its predictions, all of the same split.
        classes: class names in the order of the logits.
        data: fingerprint of the samples that were predicted.
        foretold: label → a language model's figures on the test text.
    """
    joined = accuracy.join(measure.document(files, config, progress), seen, classes, data)
    told = foretold or {}
    models = {label: facts.model_copy(update={"language": told.get(label)}) for label, facts in joined.models.items()}
    joined = joined.model_copy(update={"models": models})
    return joined.model_copy(update={"verdicts": verdict.verdicts(joined)})


def saved_predictions(files: dict[str, Path]) -> dict[str, Predictions]:
    """The predictions that were stored beside the files at export, by label."""
    return {label: own for label, path in files.items() if (own := saved(path)) is not None}


def foretold(run: RunFolder) -> dict[str, LanguageFigures]:
    """What a run's exported language models make of its test text, by label."""
    entries = read_documents(run.exports, ArtifactEntry) if run.exports.is_file() else []
    return {entry.file: entry.language for entry in entries if entry.file and entry.language}


def artifacts(named: list[str], size: int, progress: Progress) -> tuple[dict[str, Path], RunFolder | None]:
    """Label → ONNX file for what was named; the run, when it is one run and nothing else."""
    if not named:
        named = [str(runfolder.newest().path)]
    files: dict[str, Path] = {}
    for name in named:
        if name.endswith(".onnx"):
            files[name] = Path(name)
            continue
        run = _run(name)
        if run is None:
            files[name] = _from_timm(name, size, progress)
        elif len(named) == 1:
            return {p.relative_to(run.path).as_posix(): p for p in files_of(run)}, run
        else:
            files |= {str(p): p for p in files_of(run)}
    return files, None


def files_of(run: RunFolder) -> list[Path]:
    """A run's exported files, the student's first. Raises UsageError where there is none."""
    files = [*sorted(run.path.glob("student*.onnx")), *sorted(run.path.glob("stages/*/seed*/model.onnx"))]
    if not files:
        raise UsageError(f"run '{run.path}' has no exported file yet; make one: compress export {run.path}")
    return files


def _run(name: str) -> RunFolder | None:
    """The run called so; None where the name may mean a timm model."""
    try:
        return runfolder.open_run(name)
    except UsageError:
        if "/" in name or Path(name).exists():
            raise
        return None


def _from_timm(name: str, size: int, progress: Progress) -> Path:
    """A timm model with random weights as an ONNX file in the cache: its speed and size, not its accuracy."""
    try:
        require("torch", "timm", "onnx", "onnxscript")
    except MissingExtraError as error:
        raise UsageError(f"'{name}' is no ONNX file and no run; to measure it as a timm model {error}") from error
    from compressor.exporting.untrained import export_untrained  # torch
    from compressor.models.family import resolve

    timm_name, family = resolve(name, role="model", modality=None)
    path = cache_dir() / "models" / f"{runfolder.slug(timm_name)}-{size}.onnx"
    if not path.is_file():
        progress.say(f"exporting {timm_name} at size {size} to {path}")
        export_untrained(family, timm_name, size, path, progress)
    progress.say(
        f"{name}: {timm_name} at size {size} with random weights; its speed and size count, its answers do not"
    )
    return path


def _predictions(
    files: dict[str, Path], run: RunFolder | None, data: str | None, progress: Progress
) -> tuple[list[str], str, dict[str, Predictions]]:
    """Class names, a fingerprint of the samples, and what each file says of them.

    In a run the stored predictions are used, and made where they are missing and the data are at hand.
    """
    if run is None and data is None:
        return [], "", {}
    seen: dict[str, Predictions] = {}
    classes: list[str] = []
    fingerprint = ""
    if data is None:
        assert run is not None
        seen = saved_predictions(files)
        note = run.read().dataset
        classes, fingerprint = (note.classes, f"{note.fingerprint}/test") if note else ([], "")
    missing = _naming_classes({label: path for label, path in files.items() if label not in seen}, data)
    loaded = _loaded(missing, progress)
    if not loaded:
        return classes, fingerprint, seen
    try:
        dataset, split = _common_data(loaded, data, progress)
        if data is None and f"{dataset.fingerprint}/{split}" != fingerprint:
            raise UsageError("the run's data have changed since")
    except CompressorError as error:
        if data is not None:
            raise
        progress.say(f"accuracy of {', '.join(missing)} was not measured: {error}")
        return classes, fingerprint, seen
    for label, artifact in loaded.items():
        own = _judged(label, artifact, dataset, split, progress)
        if own is not None:
            seen[label] = own
            if data is None:
                own.save(saved_at(files[label]))
    return dataset.classes, f"{dataset.fingerprint}/{split}", seen


def _naming_classes(files: dict[str, Path], data: str | None) -> dict[str, Path]:
    """The files without language models, which have no accuracy. Raises UsageError where `data` were given for one."""
    writing = [label for label, path in files.items() if session.load(path).task == "lm"]
    if writing and data is not None:
        raise UsageError(
            f"{', '.join(writing)}: a language model is timed; its perplexity: compress evaluate FILE --data TEXT"
        )
    return {label: path for label, path in files.items() if label not in writing}


def _judged(label: str, artifact: Artifact, dataset: Dataset, split: str, progress: Progress) -> Predictions | None:
    """A file's predictions; None, with a notice, where these samples can't judge it."""
    if split != "all" and dataset.split_otherwise(artifact.metadata.dataset or {}):
        progress.say(f"accuracy of {label} was not measured: it has seen some of these test samples in training")
        return None
    progress.say(f"accuracy of {label} on {len(dataset.splits[split])} samples")
    try:
        return predict_artifact(artifact, dataset, split)
    except ArtifactError as error:  # other classes, such as a timm model's thousand
        progress.say(f"accuracy of {label} was not measured: {error}")
        return None


def _loaded(files: dict[str, Path], progress: Progress) -> dict[str, Artifact]:
    """The files, opened; one that says nothing of itself is left out with a notice."""
    found = {}
    for label, path in files.items():
        try:
            found[label] = open_artifact(path, progress)
        except ArtifactError as error:
            progress.say(f"accuracy of {label} was not measured: {error}")
    return found


def _common_data(loaded: dict[str, Artifact], data: str | None, progress: Progress) -> tuple[Dataset, str]:
    """The data and the split that all files can be judged on: a test split, where one was trained on these data."""
    found: tuple[Dataset, str] | None = None
    asked = []
    for artifact in loaded.values():
        trained_on = artifact.metadata.dataset
        if trained_on in asked:
            continue
        asked.append(trained_on)
        found = data_for(artifact.path, trained_on, data, "auto", progress)
        if found[1] != "all":
            break
    assert found is not None
    return found
