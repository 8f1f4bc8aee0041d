"""`benchmark.json`: what was measured of each file, with the raw samples, and what follows from it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from compressor.benchmarking import compare
from compressor.benchmarking.contention import Seen
from compressor.benchmarking.lengths import Length
from compressor.document import Document
from compressor.runnote import Host, LanguageFigures

Worth = Literal["worth it", "a trade", "not worth it", "undecided"]


class Measured(Document):
    """What one child process measured; another program in its place may know less."""

    load_ms: float | None = None
    """From the file to a session."""
    first_run_ms: float | None = None
    """The first call, which is slower than the others."""
    samples_ms: list[float]
    """Every timed call."""
    import_rss_mb: float | None = None
    """Peak resident memory before the file was loaded, MB (10⁶ bytes)."""
    load_rss_mb: float | None = None
    """Peak resident memory after loading, MB (10⁶ bytes)."""
    peak_rss_mb: float | None = None
    """Peak resident memory in all, MB (10⁶ bytes)."""
    placement: dict[str, int] = {}
    """Execution provider → nodes that run on it."""
    elsewhere: dict[str, int] = {}
    """Operator → nodes that fell back to another provider."""
    provider: str | None = None
    """Execution provider by short name."""
    batch: int = 1
    """Samples per call."""
    padding: float | None = None
    """As a row's."""
    contention: Seen | None = None
    """What happened meanwhile."""
    noisy: bool | None = None
    """Null where it can't be told."""
    with_copies_ms: float | None = None
    """On a GPU: a call that copies the inputs there and the logits back."""
    gpu_memory_mb: float | None = None
    """The process's memory on the GPU, MB; null without one."""
    gpu_clock_mhz: float | None = None
    """The GPU's clock; null without one."""
    gpu_memory_clock_mhz: float | None = None
    """Its memory's clock; null without a GPU."""


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
    """A row's latency over the reference's, in the same combination, with its 95 % interval; below 1 is faster.

    The 95 % hold for all looks of a session together: a wider interval than that of a single look.
    """

    reference: str
    """The other file."""
    value: float
    """Geometric mean over rounds."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""
    verdict: compare.Verdict
    """faster, slower, same (within 3 %) or undecided."""


class Timed(Document):
    """A file's timing with one provider, batch size and number of threads; rows of old documents lack some figures."""

    file: str
    """The file's label."""
    provider: str
    """Execution provider by short name."""
    placement: dict[str, int] = {}
    """Execution provider → nodes that run on it."""
    elsewhere: dict[str, int] = {}
    """Operator → nodes that fell back to another provider."""
    threads: int
    """Intra-op threads."""
    batch: int
    """Samples per call."""
    length: Length | None = None
    """Tokens of every sample; `data`: as long as the validation samples, in turn; null where the graph fixes its inputs."""
    padding: float | None = None
    """Share of the tokens that fill batches up to their longest sample; null without a length."""
    samples: int
    """Timed calls, over all processes."""
    processes: int | None = None
    """Fresh processes that measured it."""
    p50_ms: float
    """Over all samples."""
    p90_ms: float | None = None
    """Null where so few samples can't support it; so is `p99_ms`."""
    p99_ms: float | None = None
    """Null where so few samples can't support it."""
    p50_interval_ms: tuple[float, float] | None = None
    """95 %, over processes; null for a single one."""
    throughput: float | None = None
    """Samples per second; on the data's lengths over the mean call, else over the median."""
    load_ms: float | None = None
    """From the file to a session."""
    first_run_ms: float | None = None
    """The first call, which is slower than the others."""
    load_rss_mb: float | None = None
    """Peak resident memory after loading, MB (10⁶ bytes)."""
    peak_rss_mb: float | None = None
    """Peak resident memory in all, MB (10⁶ bytes)."""
    with_copies_ms: float | None = None
    """On a GPU: a call that copies the inputs there and the logits back."""
    gpu_memory_mb: float | None = None
    """The process's memory on the GPU, MB; null without one."""
    gpu_clock_mhz: float | None = None
    """The GPU's clock; null without one."""
    process_p50_ms: list[float] = []
    """Each process's median."""
    process_peak_rss_mb: list[float] = []
    """Each process's peak."""
    contention: Contention | None = None
    """What disturbed it."""
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
    """The class."""
    top1: float
    """Accuracy within it."""


