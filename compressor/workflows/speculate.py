"""`speculate`: whether a draft speeds up its target, and whether the text stays the target's own. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compressor import runfolder
from compressor.artifact.text import language, sources
from compressor.artifact.text.generation import prompt_ids
from compressor.artifact.text.language import LanguageModel
from compressor.benchmarking import host
from compressor.benchmarking.drafts import Speculation
from compressor.benchmarking.speculation import Prompt, measure
from compressor.display import surroundings
from compressor.errors import UsageError
from compressor.options import within
from compressor.packages import require
from compressor.progress import Progress
from compressor.reporting import drafts
from compressor.reporting.screen import Block, Shown
from compressor.seeds import leaves_no_trace


@dataclass(frozen=True, kw_only=True)
class SpeculateResult(Shown):
    """Acceptance, speed and whether the texts are the target's own."""

    document: Speculation

    def blocks(self) -> list[Block]:
        """The table, the verdicts, and every text that differs."""
        return drafts.speculation(self.document)

    @property
    def faults(self) -> int:
        """Texts that differ by more than float noise."""
        return sum(not difference.tie for difference in self.document.differences)


@leaves_no_trace
def speculate(
    target: str | Path,
    draft: str | Path,
    *,
    data: str | Path,
    tokens: int = 4,
    max_tokens: int = 64,
    threads: int | None = None,
    progress: Progress | None = None,
) -> SpeculateResult:
    """Greedy speculative decoding of each prompt, against the target alone and an n-gram draft, in turn.

    Args:
        target: an exported language model, whose text is to be written.
        draft: a smaller one with the very same tokens, which guesses.
        data: prompts: a file with a text a line, or .csv, .tsv or .jsonl with a column of texts.
        tokens: guessed at a time.
        max_tokens: of each text.
        threads: of onnxruntime; None: it chooses.

    Raises:
        UsageError: two vocabularies, no prompts, or one that is longer than the target can read.
        ArtifactError: a file holds no language model.
    """
    progress = progress or surroundings()
    within("tokens", tokens, 1, 1000)
    within("max-tokens", max_tokens, 1, 1_000_000)
    if threads is not None:
        within("threads", threads, 1, 4096)
    require("onnxruntime")
    found = [(shown, text) for shown, text in sources.named(str(data)) if isinstance(text, str)]
    files = [runfolder.exported(named) for named in (target, draft)]
    models = [language.load(file, threads=threads) for file in files]
    same_tokens(*models)
    about = models[0].about
    prompts = [Prompt(shown=shown, ids=_fitting(shown, text, models[0])) for shown, text in found]
    seen = measure(
        models[0].reader(), models[1].reader(), prompts,
        guesses=tokens, limit=max_tokens, end=about.generation.end, progress=progress,
    )  # fmt: skip
    about_files = {"target": files[0].as_posix(), "drafted_by": files[1].as_posix()}
    document = seen.model_copy(update={**about_files, "threads": threads, "host": host.fingerprint()})
    return SpeculateResult(document=document)


def same_tokens(target: LanguageModel, draft: LanguageModel) -> None:
    """Raises UsageError where the two do not read the same tokens."""
    a, b = target.about.tokenizer, draft.about.tokenizer
    if a.digest == b.digest:
        return
    what = (
        f"the draft has {b.size} tokens and its target {a.size}"
        if a.size != b.size
        else f"both have {a.size} tokens, which are not the same ones (tokenizer {b.digest}, the target's {a.digest})"
    )
    raise UsageError(
        f"{draft.artifact.path} can't draft for {target.artifact.path}: {what}.\n"
        "A draft guesses its target's tokens: take one that was made with the same tokenizer."
    )


def _fitting(shown: str, text: str, model: LanguageModel) -> list[int]:
    try:
        return prompt_ids(text, model.about)
    except UsageError as error:
        raise UsageError(f"{shown}: {error}") from error
