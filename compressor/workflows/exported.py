"""What a run knows of its exported files: their entries, what they were made from, and which need not be made again."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from compressor.benchmarking import host
from compressor.benchmarking.config import BenchmarkConfig
from compressor.benchmarking.document import Benchmark
from compressor.data.dataset import Dataset
from compressor.errors import CompressorError
from compressor.evaluation.predictions import saved_at
from compressor.files import read_document, read_documents, write_json
from compressor.models import checkpoint
from compressor.packages import versions
from compressor.progress import Progress
from compressor.quantization.config import ArtifactsConfig
from compressor.quantization.document import ArtifactEntry
from compressor.runfolder import RunFolder


def made_from(source: Path, precision: str, config: ArtifactsConfig, dataset: Dataset) -> str | None:
    """What an exported file depends on; None for a `source` that is no checkpoint with weights of its own."""
    found = checkpoint.find(source)
    weights = digest(found[0]) if found else None
    parts = [weights, precision, config.model_dump_json(), dataset.fingerprint, *map(str, versions().items())]
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=8).hexdigest() if weights else None


def known(run: RunFolder, path: Path, made_from: str | None) -> str | None:
    """The label of a file that lies there just as it was exported from the same, by a run that was stopped later."""
    if made_from is None or not run.exports.is_file():
        return None
    entries = [entry for entry in read_documents(run.exports, ArtifactEntry) if entry.made_from == made_from]
    entries = [entry for entry in entries if entry.language is not None or saved_at(path).is_file()]
    return next((e.file for e in entries if e.file and run.path / e.file == path and e.digest == digest(path)), None)


def measured_from(files: dict[str, Path], config: BenchmarkConfig) -> str:
    """What a benchmark's figures depend on."""
    parts = [f"{label} {digest(path)}" for label, path in sorted(files.items())]
    text = "\0".join([*parts, config.model_dump_json(), str(host.fingerprint().as_dict()), str(versions())])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def is_measured(run: RunFolder, made_from: str) -> bool:
    """Whether the run's `benchmark.json` is whole and has just these figures."""
    with contextlib.suppress(CompressorError):
        return run.benchmark.is_file() and read_document(run.benchmark, Benchmark).made_from == made_from
    return False


def enlist(run: RunFolder | None, path: Path, label: str, entry: ArtifactEntry | None) -> None:
    """Puts a file's entry into the run's `exports.json`, in the place of an older one."""
    if run is None or not path.is_relative_to(run.path):
        return
    others = read_documents(run.exports, ArtifactEntry) if run.exports.is_file() else []
    write_json(run.exports, [e for e in others if e.file != label] + ([entry] if entry else []))


def digest(path: Path) -> str | None:
    """Of a file's bytes; None where there is none."""
    return hashlib.blake2b(path.read_bytes()).hexdigest() if path.is_file() else None


def forget(run: RunFolder | None, label: str, progress: Progress) -> None:
    """Drops what was measured of a file that is there no more; everything, where the others were compared with it."""
    if run is None or not run.benchmark.is_file():
        return
    measured = read_document(run.benchmark, Benchmark)
    if label not in measured.models:
        return
    progress.say(f"{label} is no longer the file that was measured: compress benchmark {run.path}")
    if label == measured.reference:
        run.benchmark.unlink()
        return
    left = {
        "models": {name: facts for name, facts in measured.models.items() if name != label},
        "rows": [row for row in measured.rows if row.file != label],
        "verdicts": [v for v in measured.verdicts if label not in (v.file, v.against)],
    }
    write_json(run.benchmark, measured.model_copy(update=left))
