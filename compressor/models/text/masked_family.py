"""Masked language models as a family: see `models/family.py` for what each function is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressor.artifact.preprocessing import Inputs, Preprocessing
from compressor.artifact.text import read as tokenizers
from compressor.artifact.text.masked import NAMES, MaskedPreprocessing
from compressor.artifact.text.tokenizer import Tokenizer
from compressor.errors import UsageError
from compressor.models.architecture import Architecture
from compressor.models.family import Known, Prepared, StateDict
from compressor.models.outputs import Outputs, Tap
from compressor.models.text import masked_weights, names, weights
from compressor.models.text.bert import TextArchitecture, taps
from compressor.models.text.masked import FAMILY, HEAD, MaskedBert, asked

WIDTH = 256
"""Channels of `layers:N`, where it has no teacher and doesn't say."""


class MaskedFamily:
    """Encoders that say what stood behind a mask."""

    def resolve(self, spelled: str, role: str) -> str:
        """See `names.resolve`."""
        return names.resolve(spelled, role)

    def claims(self, path: Path) -> bool:
        """See `names.claims`."""
        return names.claims(path)

    def read(self, value: Any) -> TextArchitecture:
        """With its sizes."""
        return TextArchitecture.model_validate(value)

    def describe(
        self, name: str, *, classes: int, setup: Any, stem: str, teacher: Known | None = None
    ) -> tuple[TextArchitecture, MaskedPreprocessing]:
        """`setup` knows the corpus' `tokenizer` and the `length` of its windows; a class is a token.

        `layers:N` is a student by its teacher or, where none is known, an encoder of its own.

        Raises:
            UsageError: a teacher of another kind, a vocabulary that is not the corpus', a window longer than it reads.
        """
        tokenizer: Tokenizer = setup.tokenizer
        if not (name in names.SIZES or names.by_teacher(name)):
            about = _published(name, classes, tokenizer)
        elif teacher is None or name in names.SIZES:
            about = _sized(name, classes, setup.length)
        elif isinstance(teacher.architecture, TextArchitecture) and teacher.architecture.family == FAMILY:
            about = names.student(name, classes, teacher.architecture)
        else:
            raise UsageError(
                f"'{name}' is a student by its teacher, and {teacher.architecture.name} names no masked words"
            )
        if about.vocabulary < tokenizer.size:
            raise UsageError(
                f"{name} knows {about.vocabulary} tokens, and the corpus is cut into {tokenizer.size}.\n"
                "Give the tokenizer that it was trained with: --set data.options.tokenizer=FOLDER"
            )
        if about.positions < setup.length:
            raise UsageError(
                f"{name} reads {about.positions} tokens, and a window has {setup.length}: "
                f"--set data.options.length={about.positions}"
            )
        return about, MaskedPreprocessing(tokenizer=tokenizer, length=setup.length)

    def build(self, architecture: Architecture) -> nn.Module:
        """Fresh as BERT's own."""
        assert isinstance(architecture, TextArchitecture)
        return MaskedBert(architecture)

    def pretrained(self, architecture: Architecture) -> StateDict:
        """See `masked_weights.state`; what has no source of its own has none."""
        assert isinstance(architecture, TextArchitecture)
        if architecture.source is None:
            raise UsageError(f"nobody publishes weights of {architecture.name}")
        return masked_weights.state(architecture)

    def shrunk(self, teacher: nn.Module, architecture: Architecture) -> StateDict:
        """Embeddings, the layers that are kept, and the head, as DistilBERT's `extract.py`: the tokens are the same."""
        assert isinstance(architecture, TextArchitecture)
        if not isinstance(teacher, MaskedBert) or not architecture.kept or architecture.hidden != teacher.about.hidden:
            raise UsageError(f"{architecture.name} can't start as its teacher's layers: it is of another width or kind")
        return names.layers_of(teacher.state_dict(), architecture.kept)

    def rate(self) -> float:
        """Of small encoders from nothing; DistilBERT's 5e-4 is for batches of thousands."""
        return 1e-3

    def head(self, model: nn.Module) -> set[str]:
        """What lies between the hidden states and the table of words."""
        return set(HEAD)

    def prepare(self, inputs: dict[str, Tensor], preprocessing: Preprocessing) -> Prepared:
        """int64."""
        return tuple(inputs[name].long() for name in NAMES)

    def forward(
        self, model: nn.Module, prepared: Prepared, *, embedding: bool = False, taps: tuple[int, ...] = ()
    ) -> Outputs:
        """A row for each place that is asked about; its embedding is the last hidden state there.

        Maps are hidden states after layers, (tokens, channels, 1, 1), of all tokens of the windows.
        """
        assert isinstance(model, MaskedBert)
        names.refuse_longer(prepared[0].shape[1], model.about)
        if not embedding and not taps:
            return Outputs(logits=model(*prepared))
        hidden, tapped, relations = model.encode(prepared[0], taps)
        rows = asked(hidden, prepared[1])
        return Outputs(
            logits=model.named(rows),
            embedding=rows if embedding else None,
            maps=tuple(state.flatten(0, 1)[:, :, None, None] for state in tapped),
            relations=relations if embedding else None,
        )

    def taps(self, model: nn.Module, preprocessing: Preprocessing) -> tuple[list[Tap], int]:
        """One after each layer."""
        assert isinstance(model, MaskedBert)
        return taps(model.about), model.about.hidden

    def example(self, preprocessing: Preprocessing, batch: int) -> Prepared:
        """Random tokens."""
        assert isinstance(preprocessing, MaskedPreprocessing)
        noise = preprocessing.noise(batch)
        return tuple(torch.from_numpy(noise[name]).long() for name in NAMES)

    def raw(self, preprocessing: Preprocessing, batch: int) -> tuple[nn.Module, Prepared]:
        """There is none."""
        raise UsageError("--uint8-input: a text goes in as numbers of tokens, which are no bytes")

    def input_names(self, *, raw: bool) -> tuple[str, ...]:
        """Tokens, and where something is asked."""
        return NAMES

    def dynamic(self) -> dict[str, dict[int, str]]:
        """The length, and how many places are asked about."""
        return {"input_ids": {1: "length"}, "places": {1: "asked"}}

    def untrained(self, name: str, size: int) -> tuple[TextArchitecture, MaskedPreprocessing, Inputs]:
        """None: `bert_tiny` and its like are measured as classifiers."""
        raise UsageError(f"{name} can't be measured without its corpus")

    def kin(self, name: str) -> list[str]:
        """See `names.kin`."""
        return names.kin(name)

    def packages(self) -> tuple[str, ...]:
        """torch's kernels."""
        return ("torch",)


