"""From a corpus to a source: tokens found, streams made, windows cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressor.artifact.text.tokenizer import Tokenizer
from compressor.data.config import DataConfig
from compressor.data.dataset import Source
from compressor.data.language import tokens
from compressor.data.language.corpus import Corpus, read_corpus
from compressor.data.language.options import Options, checked
from compressor.data.language.setup import LanguageSetup
from compressor.data.splits import SPLITS
from compressor.data.text.read import fingerprint
from compressor.errors import DataError
from compressor.progress import Progress

ROOM = {"validation": 100_000_000, "test": 25_000_000}
"""Bytes of the logits that are kept of each: validation decides, and of test the whole text is measured anyway."""
STEP = 8_400_000
"""Bytes of the logits of one forward: larger ones are given back to the system after each, and cost as much again."""
TOKENS = 2048
"""Of a step, where nobody says how many."""
SEEN = 10_000_000
"""Tokens that a model from scratch is trained on, where nobody says how many epochs; but no text `MOST` times."""
MOST = 30


def read_language(config: DataConfig, progress: Progress) -> Source:
    """Windows of a corpus as a source, a row per token.

    Raises:
        DataError: options that are none, a corpus that can't be read (`read_corpus`), a tokenizer that can't be had, or a
            split with fewer tokens than a window has.
    """
    options = checked(config.options)
    return _source(*settled(config, options, options.length or tokens.LENGTH, "bytelevel", progress), config)


def settled(
    config: DataConfig, options: Options, length: int, kind: tokens.Kind, progress: Progress
) -> tuple[Corpus, LanguageSetup]:
    """A corpus with its tokens, in windows of `length`; a tokenizer that has to be trained is of a `kind`.

    Raises:
        DataError: see `read_language`.
    """
    progress.say(f"reading {Path(config.source).name}")
    corpus = read_corpus(config, options)
    tokenizer = _tokenizer(corpus, options, kind, progress)
    setup = LanguageSetup(
        tokenizer=tokenizer, length=length, options=options,
        streams={name: tokens.stream(corpus.texts[name], tokenizer) for name in SPLITS},
        sizes={name: corpus.bytes(name) for name in SPLITS},
    )  # fmt: skip
    short = [f"{name} has {len(setup.stream(name))}" for name in SPLITS if not setup.windows(name)]
    if short:
        raise DataError(
            f"'{config.source}' is too short for windows of {setup.length} tokens: {', '.join(short)}.\n"
            "Give a longer text, or shorter windows: --set data.options.length=…"
        )
    return corpus, setup


def _tokenizer(corpus: Corpus, options: Options, kind: tokens.Kind, progress: Progress) -> Tokenizer:
    if options.tokenizer is not None:
        return tokens.given(Path(options.tokenizer).expanduser())
    texts = corpus.texts["train"]
    return tokens.trained(texts, fingerprint(texts), options.vocabulary, progress, kind)


def _source(corpus: Corpus, setup: LanguageSetup, config: DataConfig) -> Source:
    length, size = setup.length, setup.tokenizer.size
    row = length * size * 4
    held, notes = held_out(setup, row)
    epochs = passes(setup, config.limit)
    known = sum(len(setup.stream(name)) for name in SPLITS)
    first = f"{known:,} tokens of {size:,} kinds in windows of {length}"
    step = max(1, STEP // row)
    return Source(
        name=corpus.name,
        classes=setup.tokenizer.vocabulary.split("\n"),
        ids=names(setup),
        labels=np.concatenate([_labels(setup, name) for name in SPLITS]),
        read=lambda sample: setup.window(sample)[:-1],
        content=corpus.content,
        borders=corpus.borders,
        cut=f"{setup.tokenizer.digest} {length}",
        modality="language",
        setup=setup,
        fixed={"train": setup.samples("train"), **held},
        notes=[first, *corpus.notes, *notes],
        epochs=epochs,
        trained_epochs=max(1, epochs // 3),
        unused=corpus.unused,
        tokens=True,
        batch_size=max(4, min(64, TOKENS // length)),
        micro_batch=step if step < 64 else None,
    )


def names(setup: LanguageSetup) -> list[str]:
    """A name for each window."""
    return [f"{name}/{number:07d}" for name in SPLITS for number in range(setup.windows(name))]


def held_out(setup: LanguageSetup, row: int) -> tuple[dict[str, NDArray[np.int64]], list[str]]:
    """The windows of validation and of test whose logits, `row` bytes each, have room; and what is to be said of it."""
    held, notes = {}, []
    for name, room in ROOM.items():
        chosen = spread(setup.samples(name), max(1, room // row))
        held[name] = chosen
        if len(chosen) < setup.windows(name):
            notes.append(
                f"{name}: {len(chosen)} of {setup.windows(name):,} windows, evenly spread, are kept as predictions"
            )
    return held, notes


def passes(setup: LanguageSetup, limit: int | None) -> int:
    """Epochs in which a model from scratch sees about `SEEN` tokens."""
    trained = min(setup.windows("train"), limit or setup.windows("train"))
    return max(1, min(MOST, round(SEEN / (trained * setup.length))))


def _labels(setup: LanguageSetup, split: str) -> NDArray[np.int64]:
    """(windows, length): the token behind each token."""
    count = setup.windows(split)
    return setup.stream(split)[1 : count * setup.length + 1].reshape(count, setup.length).astype(np.int64)


def spread(indices: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many, from first to last at equal distances."""
    if len(indices) <= most:
        return indices
    return indices[np.unique(np.linspace(0, len(indices) - 1, most).round().astype(np.int64))]
