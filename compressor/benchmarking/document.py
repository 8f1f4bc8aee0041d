"""`benchmark.json`: what was measured of each file, with the raw samples, and what follows from it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from compressor.benchmarking import compare
from compressor.benchmarking.contention import Seen
from compressor.document import Document
from compressor.runnote import Host

Worth = Literal["worth it", "a trade", "not worth it", "undecided"]


class Measured(Document):
    """What one child process measured; another program in its place may know less."""

    load_ms: float | None = None
    first_run_ms: float | None = None
    samples_ms: list[float]
    import_rss_mb: float | None = None
    """Peak resident memory before the file was loaded, MB (10⁶ bytes)."""
    load_rss_mb: float | None = None
    peak_rss_mb: float | None = None
    placement: dict[str, int] = {}
    """Execution provider → nodes that run on it."""
    elsewhere: dict[str, int] = {}
    """Operator → nodes that fell back to another provider."""
    provider: str | None = None
    batch: int = 1
    contention: Seen | None = None
    noisy: bool | None = None
    """Null where it can't be told."""
    with_copies_ms: float | None = None
    """On a GPU: a call that copies the images there and the logits back."""
    gpu_memory_mb: float | None = None
    gpu_clock_mhz: float | None = None
    gpu_memory_clock_mhz: float | None = None


class Contention(Document):
    """What disturbed a row: each figure is the worst process's."""

    other_cores: float | None = None
    """Cores that others used on average."""
    steal_cores: float | None = None
    """Those of them that the hypervisor took."""
    involuntary_switches: float | None = None
    """Per second."""
    throttled: int | None = None
    """Times that the CPU quota stopped it."""
    because: list[str] = []
    """What made it noisy, in words."""


class Ratio(Document):
    """A row's latency over the reference's, in the same combination, with its 95 % interval; below 1 is faster."""

    reference: str
    value: float
    low: float
    high: float
    verdict: compare.Verdict


class Timed(Document):
    """A file's timing with one provider, batch size and number of threads; rows of old documents lack some figures."""

    file: str
    provider: str
    placement: dict[str, int] = {}
    """Execution provider → nodes that run on it."""
    elsewhere: dict[str, int] = {}
    """Operator → nodes that fell back to another provider."""
    threads: int
    batch: int
    samples: int
    """Timed calls, over all processes."""
    processes: int | None = None
    p50_ms: float
    """Over all samples."""
    p90_ms: float | None = None
    """Null where so few samples can't support it; so is `p99_ms`."""
    p99_ms: float | None = None
    p50_interval_ms: tuple[float, float] | None = None
    """95 %, over processes; null for a single one."""
    throughput: float | None = None
    """Images per second."""
    load_ms: float | None = None
    first_run_ms: float | None = None
    load_rss_mb: float | None = None
    """Peak resident memory after loading, MB (10⁶ bytes)."""
    peak_rss_mb: float | None = None
    with_copies_ms: float | None = None
    """On a GPU: a call that copies the images there and the logits back."""
    gpu_memory_mb: float | None = None
    gpu_clock_mhz: float | None = None
    process_p50_ms: list[float] = []
    process_peak_rss_mb: list[float] = []
    contention: Contention | None = None
    noisy: bool | None = None
    """Whether something disturbed it; null where that can't be told."""
    ratio: Ratio | None = None
    """Null for the reference itself."""
    remeasured: int = 0
    """Processes that were measured again because something disturbed them."""


class Row(Timed):
    """A timing with its samples."""

    raw_ms: list[list[float]]
    """Every timed call, one list per process."""


class WorstClass(Document):
    """One of the classes that a model knows least."""

    name: str = Field(alias="class")
    top1: float


class Against(Document):
    """A model beside another one on the same samples."""

    agreement: float
    """Share of samples on which both name the same class."""
    top1_gain: float
    low: float
    """Lower end of the gain's 95 % interval."""
    high: float
    mcnemar_p: float


class Accuracy(Document):
    """What a measured file says of the test images."""

    samples: int
    top1: float
    top5: float
    nll: float | None
    ece: float | None
    ece_calibrated: float | None = None
    """At the file's calibration temperature; null without one."""
    worst: list[WorstClass] = []
    right: str
    """One bit per sample, whether it was classified rightly: base64."""
    data: str
    """Fingerprint of the images, and the split."""
    teacher: Against | None = None
    """Beside the teacher; null for the teacher itself."""
    fp32: Against | None = None
    """Beside the fp32 student; null for itself and for the teacher."""


class ModelFacts(Document):
    """What a file says of itself; null is what one from elsewhere does not say."""

    bytes: int
    batch: int | None = None
    """Null where it takes any."""
    name: str | None = None
    role: str | None = None
    precision: str | None = None
    macs: int | None = None
    params: int | None = None
    temperature: float | None = None
    size: int
    """Pixels of its input."""
    accuracy: Accuracy | None = None
    """Null where it was not measured."""


class Verdict(Document):
    """Whether a file is worth it against the one it came from."""

    file: str
    against: str
    provider: str
    worth: Worth
    text: str
    """One sentence with the reasons."""


class Benchmark(Document):
    """`benchmark.json`, and what `compress benchmark --json` prints."""

    schema_version: int = 1
    reference: str = ""
    """The file that the others are compared with."""
    models: dict[str, ModelFacts] = {}
    rows: list[Row]
    warnings: list[str] = []
    host: Host | None = None
    versions: dict[str, str | None] = {}
    """Package → version; null where it is not installed."""
    measured: str | None = None
    """UTC."""
    verdicts: list[Verdict] = []
