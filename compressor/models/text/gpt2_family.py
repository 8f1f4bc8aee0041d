"""GPT-2's causal language models as a family: see `models/family.py` for what each function is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressor.artifact.preprocessing import Inputs, Preprocessing
from compressor.artifact.text import read as tokenizers
from compressor.artifact.text.window import IDS, WindowPreprocessing
from compressor.errors import UsageError
from compressor.models.architecture import Architecture
from compressor.models.family import Known, Prepared, StateDict
from compressor.models.outputs import Outputs, Tap
from compressor.models.text import gpt2_weights, names, weights
from compressor.models.text.gpt2 import Gpt2, Gpt2Architecture

HIDDEN = 256
"""Channels of a model from scratch, where its name does not say."""


class Gpt2Family:
    """Models that say what comes next: a row and its logits for each token of a window."""

    def resolve(self, spelled: str, role: str) -> str:
        """A folder as its absolute path; `layers:N[,hidden:M]` and the hub's names as they are."""
        if spelled.startswith(names.HUB) or names.by_teacher(spelled):
            return spelled
        path = Path(spelled).expanduser()
        if names.claims(path):
            return str(path.absolute())
        raise UsageError(
            f"{role} '{spelled}' is no language model that is known: give layers:N or layers:N,hidden:M (a teacher from "
            "scratch, or a student by its teacher), or a folder with GPT-2's config.json and weights"
        )

    def claims(self, path: Path) -> bool:
        """Whatever Hugging Face's transformers writes: what is no GPT-2 is refused by its kind."""
        return names.claims(path)

    def read(self, value: Any) -> Gpt2Architecture:
        """With its sizes."""
        return Gpt2Architecture.model_validate(value)

    def describe(
        self, name: str, *, classes: int, setup: Any, stem: str, teacher: Known | None = None
    ) -> tuple[Gpt2Architecture, WindowPreprocessing]:
        """A folder or the hub's; `layers:N` by its teacher, and without one from scratch, as long as the windows.

        Raises:
            UsageError: other tokens than the data's or the teacher's, or windows longer than it can read.
        """
        preprocessing = WindowPreprocessing(tokenizer=setup.tokenizer, length=setup.length)
        if not names.by_teacher(name):
            architecture = _published(name, classes, preprocessing)
        elif teacher is None:
            architecture = scratch(name, classes, setup.length)
        else:
            known = teacher.architecture
            if not isinstance(known, Gpt2Architecture):
                raise UsageError(f"'{name}' is a student by its teacher, and {known.name} is no language model")
            if known.classes != classes:
                raise UsageError(f"{known.name} knows {known.classes} tokens, and the data has {classes}")
            architecture = names.student(name, classes, known)
        if architecture.positions < setup.length:
            raise UsageError(
                f"{architecture.name} reads {architecture.positions} tokens at most, and the windows have {setup.length}: "
                f"--set data.options.length={architecture.positions}"
            )
        return architecture, preprocessing

    def build(self, architecture: Architecture) -> nn.Module:
        """Fresh as GPT-2's own."""
        assert isinstance(architecture, Gpt2Architecture)
        return Gpt2(architecture)

    def pretrained(self, architecture: Architecture) -> StateDict:
        """The folder's, without the embeddings of what the tokenizer has no token for."""
        assert isinstance(architecture, Gpt2Architecture)
        if architecture.source is None:
            raise UsageError(f"nobody publishes weights of {architecture.name}")
        found = gpt2_weights.state(architecture)
        return found | {"words.weight": found["words.weight"][: architecture.classes].clone()}

    def shrunk(self, teacher: nn.Module, architecture: Architecture) -> StateDict:
        """Embeddings, the layers that are kept, and the last norm."""
        assert isinstance(architecture, Gpt2Architecture)
        if not isinstance(teacher, Gpt2) or not architecture.kept or architecture.hidden != teacher.about.hidden:
            raise UsageError(f"{architecture.name} can't start as its teacher's layers: it is of another width or kind")
        return names.layers_of(teacher.state_dict(), architecture.kept)

    def rate(self) -> float:
        """What small models from scratch are trained at (Karpathy's nanoGPT)."""
        return 1e-3

    def head(self, model: nn.Module) -> set[str]:
        """None of its own: the embedding of words is the head."""
        return set()

    def prepare(self, inputs: dict[str, Tensor], preprocessing: Preprocessing) -> Prepared:
        """(batch, length) int64."""
        return (inputs[IDS].long(),)

    def forward(
        self, model: nn.Module, prepared: Prepared, *, embedding: bool = False, taps: tuple[int, ...] = ()
    ) -> Outputs:
        """Rows are tokens, window by window; the embedding is what the head reads; maps are (tokens, channels, 1, 1)."""
        assert isinstance(model, Gpt2)
        names.refuse_longer(prepared[0].shape[1], model.about)
        hidden, tapped, _ = model.encode(prepared[0], (), taps)
        rows = hidden.flatten(0, 1)
        return Outputs(
            logits=model.logits(rows),
            embedding=rows if embedding else None,
            maps=tuple(state.flatten(0, 1)[:, :, None, None] for state in tapped),
        )

    def taps(self, model: nn.Module, preprocessing: Preprocessing) -> tuple[list[Tap], int]:
        """One after each layer."""
        assert isinstance(model, Gpt2)
        about = model.about
        return [
            Tap(index=index, channels=about.hidden, stride=1.0, side=1, depth=depth)
            for index, depth in enumerate(about.depths())
        ], about.hidden

    def example(self, preprocessing: Preprocessing, batch: int) -> Prepared:
        """Random tokens, a whole window."""
        assert isinstance(preprocessing, WindowPreprocessing)
        return (torch.from_numpy(preprocessing.noise(batch)[IDS]).long(),)

    def raw(self, preprocessing: Preprocessing, batch: int) -> tuple[nn.Module, Prepared]:
        """There is none."""
        raise UsageError("--uint8-input: a text goes in as numbers of tokens, which are no bytes")

    def input_names(self, *, raw: bool) -> tuple[str, ...]:
        """As everybody calls it."""
        return (IDS,)

    def dynamic(self) -> dict[str, dict[int, str]]:
        """The length."""
        return {IDS: {1: "length"}}

    def untrained(self, name: str, size: int) -> tuple[Architecture, Preprocessing, Inputs]:
        """None: what a language model costs depends on its tokens, which are a corpus' or its teacher's."""
        raise UsageError(f"{name} has no tokens before it has seen a corpus: train it, then measure it")

    def kin(self, name: str) -> list[str]:
        """See `names.kin`."""
        return names.kin(name)

    def packages(self) -> tuple[str, ...]:
        """torch's kernels."""
        return ("torch",)


