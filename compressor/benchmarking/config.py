"""What a recipe says about the benchmark."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compressor.section import Section


class BenchmarkConfig(Section):
    """Which combinations are measured, and how long."""

    providers: list[str] | None = Field(default=None, min_length=1, max_length=16)
    """ONNX Runtime execution providers by short name; None: cpu, and cuda where it is installed."""
    batches: list[Annotated[int, Field(ge=1, le=65_536)]] = Field(default=[1], min_length=1, max_length=32)
    """Batch sizes."""
    threads: list[Annotated[int, Field(ge=1, le=1024)]] = Field(default=[1], min_length=1, max_length=32)
    """Intra-op threads."""
    lengths: list[Annotated[int, Field(ge=1, le=65_536)] | Literal["data"]] | None = Field(
        default=None, min_length=1, max_length=32
    )
    """Tokens of each sample, for files whose graph leaves them open; `data`: as many as validation samples have. None:
    data, 8, 32 and 128, as far as the file takes them. Images have no length."""
    processes: int = Field(default=5, ge=1, le=1000)
    """Rounds of fresh child processes: in each, the files of a combination run side by side and take turns of a
    twentieth of a second. With fewer than 3 nothing is decided between two files."""
    max_processes: int = Field(default=15, ge=1, le=1000)
    """Processes are added to a comparison that is undecided or too wide, up to this many. It is looked at after
    `processes`, halfway and at the end; the 95 % of its interval hold for these looks together."""
    half_width: float = Field(default=0.05, gt=0, le=1)
    """Half of a ratio's 95 % interval, as a share of it, that is aimed at."""
    samples: int = Field(default=662, ge=10, le=1_000_000)
    """Timed calls per combination, over all its processes; 662 support a p99, 64 a p90."""
    warmup_seconds: float = Field(default=0.5, ge=0, le=3600)
    """Untimed calls before the timed ones, in each process."""
    min_seconds: float = Field(default=2.0, ge=0, le=3600)
    """Timed calls go on for this long in each process, even where there are enough: clocks wander within seconds."""
    max_seconds: float = Field(default=4.0, gt=0, le=3600)
    """Timed calls stop after this long in a process, with as many samples as there are then."""
