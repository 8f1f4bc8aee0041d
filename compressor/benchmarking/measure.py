"""Runs the child processes, interleaved, and sums their samples up."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from compressor.artifact import providers
from compressor.artifact.session import load
from compressor.benchmarking import host
from compressor.benchmarking.config import BenchmarkConfig
from compressor.errors import CompressorError, ProviderError
from compressor.runtime import Progress, versions

NEEDED = {"p50_ms": 1, "p90_ms": 64, "p99_ms": 662}
"""Samples without which a percentile is not printed (MLPerf's early-stopping rule, 99 % confidence)."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One combination to be measured."""

    label: str
    """How the file is named in the results."""
    file: Path
    provider: str
    batch: int
    threads: int
    size: int


def cells(files: dict[str, Path], config: BenchmarkConfig) -> list[Cell]:
    """Every file (by label) × provider × batch × threads.

    A file with a frozen batch is measured at that batch alone.

    Raises:
        ArtifactError: a file that can't be loaded or doesn't describe itself.
        ProviderError: a provider that isn't there.
    """
    chosen = config.providers or default_providers()
    for name in chosen:
        providers.resolve(name)
    found = []
    for label, file in files.items():
        artifact = load(file)
        batches = [artifact.batch] if artifact.batch else config.batches
        size = artifact.metadata.preprocessing.size
        for provider, batch, threads in itertools.product(chosen, batches, config.threads):
            found.append(Cell(label=label, file=file, provider=provider, batch=batch, threads=threads, size=size))
    return found


def default_providers() -> list[str]:
    """cpu, and cuda where the installed onnxruntime has it."""
    here = [providers.short(name) for name in providers.installed()]
    return ["cpu"] + (["cuda"] if "cuda" in here else [])


def measure(todo: list[Cell], config: BenchmarkConfig, progress: Progress) -> list[dict[str, Any]]:
    """One row per cell. The cells take turns, so that a drift of the machine hits all alike.

    Raises:
        ProviderError: a provider took no node, or could not start.
        CompressorError: a child failed.
    """
    answers: dict[Cell, list[dict[str, Any]]] = {cell: [] for cell in todo}
    with progress.bar("benchmark", len(todo) * config.processes) as bar:
        for _ in range(config.processes):
            for cell in todo:
                answers[cell].append(_child(cell, config))
                bar.advance(note=f"{cell.label} · {cell.provider}")
    return [summarise(cell, runs) for cell, runs in answers.items()]


def document(files: dict[str, Path], config: BenchmarkConfig, progress: Progress) -> dict[str, Any]:
    """`benchmark.json`: one row per file × provider × batch × threads, with raw samples, host and versions."""
    return {
        "schema_version": 1,
        "rows": measure(cells(files, config), config, progress),
        "host": host.fingerprint(),
        "versions": versions(),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _child(cell: Cell, config: BenchmarkConfig) -> dict[str, Any]:
    request = {
        "file": str(cell.file),
        "provider": cell.provider,
        "batch": cell.batch,
        "threads": cell.threads,
        "size": cell.size,
        "samples": math.ceil(config.samples / config.processes),
        "warmup_seconds": config.warmup_seconds,
        "max_seconds": config.max_seconds,
    }
    command = [sys.executable, "-m", "compressor.benchmarking.child", json.dumps(request)]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise CompressorError(f"measuring {cell.file} on {cell.provider} failed: {reason}") from None
    if "error" in answer:
        kind = ProviderError if answer["kind"] == "ProviderError" else CompressorError
        raise kind(answer["error"])
    measured: dict[str, Any] = answer["ok"]
    return measured


def summarise(cell: Cell, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """A row: percentiles over all processes' samples, medians of what each process measures once."""
    samples = np.concatenate([run["samples_ms"] for run in runs])
    noisy = [run["noisy"] for run in runs if run["noisy"] is not None]
    row: dict[str, Any] = {
        "file": cell.label,
        "provider": cell.provider,
        "placement": runs[0]["placement"],
        "threads": cell.threads,
        "batch": cell.batch,
        "samples": len(samples),
        **percentiles(samples),
    }
    row |= {
        "throughput": cell.batch / (row["p50_ms"] / 1e3),
        "load_ms": _median(runs, "load_ms"),
        "first_run_ms": _median(runs, "first_run_ms"),
        "load_rss_mb": _median(runs, "load_rss_mb"),
        "peak_rss_mb": _median(runs, "peak_rss_mb"),
        "process_p50_ms": [float(np.median(run["samples_ms"])) for run in runs],
        "noisy": any(noisy) if noisy else None,
        "raw_ms": [run["samples_ms"] for run in runs],
    }
    return row


def percentiles(samples: Any) -> dict[str, float | None]:
    """`p50_ms`, `p90_ms`, `p99_ms`; None for a percentile that so few samples can't support."""
    return {
        name: float(np.percentile(samples, int(name[1:3]))) if len(samples) >= needed else None
        for name, needed in NEEDED.items()
    }


def _median(runs: list[dict[str, Any]], key: str) -> float:
    return float(np.median([run[key] for run in runs]))