def scratch(name: str, classes: int, length: int) -> Gpt2Architecture:
    """What `layers:N[,hidden:M]` means without a teacher: heads of 64 channels where these divide the model's.

    It reads as many tokens as a window has: what comes behind it would be at places that no training saw.
    """
    wanted = names.by_teacher(name)
    assert wanted is not None
    layers, hidden = wanted[0], wanted[1] or HIDDEN
    width = next((size for size in (names.HEAD, 32, 16) if hidden % size == 0), hidden)
    return Gpt2Architecture(
        name=name, classes=classes, layers=layers, hidden=hidden, heads=hidden // width, intermediate=4 * hidden,
        positions=length,
    )  # fmt: skip


def _published(name: str, classes: int, preprocessing: WindowPreprocessing) -> Gpt2Architecture:
    """A folder's or the hub's model, for the data's tokens. Raises UsageError where its own are others."""
    about, own = gpt2_weights.architecture(name), tokenizers.read(weights.located(name))
    if own.size > about.vocabulary:
        raise UsageError(f"{name} knows {about.vocabulary} tokens, and the tokenizer beside it has {own.size}")
    if own.digest != preprocessing.tokenizer.digest:
        raise UsageError(
            f"{name} has a vocabulary of {own.size} tokens, and the data is cut by another one of "
            f"{preprocessing.tokenizer.size}: a student reads its teacher's tokens.\n"
            "Take layers:N for a student by its teacher, or a teacher and a student with one tokenizer."
        )
    return about.model_copy(update={"classes": classes})


GPT2 = Gpt2Family()
