"""BERT (Devlin et al. 2019) as one plain module, with a head that classifies a text, and what it is made from."""

from __future__ import annotations

from typing import ClassVar, Literal, Protocol

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from compressor.models.architecture import Architecture
from compressor.models.outputs import Tap
from compressor.objectives.relations import Relations
from compressor.section import LONGEST

FAMILY = "bert"

Activation = Literal["gelu", "gelu_new", "relu"]
Pooling = Literal["first", "mean"]

HIDDEN = -10_000.0
"""Added to the score of a padded token, as BERT's own code does: its probability is 0, and half precision holds it."""

SPREAD = 0.02
"""Standard deviation of fresh weights."""


class TextArchitecture(Architecture):
    """Sizes of an encoder, and where its weights are."""

    changes: ClassVar[tuple[str, ...]] = ("layers", "hidden")

    family: str = FAMILY
    layers: int = Field(ge=1, le=256)
    hidden: int = Field(ge=1, le=65_536)
    """Channels of a token, `heads` times those of a head."""
    heads: int = Field(ge=1, le=1024)
    intermediate: int = Field(ge=1, le=262_144)
    """Channels between a layer's two last linear maps."""
    vocabulary: int = Field(ge=1, le=1_000_000)
    """Tokens that have an embedding."""
    positions: int = Field(default=512, ge=1, le=65_536)
    """Tokens of the longest text."""
    types: int = Field(default=2, ge=1, le=256)
    """Kinds of segments: the first and the second text of a pair."""
    activation: Activation = "gelu"
    epsilon: float = Field(default=1e-12, ge=0, le=1)
    """Of the layer norms."""
    pooling: Pooling = "first"
    """What is classified: [CLS] through the pooler, or the mean of all tokens."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """In training, of hidden states and attention."""
    source: str | None = Field(default=None, max_length=LONGEST)
    """Folder or hub's name with published weights."""
    labels: tuple[str, ...] = Field(default=(), max_length=1_000_000)
    """Classes of the published head, in their order."""
    kept: tuple[int, ...] = Field(default=(), max_length=256)
    """The teacher's layers that this one's start as."""

    @property
    def knows(self) -> tuple[str, ...]:
        """As config.json names them."""
        return self.labels

    @model_validator(mode="after")
    def _whole(self) -> TextArchitecture:
        if self.hidden % self.heads:
            raise ValueError(f"{self.hidden} channels can't be shared by {self.heads} heads")
        if self.kept and len(self.kept) != self.layers:
            raise ValueError(f"{len(self.kept)} layers are kept for {self.layers}")
        return self

    @property
    def copies_teacher(self) -> bool:
        """Whether layers of its teacher are kept."""
        return bool(self.kept)

    def depths(self) -> tuple[float, ...]:
        """How deep each layer's output is, 0 … 1; see `depths`."""
        return depths(self.layers, self.kept)


def depths(layers: int, kept: tuple[int, ...]) -> tuple[float, ...]:
    """How deep each layer's output is, 0 … 1: a layer kept from a teacher is where it was there; the last is 1."""
    places = kept or tuple(range(layers))
    return tuple((place + 1) / (places[-1] + 1) for place in places)


def taps(about: TextArchitecture) -> list[Tap]:
    """One after each layer."""
    return [
        Tap(index=index, channels=about.hidden, stride=1.0, side=1, depth=depth, heads=about.heads)
        for index, depth in enumerate(about.depths())
    ]


def activated(values: Tensor, activation: Activation) -> Tensor:
    """The values through the non-linearity."""
    if activation == "relu":
        return values.relu()
    return F.gelu(values, approximate="tanh" if activation == "gelu_new" else "none")


class Layer(nn.Module):
    """Self-attention and two linear maps, each with a residual and a layer norm after it."""

    def __init__(self, about: TextArchitecture) -> None:
        super().__init__()
        self.heads, self.activation, self.dropout = about.heads, about.activation, about.dropout
        self.query, self.key, self.value, self.attended = (nn.Linear(about.hidden, about.hidden) for _ in range(4))
        self.attended_norm = nn.LayerNorm(about.hidden, about.epsilon)
        self.up = nn.Linear(about.hidden, about.intermediate)
        self.down = nn.Linear(about.intermediate, about.hidden)
        self.down_norm = nn.LayerNorm(about.hidden, about.epsilon)

    def forward(self, hidden: Tensor, added: Tensor | None) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """(batch, length, hidden) and what is added to scores, if anything → the same, and query, key, value."""
        query, key, value = (self._heads(part(hidden)) for part in (self.query, self.key, self.value))
        dropout, mask = self.dropout if self.training else 0.0, None if added is None else added.to(query.dtype)
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        seen = self.attended(seen.transpose(1, 2).flatten(2))
        hidden = self.attended_norm(hidden + F.dropout(seen, dropout))
        wider = self.down(activated(self.up(hidden), self.activation))
        return self.down_norm(hidden + F.dropout(wider, dropout)), (query, key, value)

    def _heads(self, projected: Tensor) -> Tensor:
        """(batch, length, hidden) → (batch, heads, length, hidden / heads)."""
        heads: Tensor = projected.unflatten(2, (self.heads, -1)).transpose(1, 2)
        return heads


