"""What a recipe says about the benchmark."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class BenchmarkConfig(BaseModel):
    """Which combinations are measured, and how long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    providers: list[str] | None = None
    """ONNX Runtime execution providers by short name; None: cpu, and cuda where it is installed."""
    batches: list[int] = [1]
    """Batch sizes."""
    threads: list[int] = [1]
    """Intra-op threads."""
    processes: int = Field(default=5, ge=1)
    """Rounds of fresh child processes: in each, the files of a combination run side by side and take turns of a
    twentieth of a second. With fewer than 3 nothing is decided between two files."""
    max_processes: int = Field(default=15, ge=1)
    """Processes are added to a comparison that is undecided or too wide, up to this many. It is looked at after
    `processes`, halfway and at the end; the 95 % of its interval hold for these looks together."""
    half_width: float = Field(default=0.05, gt=0)
    """Half of a ratio's 95 % interval, as a share of it, that is aimed at."""
    samples: int = Field(default=662, ge=10)
    """Timed calls per combination, over all its processes; 662 support a p99, 64 a p90."""
    warmup_seconds: float = Field(default=0.5, ge=0)
    """Untimed calls before the timed ones, in each process."""
    min_seconds: float = Field(default=2.0, ge=0)
    """Timed calls go on for this long in each process, even where there are enough: clocks wander within seconds."""
    max_seconds: float = Field(default=4.0, gt=0)
    """Timed calls stop after this long in a process, with as many samples as there are then."""
