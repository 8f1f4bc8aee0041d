"""From a corpus to windows of which some tokens are hidden."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compressor.artifact.text.masked import asked
from compressor.artifact.text.tokenizer import Tokenizer
from compressor.data.config import DataConfig
from compressor.data.dataset import Source
from compressor.data.language import masks, read
from compressor.data.language.corpus import Corpus
from compressor.data.language.options import MaskedOptions, checked
from compressor.data.language.setup import LanguageSetup, shift_of
from compressor.data.language.tokens import LENGTH
from compressor.data.splits import SPLITS
from compressor.errors import DataError
from compressor.progress import Progress
from compressor.seeds import derive_seed

HELD = "held"
"""The view that evaluation sees."""
FRAME = 2
"""Tokens around those of a window: [CLS] and [SEP]."""
TOKENS = 4096
"""Of a step, where nobody says how many: a seventh of them are rows."""


@dataclass(frozen=True, kw_only=True)
class MaskedSetup:
    """`Dataset.setup` of masked words."""

    corpus: LanguageSetup
    """The streams, and where windows begin in them; its windows have no frame."""
    options: MaskedOptions
    words: NDArray[np.bool_]
    """(tokens,): see `masks.masked`."""
    gladly: NDArray[np.float64] | None

    @property
    def tokenizer(self) -> Tokenizer:
        """Whose tokens they are."""
        return self.corpus.tokenizer

    @property
    def length(self) -> int:
        """Tokens of a window, framed."""
        return self.corpus.length + FRAME

    def view(self, sample: int, name: str, seed: int, view: int | str) -> masks.Asked:
        """A sample, called `name`, as a view of it: shifted as `LanguageSetup.window`, and masked by its own draws."""
        shift = shift_of(seed, view, self.corpus.length) if isinstance(view, int) else 0
        tokenizer = self.tokenizer
        inner = self.corpus.window(sample, shift)[:-1]
        assert tokenizer.first_id is not None
        assert tokenizer.last_id is not None
        ids = np.concatenate([[tokenizer.first_id], inner, [tokenizer.last_id]]).astype(np.int32)
        drawn = derive_seed(seed, "mask", name, view)
        return masks.masked(ids, tokenizer, drawn, words=self.words, gladly=self.gladly)


def read_masked(config: DataConfig, progress: Progress) -> Source:
    """Windows of a corpus as a source, a row for each token that is asked about.

    Raises:
        DataError: as `read.read_language`; a tokenizer without [CLS], [SEP] and [MASK].
    """
    options = checked(config.options, MaskedOptions)
    corpus, setup = read.settled(config, options, (options.length or LENGTH) - FRAME, "wordpiece", progress)
    missing = [name for name in ("first", "last", "mask") if getattr(setup.tokenizer, name) is None]
    if missing:
        raise DataError(
            f"data.options.tokenizer: {options.tokenizer} has no token for {', '.join(missing)}, and masked words need "
            "[CLS], [SEP] and [MASK]: give an encoder's (BERT's, say)"
        )
    counts = np.bincount(setup.stream("train"), minlength=setup.tokenizer.size)
    own = MaskedSetup(
        corpus=setup, options=options, words=~masks.special(setup.tokenizer),
        gladly=masks.weights(counts, options.rare) if options.rare else None,
    )  # fmt: skip
    return _source(corpus, own, config)


def _source(corpus: Corpus, setup: MaskedSetup, config: DataConfig) -> Source:
    length, rows = setup.length, asked(setup.length)
    ids = read.names(setup.corpus)
    labels = np.stack([setup.view(i, name, config.seed, HELD)[1] for i, name in enumerate(ids)])
    row = rows * setup.tokenizer.size * 4
    held, notes = read.held_out(setup.corpus, row)
    known = sum(len(setup.corpus.stream(name)) for name in SPLITS)
    first = (
        f"{known:,} tokens of {setup.tokenizer.size:,} kinds in windows of {length}, {rows} of which are asked about"
    )
    epochs = read.passes(setup.corpus, config.limit)
    step = max(1, read.STEP // row)
    return Source(
        name=corpus.name,
        classes=setup.tokenizer.vocabulary.split("\n"),
        ids=ids,
        labels=labels,
        read=lambda sample: setup.view(sample, ids[sample], config.seed, HELD)[0],
        content=corpus.content,
        borders=corpus.borders,
        cut=f"{setup.tokenizer.digest} {length} masked {masks.VERSION} {setup.options.rare}",
        modality="masked",
        setup=setup,
        fixed={"train": setup.corpus.samples("train"), **held},
        notes=[first, *corpus.notes, *notes],
        epochs=epochs,
        trained_epochs=max(1, epochs // 3),
        unused=corpus.unused,
        tokens=True,
        batch_size=max(4, min(64, TOKENS // length)),
        micro_batch=step if step < 64 else None,
    )
