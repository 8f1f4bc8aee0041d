"""BERT's encoders as a family: see `models/family.py` for what each function is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressor.artifact.preprocessing import Inputs, Preprocessing
from compressor.artifact.text import read as tokenizers
from compressor.artifact.text.preprocessing import NAMES, TextPreprocessing
from compressor.artifact.text.tokenizer import Tokenizer
from compressor.errors import UsageError
from compressor.models.architecture import Architecture
from compressor.models.family import Known, Prepared, StateDict
from compressor.models.outputs import Outputs, Tap
from compressor.models.text import names, pretraining, weights
from compressor.models.text.bert import FAMILY, Bert, TextArchitecture, relations_of, taps

LONGEST = 128
"""Tokens of a text where nothing else is said."""


class BertFamily:
    """Encoders that classify a text or a pair."""

    def resolve(self, spelled: str, role: str) -> str:
        """A masked language model that was trained here as its absolute path; else see `names.resolve`."""
        path = Path(spelled).expanduser()
        return str(path.absolute()) if pretraining.claims(path) else names.resolve(spelled, role)

    def claims(self, path: Path) -> bool:
        """What `names.claims` does, and masked language models that were trained here: their encoders."""
        return names.claims(path) or pretraining.claims(path)

    def read(self, value: Any) -> TextArchitecture:
        """With its sizes."""
        return TextArchitecture.model_validate(value)

    def describe(
        self, name: str, *, classes: int, setup: Any, stem: str, teacher: Known | None = None
    ) -> tuple[TextArchitecture, TextPreprocessing]:
        """A folder, the hub's or what was trained here with its own tokens; any other name reads its teacher's."""
        if name in names.SIZES or names.by_teacher(name):
            known, encoding = _reading(name, teacher)
            architecture = (
                names.student(name, classes, known) if names.by_teacher(name) else names.fresh(name, classes, known)
            )
            longest = setup.max_length or encoding.max_length
            return architecture, encoding.model_copy(
                update={"max_length": min(longest, architecture.positions), "pair": setup.pair}
            )
        if pretraining.claims(Path(name)):
            architecture, tokenizer = pretraining.architecture(name, classes, FAMILY)
        else:
            architecture, tokenizer = weights.architecture(name, classes), tokenizers.read(weights.located(name))
        if tokenizer.size > architecture.vocabulary:
            raise UsageError(
                f"{name} knows {architecture.vocabulary} tokens, and the tokenizer beside it has {tokenizer.size}"
            )
        if setup.pair and architecture.types < 2:
            raise UsageError(f"{name} can't tell the two texts of a pair apart: its config.json has one type of token")
        return architecture, TextPreprocessing(
            tokenizer=tokenizer, max_length=min(setup.max_length or LONGEST, architecture.positions),
            pair=setup.pair, types=True, frame="bert",
        )  # fmt: skip

    def build(self, architecture: Architecture) -> nn.Module:
        """Fresh as BERT's own."""
        assert isinstance(architecture, TextArchitecture)
        return Bert(architecture)

    def pretrained(self, architecture: Architecture) -> StateDict:
        """See `weights.state` and `pretraining.state`; what has no source of its own has none."""
        assert isinstance(architecture, TextArchitecture)
        if architecture.source is None:
            raise UsageError(f"nobody publishes weights of {architecture.name}")
        trained_here = pretraining.claims(Path(architecture.source))
        return pretraining.state(architecture) if trained_here else weights.state(architecture)

    def shrunk(self, teacher: nn.Module, architecture: Architecture) -> StateDict:
        """Embeddings, the layers that are kept, and the pooler; no head."""
        assert isinstance(architecture, TextArchitecture)
        if not isinstance(teacher, Bert) or not architecture.kept or architecture.hidden != teacher.about.hidden:
            raise UsageError(f"{architecture.name} can't start as its teacher's layers: it is of another width or kind")
        taken = names.layers_of(teacher.state_dict(), architecture.kept)
        return {name: tensor for name, tensor in taken.items() if not name.startswith("classifier.")}

    def rate(self) -> float:
        """DistilBERT's."""
        return 5e-4

    def head(self, model: nn.Module) -> set[str]:
        """The classifier."""
        return {"classifier.weight", "classifier.bias"}

    def prepare(self, inputs: dict[str, Tensor], preprocessing: Preprocessing) -> Prepared:
        """Cut to the longest sample of the batch: (batch, length) int64 each."""
        length = max(1, int(inputs["attention_mask"].sum(1).max()))
        return tuple(inputs[name][:, :length].long() for name in NAMES)

    def forward(
        self, model: nn.Module, prepared: Prepared, *, embedding: bool = False, taps: tuple[int, ...] = ()
    ) -> Outputs:
        """Maps are hidden states after layers, (tokens that are no padding, channels, 1, 1)."""
        if not embedding and not taps:
            return Outputs(logits=model(*prepared))
        assert isinstance(model, Bert)
        mask = prepared[1]
        hidden, tapped, relations = model.encode(prepared[0], mask, prepared[2], taps)
        pooled = model.pooled(hidden, mask)
        return Outputs(
            logits=model.classified(pooled),
            embedding=pooled if embedding else None,
            maps=tuple(state[mask.bool()][:, :, None, None] for state in tapped),
            relations=relations_of(relations, mask) if embedding else None,
        )

    def taps(self, model: nn.Module, preprocessing: Preprocessing) -> tuple[list[Tap], int]:
        """One after each layer."""
        assert isinstance(model, Bert)
        return taps(model.about), model.about.hidden

    def example(self, preprocessing: Preprocessing, batch: int) -> Prepared:
        """Random tokens at the full length."""
        assert isinstance(preprocessing, TextPreprocessing)
        noise = preprocessing.noise(batch)
        return tuple(torch.from_numpy(noise[name]).long() for name in NAMES)

    def raw(self, preprocessing: Preprocessing, batch: int) -> tuple[nn.Module, Prepared]:
        """There is none."""
        raise UsageError("--uint8-input: a text goes in as numbers of tokens, which are no bytes")

    def input_names(self, *, raw: bool) -> tuple[str, ...]:
        """As everybody calls them."""
        return NAMES

    def dynamic(self) -> dict[str, dict[int, str]]:
        """The length."""
        return {name: {1: "length"} for name in NAMES}

    def untrained(self, name: str, size: int) -> tuple[TextArchitecture, TextPreprocessing, Inputs]:
        """With BERT's own number of tokens; `size` of them a text."""
        if name not in names.SIZES:
            raise UsageError(f"{name} can't be measured without its teacher: give one of {', '.join(names.SIZES)}")
        tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"t{i}" for i in range(5, 30_522))]
        tokenizer = Tokenizer(
            kind="wordpiece", vocabulary="\n".join(tokens), lowercase=True, strip_accents=None, split_chinese=True,
            unknown="[UNK]", pad="[PAD]", first="[CLS]", last="[SEP]", mask="[MASK]",
            special={token: i for i, token in enumerate(tokens[:5])},
        )  # fmt: skip
        layers, hidden = names.SIZES[name]
        architecture = TextArchitecture(
            name=name, classes=2, layers=layers, hidden=hidden, heads=hidden // names.HEAD, intermediate=4 * hidden,
            vocabulary=len(tokens),
        )  # fmt: skip
        preprocessing = TextPreprocessing(tokenizer=tokenizer, max_length=min(size, architecture.positions))
        return architecture, preprocessing, preprocessing.noise(4)

    def kin(self, name: str) -> list[str]:
        """See `names.kin`."""
        return names.kin(name)

    def packages(self) -> tuple[str, ...]:
        """torch's kernels."""
        return ("torch",)


def _reading(name: str, teacher: Known | None) -> tuple[TextArchitecture, TextPreprocessing]:
    """The teacher whose tokens `name` reads. Raises UsageError where there is none of this kind."""
    if teacher is None:
        raise UsageError(
            f"'{name}' has no tokens of its own: give an encoder as --teacher, or a folder with a tokenizer"
        )
    if not isinstance(teacher.architecture, TextArchitecture) or not isinstance(
        teacher.preprocessing, TextPreprocessing
    ):
        raise UsageError(f"'{name}' reads its teacher's tokens, and {teacher.architecture.name} is no encoder of texts")
    return teacher.architecture, teacher.preprocessing


BERT = BertFamily()
