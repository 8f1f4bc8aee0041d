"""A language model's perplexity on running text: of an exported file, or of a checkpoint. torch is only loaded for these."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor.artifact import session
from compressor.artifact.text import language
from compressor.artifact.text.tokenizer import Tokenizer
from compressor.data.config import DataConfig
from compressor.data.language import options, tokens
from compressor.data.language.corpus import Corpus, read_corpus
from compressor.data.splits import SPLITS
from compressor.errors import UsageError
from compressor.evaluation.document import LanguageEvaluation
from compressor.evaluation.perplexity import Read, of_text
from compressor.packages import require
from compressor.progress import Progress

LONGEST = 1024
"""Tokens of the window for a model of which nobody says what it was trained on, at most."""


@dataclass(frozen=True, kw_only=True)
class Writer:
    """A language model, wherever it comes from."""

    read: Read
    tokenizer: Tokenizer
    length: int
    """Tokens of the window: those that it was trained on, or that it can read."""
    trained_on: dict[str, Any]


def published(path: Path) -> bool:
    """Whether a folder holds weights as Hugging Face has them, and no checkpoint: what was exported from it counts."""
    return (path / "config.json").is_file() and not (path / "model.json").is_file()


def writer(path: Path, provider: str) -> Writer | None:
    """The language model in a file, a checkpoint or a run; None where there is another model, or none.

    Raises:
        ArtifactError, ProviderError, CheckpointError: it can't be loaded.
    """
    if path.suffix == ".onnx":
        require("onnxruntime")
        if session.load(path, provider=provider).task != "lm":
            return None
        model = language.load(path, provider=provider)
        about = model.about
        return Writer(
            read=model.logits, tokenizer=about.tokenizer, trained_on=dict(about.dataset or {}),
            length=about.generation.window or min(LONGEST, about.generation.positions),
        )  # fmt: skip
    require("torch", "safetensors")
    from compressor.evaluation.torch_predictor import reader_of
    from compressor.models import checkpoint
    from compressor.models.text.gpt2 import Gpt2Architecture

    found = checkpoint.find(path)
    card = checkpoint.read_card(found[1]) if found else None
    if card is None or not isinstance(card.architecture, Gpt2Architecture):
        return None
    tokenizer, length = (getattr(card.preprocessing, name) for name in ("tokenizer", "length"))
    read = reader_of(checkpoint.load(path)[0], tokenizer.size)
    return Writer(read=read, tokenizer=tokenizer, length=length, trained_on=card.dataset)


def evaluate_writer(
    own: Writer, named: str, config: DataConfig | None, data: str | None, split: str, progress: Progress
) -> LanguageEvaluation:
    """Perplexity and bits per byte on a corpus; on what it was trained on, of the test split alone where it is not said.

    Args:
        named: the model, as a person did.
        config: what the run that it lies in says of its data.
        data: another corpus.
        split: test, validation, train, all; auto: test of its own data, all of others.

    Raises:
        UsageError: the data have to be named.
        DataError: there is no running text.
    """
    if config is None:
        shares = {key: own.trained_on[key] for key in ("validation", "test") if key in own.trained_on}
        config = DataConfig(task="lm", **shares)
        if data is None:
            known = own.trained_on.get("name")
            where = (
                f"{named} was trained on '{known}', which is not here"
                if known
                else f"{named} does not say what it read"
            )
            raise UsageError(f"{where}.\nName the text: --data corpus.txt")
    source = config.source if data is None else data
    corpus = read_corpus(
        config.model_copy(update={"source": source}), options.checked(dict(config.options), options.Options)
    )
    if split == "auto":
        same = corpus.content == own.trained_on.get("content") and corpus.borders == own.trained_on.get("split")
        split = "test" if same else "all"
        if not same and own.trained_on:
            progress.say("this is not exactly the text it was trained on: all is used, some of which it may have seen")
    stream = tokens.stream(texts_of(corpus, split), own.tokenizer)
    size = sum(corpus.bytes(name) for name in (SPLITS if split == "all" else (split,)))
    found = of_text(own.read, own.tokenizer, stream, size, length=own.length, progress=progress)
    return LanguageEvaluation(model=named, data=corpus.name, split=split, language=found)


def texts_of(corpus: Corpus, split: str) -> list[str]:
    """A split's texts; of `all` one that was parted in one piece again."""
    if split != "all":
        return corpus.texts[split]
    parts = [corpus.texts[name] for name in SPLITS]
    if all(len(part) == 1 for part in parts):
        return ["".join(part[0] for part in parts)]
    return [text for part in parts for text in part]
