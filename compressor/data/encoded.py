"""The split that choices are made on, encoded once and kept on disk: no validation image is decoded in every epoch.

`$COMPRESS_CACHE/decoded/encoded-<fingerprint>/<input>-<block>.shard`: exactly what `Preprocessing.encode` gave.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressor.artifact.preprocessing import Inputs, Preprocessing
from compressor.data import shards
from compressor.errors import CompressorError
from compressor.files import cache_dir, read_json, write_json
from compressor.progress import Progress

BLOCK = 256  # samples a shard: what is held in memory while one is made


@dataclass(kw_only=True)
class Encoded:
    """Where the encoded samples of a dataset lie. One such object serves all models of a run."""

    content: str
    """Fingerprint of the samples."""
    limit: int
    """Bytes that all decoded stores together may take."""
    progress: Progress
    full: bool = False
    """No room: samples are read each time, which is said once."""
    checked: dict[tuple[Path, int], dict[str, NDArray[np.generic]]] = field(default_factory=dict)
    """Blocks that were found whole, and are open."""

    def inputs(
        self,
        indices: NDArray[np.int64],
        preprocessing: Preprocessing,
        encode: Callable[[NDArray[np.int64]], Inputs],
        batch_size: int,
    ) -> Iterator[tuple[NDArray[np.int64], Inputs]]:
        """(indices, encoded samples) per batch, in order, each sample encoded at most once.

        Args:
            indices: the split's samples.
            preprocessing: whose encoding it is.
            encode: some samples, encoded.
            batch_size: samples per batch.
        """
        folder = self._folder(indices, preprocessing)
        blocks: dict[int, Inputs] = {}
        for start in range(0, len(indices), batch_size):
            stop = min(start + batch_size, len(indices))
            needed = range(start // BLOCK, (stop - 1) // BLOCK + 1)
            blocks = {b: blocks[b] if b in blocks else self._block(folder, indices, b, encode) for b in needed}
            parts = [_cut(blocks[b], start - b * BLOCK, stop - b * BLOCK) for b in needed]
            yield indices[start:stop], {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _folder(self, indices: NDArray[np.int64], preprocessing: Preprocessing) -> Path:
        about = f"{self.content}\0{preprocessing.encoding}\0".encode() + indices.tobytes()
        return cache_dir() / "decoded" / f"encoded-{hashlib.blake2b(about, digest_size=10).hexdigest()}"

    def _block(
        self, folder: Path, indices: NDArray[np.int64], block: int, encode: Callable[[NDArray[np.int64]], Inputs]
    ) -> Inputs:
        own = indices[block * BLOCK : (block + 1) * BLOCK]
        if self.full:
            return encode(own)
        if (folder, block) not in self.checked:
            try:
                with shards.locked(folder):
                    found = _read(folder, block)
                    if found is None:
                        made = encode(own)
                        rest = len(indices) - block * BLOCK
                        size = sum(array.nbytes for array in made.values()) * rest // len(own)
                        shards.make_room(folder.parent, folder, size, self.limit)
                        _write(folder, block, made)
                        found = made
                    shards.touch(folder)
            except (OSError, CompressorError) as error:
                self.full = True
                self.progress.say(f"validation samples are decoded in every epoch: no room to keep them ({error})")
                return encode(own)
            self.checked[folder, block] = _read(folder, block) or dict(found)
        return dict(self.checked[folder, block])


def _write(folder: Path, block: int, inputs: Inputs) -> None:
    for name, array in inputs.items():
        shards.write(folder / f"{name}-{block:05d}.shard", array)
    write_json(
        folder / f"about-{block:05d}.json", {n: [list(array.shape), str(array.dtype)] for n, array in inputs.items()}
    )


def _read(folder: Path, block: int) -> dict[str, NDArray[np.generic]] | None:
    """The block, memory-mapped; None where it is missing or damaged."""
    try:
        about = read_json(folder / f"about-{block:05d}.json")
        files = {name: (folder / f"{name}-{block:05d}.shard", tuple(s), d) for name, (s, d) in about.items()}
    except (CompressorError, AttributeError, TypeError, ValueError, json.JSONDecodeError):
        return None
    if not all(shards.valid(*file) for file in files.values()):
        return None
    return {name: shards.open_array(*file) for name, file in files.items()}


def _cut(inputs: Inputs, start: int, stop: int) -> Inputs:
    return {name: array[max(0, start) : stop] for name, array in inputs.items()}