class Encoding(Protocol):
    """A module with an encoder's parts: see `furnish`."""

    about: TextArchitecture
    words: nn.Embedding
    places: nn.Embedding
    segments: nn.Embedding
    norm: nn.LayerNorm
    layers: nn.ModuleList
    training: bool


def furnish(model: Encoding, about: TextArchitecture) -> None:
    """Gives a module the embeddings and layers of an encoder, under the names that all heads share."""
    model.about = about
    model.words = nn.Embedding(about.vocabulary, about.hidden)
    model.places = nn.Embedding(about.positions, about.hidden)
    model.segments = nn.Embedding(about.types, about.hidden)
    model.norm = nn.LayerNorm(about.hidden, about.epsilon)
    model.layers = nn.ModuleList(Layer(about) for _ in range(about.layers))


def encode(
    model: Encoding, input_ids: Tensor, added: Tensor | None, segments: Tensor, taps: tuple[int, ...] = ()
) -> tuple[Tensor, list[Tensor], tuple[Tensor, Tensor, Tensor]]:
    """Hidden states after the last layer, after each of `taps`, and the last layer's query, key and value.

    Args:
        model: what was furnished.
        input_ids: (batch, length) int64.
        added: to the scores, (batch, 1, 1, length); None where every token is seen.
        segments: int64 that goes with `input_ids`: (batch, length), or fewer to be repeated.
        taps: layers, ascending.
    """
    # Looked up, not cut off the table: a graph whose length is open would be held to the table's.
    places = model.places(torch.arange(input_ids.shape[1], device=input_ids.device))
    hidden = model.norm(model.words(input_ids) + places + model.segments(segments))
    hidden = F.dropout(hidden, model.about.dropout, model.training)
    tapped, relations = [], (hidden, hidden, hidden)
    for index, layer in enumerate(model.layers):
        hidden, relations = layer(hidden, added)
        if index in taps:
            tapped.append(hidden)
    return hidden, tapped, relations


class Bert(nn.Module):
    """Token numbers → logits."""

    about: TextArchitecture
    words: nn.Embedding
    places: nn.Embedding
    segments: nn.Embedding
    norm: nn.LayerNorm
    layers: nn.ModuleList

    def __init__(self, about: TextArchitecture) -> None:
        super().__init__()
        furnish(self, about)
        self.pooler = nn.Linear(about.hidden, about.hidden) if about.pooling == "first" else None
        self.classifier = nn.Linear(about.hidden, about.classes)
        self.apply(fresh)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """(batch, length) int64 each → (batch, classes)."""
        return self.classified(self.pooled(self.encode(input_ids, attention_mask, token_type_ids)[0], attention_mask))

    def encode(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor, taps: tuple[int, ...] = ()
    ) -> tuple[Tensor, list[Tensor], tuple[Tensor, Tensor, Tensor]]:
        """Hidden states after the last layer, after each of `taps`, and the last layer's query, key and value."""
        added = ((1 - attention_mask) * HIDDEN)[:, None, None, :]
        return encode(self, input_ids, added, token_type_ids, taps)

    def pooled(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """(batch, length, hidden) → (batch, hidden): what is classified."""
        if self.pooler is not None:
            return torch.tanh(self.pooler(hidden[:, 0]))
        real = attention_mask.unsqueeze(2).to(hidden.dtype)
        return (hidden * real).sum(1) / real.sum(1).clamp(min=1)

    def classified(self, pooled: Tensor) -> Tensor:
        """(batch, hidden) → (batch, classes)."""
        logits: Tensor = self.classifier(F.dropout(pooled, self.about.dropout, self.training))
        return logits


def relations_of(parts: tuple[Tensor, Tensor, Tensor], attention_mask: Tensor) -> Relations:
    """Query, key and value with which of the tokens are no padding."""
    query, key, value = parts
    return Relations(query=query, key=key, value=value, mask=attention_mask.bool())


def fresh(module: nn.Module, spread: float = SPREAD) -> None:
    """As BERT's own: N(0, `spread`), no bias; layer norms change nothing."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=spread)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
