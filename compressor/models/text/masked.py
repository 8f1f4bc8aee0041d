"""BERT that names masked words (Devlin et al. 2019): an encoder and, at the places it is asked about, a logit a token."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compressor.models.text.bert import SPREAD, TextArchitecture, activated, encode, fresh, furnish
from compressor.objectives.relations import Relations

FAMILY = "bert_mlm"

BASE = 768
"""Channels of the BERT whose fresh weights are known to do."""

HEAD = ("transform.weight", "transform.bias", "transform_norm.weight", "transform_norm.bias", "bias")
"""What is the head's own; its last map is the words' embedding."""


class MaskedBert(nn.Module):
    """Windows of tokens, none of them padding → logits of the places that are asked about."""

    about: TextArchitecture
    words: nn.Embedding
    places: nn.Embedding
    segments: nn.Embedding
    norm: nn.LayerNorm
    layers: nn.ModuleList

    def __init__(self, about: TextArchitecture) -> None:
        super().__init__()
        furnish(self, about)
        self.transform = nn.Linear(about.hidden, about.hidden)
        self.transform_norm = nn.LayerNorm(about.hidden, about.epsilon)
        self.bias = nn.Parameter(torch.zeros(about.vocabulary))
        # At 768 channels BERT's own. A narrow model that starts with weights as small names words by their frequency alone
        # for thousands of steps: its logits are products with the table of words.
        spread = SPREAD * math.sqrt(BASE / about.hidden)
        self.apply(lambda module: fresh(module, spread))

    def forward(self, input_ids: Tensor, places: Tensor) -> Tensor:
        """(batch, length) and (batch, places) int64 → (batch · places, classes)."""
        return self.named(asked(self.encode(input_ids)[0], places))

    def encode(self, input_ids: Tensor, taps: tuple[int, ...] = ()) -> tuple[Tensor, list[Tensor], Relations]:
        """Hidden states after the last layer, after each of `taps`, and the last layer's relations."""
        first = torch.zeros(1, 1, dtype=input_ids.dtype, device=input_ids.device)
        hidden, tapped, (query, key, value) = encode(self, input_ids, None, first, taps)
        return hidden, tapped, Relations(query=query, key=key, value=value, mask=torch.ones_like(input_ids).bool())

    def named(self, hidden: Tensor) -> Tensor:
        """(…, hidden) → (…, classes)."""
        seen = self.transform_norm(activated(self.transform(hidden), self.about.activation))
        # A table of words may have more rows than there are tokens.
        return F.linear(seen, self.words.weight[: self.about.classes], self.bias[: self.about.classes])


def asked(hidden: Tensor, places: Tensor) -> Tensor:
    """(batch, length, hidden) at (batch, places) → (batch · places, hidden), a sample's rows together."""
    index = places[:, :, None].expand(-1, -1, hidden.shape[2])
    return hidden.gather(1, index).flatten(0, 1)
