"""What is measured: what each file says of itself, and its combinations of provider, batch, threads and length."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compressor.artifact import providers
from compressor.artifact.session import Artifact, load
from compressor.artifact.text import language
from compressor.benchmarking.child import NEW, PROMPT
from compressor.benchmarking.config import BenchmarkConfig
from compressor.benchmarking.document import ModelFacts
from compressor.benchmarking.lengths import DATA, Length, possible
from compressor.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One combination to be measured."""

    label: str
    """How the file is named in the results."""
    file: Path
    provider: str
    batch: int
    threads: int
    length: Length | None = None
    """None where the file says how long its inputs are."""

    @property
    def combination(self) -> tuple[str, int, int, Length | None]:
        """Cells of one are compared."""
        return self.provider, self.batch, self.threads, self.length


def describe(files: dict[str, Path], asked: Sequence[Length] | None = None) -> dict[str, ModelFacts]:
    """What each file (by label) says of itself.

    A file without the metadata that `compress export` writes is measured all the same, when its inputs say their sizes, or
    `asked` says how many tokens they are.

    Raises:
        ArtifactError: a file that can't be loaded, or whose inputs' sizes are unknown.
    """
    given = any(length != DATA for length in asked or ())
    return {label: _describe(load(file), given) for label, file in files.items()}


def _describe(artifact: Artifact, given: bool) -> ModelFacts:
    if artifact.task == "lm":
        return _writing(artifact)
    found = ModelFacts(bytes=artifact.path.stat().st_size, batch=artifact.batch, any_length=artifact.any_length)
    sides = [side for entry in artifact.inputs for side in entry.shape[1:]]
    known = [side for side in sides if isinstance(side, int)]
    if not artifact.described and ((sides and known == sides) or (given and artifact.any_length)):
        size = known[1] if len(known) == 3 else None  # a side of images, whether channels come first or last
        return found.model_copy(update={"size": size})
    about, facts = artifact.metadata, artifact.metadata.preprocessing.facts()
    names = ("name", "role", "precision", "macs", "params", "temperature", "lengths")
    own = {name: getattr(about, name) for name in names}
    return found.model_copy(update=own | {"size": facts.get("size"), "max_length": facts.get("max_length")})


def _writing(artifact: Artifact) -> ModelFacts:
    """A language model's, which is measured with one text at a time."""
    about = language.of(artifact).about
    return ModelFacts(
        bytes=artifact.path.stat().st_size, name=about.name, role=about.role, precision=about.precision,
        params=about.params, batch=1, task="lm",
    )  # fmt: skip


def cells(files: dict[str, Path], config: BenchmarkConfig, facts: dict[str, ModelFacts] | None = None) -> list[Cell]:
    """Every file (by label) × provider × batch × threads × length; `facts` as `describe` gives them.

    A file with a frozen batch is measured at that batch alone, one with fixed inputs at no length.

    Raises:
        ArtifactError: a file that can't be loaded or doesn't describe itself.
        ProviderError: a provider that isn't there.
        UsageError: a file takes none of the lengths.
    """
    chosen = config.providers or default_providers()
    for name in chosen:
        providers.resolve(name)
    facts = facts or describe(files, config.lengths)
    found = []
    for label, file in files.items():
        frozen = facts[label].batch
        batches = [frozen] if frozen else config.batches
        for own in itertools.product(chosen, batches, config.threads, _lengths(label, facts[label], config)):
            provider, batch, threads, length = own
            found.append(Cell(label=label, file=file, provider=provider, batch=batch, threads=threads, length=length))
    return found


def _lengths(label: str, facts: ModelFacts, config: BenchmarkConfig) -> Sequence[Length | None]:
    if not facts.any_length:
        return [None]
    found = possible(config.lengths, longest=facts.max_length, data=bool(facts.lengths))
    if not found:
        most = f"takes at most {facts.max_length} tokens" if facts.max_length else "has no maximum"
        known = "" if facts.lengths else " and does not say how long its data are"
        raise UsageError(f"{label} {most}{known}: give lengths that it takes, such as --lengths 4")
    return found


def default_providers() -> list[str]:
    """cpu, and cuda where the installed onnxruntime has it."""
    here = [providers.short(name) for name in providers.installed()]
    return ["cpu"] + (["cuda"] if "cuda" in here else [])


def reference(facts: dict[str, ModelFacts]) -> str:
    """The label that the others are compared with: the fp32 student, else the first file."""
    students = [label for label, f in facts.items() if f.role == "student" and f.precision == "fp32"]
    return (students or list(facts))[0]


def unlike(facts: dict[str, ModelFacts], config: BenchmarkConfig) -> list[str]:
    """What a reader must know of lengths: asked for and not measured, or other data's than those of the reference."""
    found = []
    if writing := [label for label, one in facts.items() if one.task == "lm"]:
        found.append(
            f"{', '.join(writing)}: time for a token, with a cache of those before (up to {PROMPT} tokens of a prompt, then "
            f"up to {NEW} more); the first run is the prompt's."
        )
    own = facts[reference(facts)].lengths
    for label, one in facts.items():
        absent = [length for length in config.lengths or () if length not in _lengths(label, one, config)]
        if one.any_length and absent:
            why = "" if one.max_length is None else f" (it takes at most {one.max_length} tokens)"
            found.append(f"{label} was not measured at {', '.join(map(str, absent))}{why}.")
        if one.lengths and own and one.lengths != own:
            found.append(
                f"{label}: the data's lengths are its own, {one.lengths[0]} to {one.lengths[-1]} tokens, where "
                f"{reference(facts)} has {own[0]} to {own[-1]}: these rows compare what each file was made for."
            )
    return found