class Against(Document):
    """A model beside another one on the same samples."""

    agreement: float
    """Share of samples on which both name the same class."""
    top1_gain: float
    """A fraction; below zero it is right less often."""
    low: float
    """Lower end of the gain's 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""
    mcnemar_p: float
    """McNemar's exact p-value that both err equally often."""


class Accuracy(Document):
    """What a measured file says of the test split."""

    samples: int
    """Test rows."""
    top1: float
    """Share of samples whose class is named first."""
    top5: float
    """Share of samples whose class is among the first five."""
    nll: float | None
    """Raw negative log-likelihood, at temperature 1; nats."""
    ece: float | None
    """Raw expected calibration error, at temperature 1; 15 bins."""
    nll_calibrated: float | None = None
    """Of the probabilities that ship: at the file's calibration temperature; null without one."""
    ece_calibrated: float | None = None
    """Of the probabilities that ship: at the file's calibration temperature; null without one."""
    worst: list[WorstClass] = []
    """The classes it knows least, the worst first."""
    right: str
    """One bit per sample, whether it was classified rightly: base64."""
    data: str
    """Fingerprint of the data, and the split."""
    teacher: Against | None = None
    """Beside the teacher; null for the teacher itself."""
    fp32: Against | None = None
    """Beside the fp32 student; null for itself and for the teacher."""


class ModelFacts(Document):
    """What a file says of itself; null is what one from elsewhere does not say."""

    bytes: int
    """Of the file."""
    batch: int | None = None
    """Null where it takes any."""
    name: str | None = None
    """The architecture's name in its family."""
    role: str | None = None
    """teacher, student, …; `sketch` has random weights."""
    precision: str | None = None
    """fp32, fp16 or int8."""
    macs: int | None = None
    """Multiply–accumulate operations for one sample."""
    params: int | None = None
    """Parameters."""
    temperature: float | None = None
    """Calibration temperature fitted on validation."""
    size: int | None = None
    """Of its input, in its modality's measure."""
    max_length: int | None = None
    """Tokens that it takes at most; null where samples have no length, or nobody says."""
    any_length: bool = False
    """Whether its graph leaves the length open."""
    lengths: list[int] | None = None
    """Quantiles, evenly spaced, of its validation samples' lengths, which `data` stands for."""
    task: str | None = None
    """`lm`: a language model, which is timed token by token; null for others."""
    language: LanguageFigures | None = None
    """Of a language model of a run, on the whole test text; null where it was not measured."""
    accuracy: Accuracy | None = None
    """Null where it was not measured."""


class Verdict(Document):
    """Whether a file is worth it against the one it came from."""

    file: str
    """The file's label."""
    against: str
    """The file that it came from, or the reference."""
    provider: str
    """Execution provider by short name."""
    worth: Worth
    """The verdict."""
    text: str
    """One sentence with the reasons."""


class Benchmark(Document):
    """`benchmark.json`, and what `compress benchmark --json` prints."""

    schema_version: int = 1
    """Of the document's form."""
    reference: str = ""
    """The file that the others are compared with."""
    models: dict[str, ModelFacts] = {}
    """File → what it is and how accurate."""
    rows: list[Row]
    """One per file, provider, batch size, number of threads and length."""
    warnings: list[str] = []
    """What a reader must know."""
    host: Host | None = None
    """The machine."""
    versions: dict[str, str | None] = {}
    """Package → version; null where it is not installed."""
    measured: str | None = None
    """UTC."""
    verdicts: list[Verdict] = []
    """One per judged file and provider."""
    made_from: str | None = None
    """Fingerprint of files, settings and machine: a run that goes on does not measure again what it measured to the end."""
