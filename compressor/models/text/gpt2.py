"""GPT-2 (Radford et al. 2019) as one plain module, with or without a cache of keys and values, and what it is made from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from compressor.models.architecture import Architecture
from compressor.models.text.bert import SPREAD, Activation, activated, depths
from compressor.section import LONGEST

FAMILY = "gpt2"

Cache = tuple[Tensor, Tensor]
"""A layer's keys and values, (batch, heads, tokens, channels of a head) each."""


class Gpt2Architecture(Architecture):
    """Sizes of a causal language model, and where its weights are. A class is a token."""

    changes: ClassVar[tuple[str, ...]] = ("layers", "hidden")

    family: str = FAMILY
    layers: int = Field(ge=1, le=256)
    hidden: int = Field(ge=1, le=65_536)
    """Channels of a token, `heads` times those of a head."""
    heads: int = Field(ge=1, le=1024)
    intermediate: int = Field(ge=1, le=262_144)
    """Channels between a layer's two last linear maps."""
    positions: int = Field(default=1024, ge=1, le=1_000_000)
    """Tokens of the longest text."""
    activation: Activation = "gelu_new"
    epsilon: float = Field(default=1e-5, ge=0, le=1)
    """Of the layer norms."""
    scaled: bool = True
    """Whether scores are divided by the root of a head's channels."""
    by_depth: bool = False
    """Whether they are also divided by the layer's number, from 1 on."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """In training, of embeddings, attention and what joins the residual."""
    source: str | None = Field(default=None, max_length=LONGEST)
    """Folder or hub's name with published weights."""
    kept: tuple[int, ...] = Field(default=(), max_length=256)
    """The teacher's layers that this one's start as."""

    @model_validator(mode="after")
    def _whole(self) -> Gpt2Architecture:
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
        """How deep each layer's output is, 0 … 1; see `bert.depths`."""
        return depths(self.layers, self.kept)

    @property
    def vocabulary(self) -> int:
        """Tokens that have an embedding, and a logit each."""
        return self.classes


class Block(nn.Module):
    """Self-attention on what came before and two linear maps, each after a layer norm and added to what came in."""

    def __init__(self, about: Gpt2Architecture, index: int) -> None:
        super().__init__()
        self.heads, self.activation, self.dropout = about.heads, about.activation, about.dropout
        scale = 1 / math.sqrt(about.hidden // about.heads) if about.scaled else 1.0
        self.scale = scale / (index + 1) if about.by_depth else scale
        self.norm = nn.LayerNorm(about.hidden, about.epsilon)
        self.parts = nn.Linear(about.hidden, 3 * about.hidden)
        """Query, key and value."""
        self.attended = nn.Linear(about.hidden, about.hidden)
        self.wide_norm = nn.LayerNorm(about.hidden, about.epsilon)
        self.up = nn.Linear(about.hidden, about.intermediate)
        self.down = nn.Linear(about.intermediate, about.hidden)

    def forward(self, hidden: Tensor, past: Cache | None, mask: Tensor | None) -> tuple[Tensor, Cache]:
        """(batch, new, hidden) → the same, and keys and values of all tokens so far.

        `mask` (new, past + new) is true where a token sees another; None: each sees those before it and itself.
        """
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in self.parts(self.norm(hidden)).chunk(3, dim=2)
        )
        if past is not None:
            key, value = torch.cat((past[0], key), dim=2), torch.cat((past[1], value), dim=2)
        dropout = self.dropout if self.training else 0.0
        seen = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=dropout, is_causal=mask is None, scale=self.scale
        )
        hidden = hidden + F.dropout(self.attended(seen.transpose(1, 2).flatten(2)), dropout)
        wider = self.down(activated(self.up(self.wide_norm(hidden)), self.activation))
        return hidden + F.dropout(wider, dropout), (key, value)


class Gpt2(nn.Module):
    """Token numbers → a logit for each token that may follow."""

    def __init__(self, about: Gpt2Architecture) -> None:
        super().__init__()
        self.about = about
        self.words = nn.Embedding(about.vocabulary, about.hidden)
        self.places = nn.Embedding(about.positions, about.hidden)
        self.layers = nn.ModuleList(Block(about, index) for index in range(about.layers))
        self.norm = nn.LayerNorm(about.hidden, about.epsilon)
        self._fresh()

    def forward(self, input_ids: Tensor) -> Tensor:
        """(batch, length) int64 → (batch, length, vocabulary)."""
        return self.logits(self.encode(input_ids)[0])

    def encode(
        self, input_ids: Tensor, past: Sequence[Cache] = (), taps: tuple[int, ...] = ()
    ) -> tuple[Tensor, list[Tensor], list[Cache]]:
        """Hidden states after the last norm, after each layer of `taps`, and the cache with the new tokens in it.

        Args:
            input_ids: (batch, new), what follows the tokens of `past`.
            past: a layer's keys and values each; none: the text begins here.
        """
        new = input_ids.shape[1]
        before = past[0][0].shape[2] if past else 0
        places = torch.arange(new, device=input_ids.device) + before
        mask = places[:, None] >= torch.arange(before + new, device=input_ids.device) if past else None
        hidden = F.dropout(self.words(input_ids) + self.places(places), self.about.dropout, self.training)
        tapped, present = [], []
        for index, layer in enumerate(self.layers):
            hidden, cache = layer(hidden, past[index] if past else None, mask)
            present.append(cache)
            if index in taps:
                tapped.append(hidden)
        return self.norm(hidden), tapped, present

    def logits(self, hidden: Tensor) -> Tensor:
        """The head is the embedding of words: (…, hidden) → (…, vocabulary)."""
        return F.linear(hidden, self.words.weight)

    def _fresh(self) -> None:
        """As GPT-2's own: N(0, 0.02), what joins the residual less the deeper the model; no bias."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "norm" not in name:
                joins = name.endswith(("attended.weight", "down.weight"))
                nn.init.normal_(parameter, std=SPREAD / math.sqrt(2 * self.about.layers) if joins else SPREAD)
