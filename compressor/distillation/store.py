"""The rows of a target store and the files they lie in: `v<view>-<block>.shard`, each with a checksum.

A row holds the raw logits (all of them, or the largest K with their indices and the log-sum of the rest) and, where
asked for, the embedding and attention maps. Calibration and temperature are applied on reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from compressor.data import shards
from compressor.models.outputs import Outputs
from compressor.objectives.features import attention_map

ROWS_VERSION = 1
"""Counted up when `Layout.pack` writes a row in another way."""
BLOCK = 4096  # samples per shard: what a stop or a damaged byte costs at most


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a row of a store holds."""

    classes: int
    top_k: int | None
    """Stored logits per row; None stores all."""
    embedding: int
    """Channels of the pooled embedding; 0 stores none."""
    dtype: str
    """`float16` or `float32`."""
    attention: tuple[tuple[int, int], ...] = ()
    """(tap index, side in positions) of the stored attention maps, ascending."""
    power: float | None = None
    """Their exponent."""

    @property
    def width(self) -> int:
        """Values per row, in `dtype`."""
        # Indices take two values of 16 bits, or one of 32; the log-sum of the tail is one more logit.
        index = 2 if self.dtype == "float16" else 1
        maps = sum(side**2 for _, side in self.attention)
        return maps + self.embedding + (self.classes if self.top_k is None else self.top_k * (1 + index) + 1)

    @property
    def row_bytes(self) -> int:
        """Bytes per sample and view."""
        return self.width * np.dtype(self.dtype).itemsize

    def pack(self, outputs: Outputs) -> NDArray[Any]:
        """(batch, width) from what a teacher gave."""
        logits = outputs.logits.float().cpu()
        kind = np.dtype(self.dtype)
        parts: list[NDArray[Any]] = []
        if self.top_k is None:
            parts.append(logits.numpy().astype(kind))
        else:
            values, indices = logits.topk(self.top_k, dim=1)
            rest = logits.scatter(1, indices, float("-inf")).logsumexp(1, keepdim=True)
            parts += [values.numpy().astype(kind), indices.to(torch.int32).numpy().view(kind)]
            parts.append(rest.numpy().astype(kind))
        if self.embedding:
            assert outputs.embedding is not None
            parts.append(outputs.embedding.float().cpu().numpy().astype(kind))
        for maps in outputs.maps:
            assert self.power is not None
            parts.append(attention_map(maps, power=self.power).flatten(1).cpu().numpy().astype(kind))
        return np.concatenate(parts, axis=1)

    def unpack(self, rows: NDArray[Any]) -> Outputs:
        """What `pack` was given, as float32; with top-K the tail's probability is spread evenly."""
        k = self.top_k
        if k is None:
            end = self.classes
            logits = torch.from_numpy(rows[:, :end].astype(np.float32))
        else:
            index = 2 if self.dtype == "float16" else 1
            end = k * (1 + index) + 1
            values = torch.from_numpy(rows[:, :k].astype(np.float32))
            indices = torch.from_numpy(
                np.ascontiguousarray(rows[:, k : k * (1 + index)]).view(np.int32).astype(np.int64)
            )
            rest = torch.from_numpy(rows[:, end - 1 : end].astype(np.float32))
            tail = rest - float(np.log(self.classes - k))
            logits = tail.expand(-1, self.classes).scatter(1, indices, values)
        embedding = torch.from_numpy(rows[:, end : end + self.embedding].astype(np.float32)) if self.embedding else None
        end += self.embedding
        attention = []
        for _, side in self.attention:
            attention.append(torch.from_numpy(rows[:, end : end + side**2].astype(np.float32)).view(-1, side, side))
            end += side**2
        return Outputs(logits=logits, embedding=embedding, attention=tuple(attention))


@dataclass(frozen=True, kw_only=True)
class TargetStore:
    """A folder of shards for one teacher, one dataset and one way of making views."""

    folder: Path
    layout: Layout
    samples: int
    """Rows per view."""

    def path(self, view: int, block: int) -> Path:
        """A shard's file."""
        return self.folder / f"v{view:05d}-{block:05d}.shard"

    def shape(self, block: int) -> tuple[int, int]:
        """(samples, width) of a shard."""
        return min(BLOCK, self.samples - block * BLOCK), self.layout.width

    @property
    def blocks(self) -> int:
        """Shards per view."""
        return -(-self.samples // BLOCK)

    def missing(self, views: int, first: int = 0) -> list[tuple[int, int]]:
        """(view, block) of every shard from view `first` on that isn't there or is damaged. Reads all that are there."""
        return [
            (v, b)
            for v in range(first, views)
            for b in range(self.blocks)
            if not shards.valid(self.path(v, b), self.shape(b), self.layout.dtype)
        ]

    def bytes(self, views: int) -> int:
        """What `views` views take on disk."""
        return views * self.samples * self.layout.row_bytes
