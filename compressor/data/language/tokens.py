"""The tokens of a corpus: those that are given, or a byte-level BPE trained on it, kept for the next time. No torch."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from compressor.artifact.text.read import END, read
from compressor.artifact.text.tokenizer import Tokenizer
from compressor.errors import ArtifactError, CompressorError, DataError
from compressor.files import cache_dir, read_json, write_text
from compressor.packages import require
from compressor.progress import Progress

CARDS = ("model.json", "student.json")
"""What a checkpoint's folder, and a run, say of their model."""
LENGTH = 128
"""Tokens of a window where nothing says it."""
Kind = Literal["bytelevel", "wordpiece"]
FRAME = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""BERT's special tokens, the first of a vocabulary."""
BEGINS = "▁"
TRAINED = 1
"""Counted up when a tokenizer would be trained otherwise."""


def brings(spelled: str) -> Path | None:
    """The place of a model that has a tokenizer, as it was given; None of what has none."""
    path = Path(spelled).expanduser()
    if path.is_dir() and any((path / name).is_file() for name in ("tokenizer.json", "vocab.txt", "vocab.json")):
        return path.absolute()
    return path.absolute() if _card(path) is not None else None


def given(place: Path) -> Tokenizer:
    """The tokenizer of a folder in Hugging Face's format, a run, or a checkpoint.

    Raises:
        DataError: there is none, or it is damaged.
    """
    card = _card(place)
    try:
        if card is None:
            return read(place)
        return Tokenizer.model_validate(read_json(card)["preprocessing"]["tokenizer"])
    except (KeyError, TypeError, ValidationError) as error:
        raise DataError(f"data.options.tokenizer: {card} is of a model without a tokenizer") from error
    except ArtifactError as error:
        raise DataError(f"data.options.tokenizer: {error}") from error


def length_for(place: Path) -> int:
    """Tokens of a window for a model at `place`: those that it was shown here, else `LENGTH` or what it can read."""
    card = _card(place)
    try:
        if card is not None:
            return int(read_json(card)["preprocessing"]["length"])
        read_of = read_json(place / "config.json")
        return min(LENGTH, int(read_of.get("n_positions", read_of.get("max_position_embeddings", LENGTH))))
    except (CompressorError, KeyError, TypeError, ValueError, AttributeError):
        # It is refused where it is read as a model.
        return LENGTH


def _card(path: Path) -> Path | None:
    places = [path / name for name in CARDS]
    if path.suffix == ".safetensors":
        places = [path.with_suffix(".json"), path.with_name(CARDS[0])]
    return next((place for place in places if place.is_file()), None)


def trained(
    texts: Sequence[str], content: str, vocabulary: int, progress: Progress, kind: Kind = "bytelevel"
) -> Tokenizer:
    """A tokenizer of at most `vocabulary` tokens, trained on `texts`; the same texts give the same tokens.

    `bytelevel`: BPE (Sennrich et al. 2016; Radford et al. 2019) in which every byte is a token, so that any text can be
    read; the first token ends a text. `wordpiece`: as BERT's uncased one. It is kept in the cache under `content`, the
    texts' fingerprint.

    Raises:
        MissingExtraError: the `tokenizers` library is not installed.
    """
    about = f"{TRAINED} {content} {vocabulary}" + ("" if kind == "bytelevel" else f" {kind}")
    name = hashlib.blake2b(about.encode(), digest_size=8).hexdigest()
    place = cache_dir() / "tokenizers" / f"{name}.json"
    if place.is_file():
        try:
            return Tokenizer.model_validate(read_json(place))
        except (CompressorError, ValidationError):  # damaged: it is trained again
            pass
    require("tokenizers")
    progress.say(f"training a tokenizer of {vocabulary:,} tokens on {sum(map(len, texts)):,} characters")
    made = _library(texts, vocabulary) if kind == "bytelevel" else _wordpiece(texts, vocabulary)
    write_text(place, made.model_dump_json())
    return made


def _library(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    from tokenizers import Tokenizer as Theirs
    from tokenizers import decoders, models, pre_tokenizers, trainers

    theirs: Any = Theirs(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[END], initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )  # fmt: skip
    theirs.train_from_iterator(texts, trainer)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save(str(Path(folder) / "tokenizer.json"))
        return read(Path(folder))


def _wordpiece(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    """By merging pairs, as the library's own trainer; that one numbers letters as a hash table has them, so that two of its
    trainings differ. Here a mark stands before each word, and says afterwards which tokens begin one.
    """
    from tokenizers import Tokenizer as Theirs
    from tokenizers import models, normalizers, pre_tokenizers, trainers

    theirs: Any = Theirs(models.BPE())
    theirs.normalizer = normalizers.BertNormalizer(lowercase=True)
    theirs.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Metaspace(replacement=BEGINS, prepend_scheme="always")]
    )
    counts = Counter(char for text in texts for char in theirs.normalizer.normalize_str(text) if not char.isspace())
    # Each letter is there twice, at the beginning of a word and within: half of the tokens are left for longer ones.
    letters = sorted(sorted(counts, key=lambda char: (-counts[char], char))[: vocabulary // 4])
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(FRAME) - len(letters), initial_alphabet=[BEGINS, *letters],
        limit_alphabet=len(letters) + 1, show_progress=False,
    )  # fmt: skip
    theirs.train_from_iterator(texts, trainer)
    learnt = set(theirs.get_vocab()) - {BEGINS}
    found = {token[1:] if token.startswith(BEGINS) else f"##{token}" for token in learnt}
    pad, unknown, first, last, mask = FRAME
    return Tokenizer(
        kind="wordpiece", vocabulary="\n".join([*FRAME, *sorted((found | set(letters)) - set(FRAME))]), lowercase=True,
        unknown=unknown, pad=pad, first=first, last=last, mask=mask,
        special={token: number for number, token in enumerate(FRAME)},
    )  # fmt: skip


def stream(texts: Sequence[str], tokenizer: Tokenizer) -> NDArray[np.int32]:
    """(tokens,): the texts' tokens, with the token that ends a text between two of them, where there is one."""
    end = tokenizer.end_id

    def flat() -> Iterator[int]:
        for number, text in enumerate(texts):
            if number and end is not None:
                yield end
            for word in tokenizer.words(text):
                yield from word

    return np.fromiter(flat(), dtype=np.int32)