def _published(name: str, tokens: int, corpus: Tokenizer) -> TextArchitecture:
    """A folder's or the hub's model, for the corpus' tokens. Raises UsageError where those beside it are others."""
    about, folder = masked_weights.architecture(name, tokens), weights.located(name)
    if about.vocabulary >= corpus.size and any((folder / file).is_file() for file in ("tokenizer.json", "vocab.txt")):
        own = tokenizers.read(folder)
        if own.vocabulary != corpus.vocabulary:
            raise UsageError(
                f"{name} has a vocabulary of {own.size} tokens, and the corpus is cut by another one of {corpus.size}: a "
                "student reads its teacher's tokens.\nTake layers:N for a student by its teacher, or two models with one "
                "tokenizer, and leave data.options.tokenizer out"
            )
    return about


def _sized(name: str, tokens: int, length: int) -> TextArchitecture:
    """An encoder from nothing: one of `names.SIZES`, or `layers:N[,hidden:M]`."""
    wanted = names.by_teacher(name)
    layers, hidden = (wanted[0], wanted[1] or WIDTH) if wanted else names.SIZES[name]
    # Heads of 64 channels as BERT's; a narrow one has a few small ones.
    heads = hidden // names.HEAD if hidden % names.HEAD == 0 else 4
    if hidden % heads:
        raise UsageError(f"'{name}': hidden should be a multiple of 4")
    return TextArchitecture(
        family=FAMILY, name=name, classes=tokens, layers=layers, hidden=hidden, heads=heads, intermediate=4 * hidden,
        vocabulary=tokens, positions=max(512, length),
    )  # fmt: skip


MASKED = MaskedFamily()
