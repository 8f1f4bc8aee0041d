"""What a model was trained on: prints of the samples (`data.prints`), in a small file beside its weights.

64 bits a sample, ascending, little-endian, and nothing else: there is nothing in it to be parsed or executed. The card
says how many and their digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.errors import CheckpointError
from compressor.files import replacing

SEEN = "seen.bin"
"""The file's name, beside whatever weights or graph: no card can name another."""

Seen = NDArray[np.uint64]


def write(folder: Path, prints: Iterable[Seen | None]) -> dict[str, Any]:
    """The file, and what the card says of it under `dataset`; neither where nothing is known."""
    known = [part for part in prints if part is not None and len(part)]
    if not known:
        return {}
    together = np.unique(np.concatenate(known)).astype("<u8")
    with replacing(folder / SEEN) as temporary:
        temporary.write_bytes(together.tobytes())
    return {"seen": _digest(together.tobytes()), "seen_samples": len(together)}


def read(beside: Path, trained_on: dict[str, Any]) -> Seen | None:
    """What the model at `beside` was trained on, as its card says; None where it doesn't, or the file was left behind.

    Raises:
        CheckpointError: the file is not the card's.
    """
    digest, path = trained_on.get("seen"), beside.with_name(SEEN)
    if digest is None or not path.is_file():
        return None
    data = path.read_bytes()
    if _digest(data) != digest or len(data) % 8:
        raise CheckpointError(
            f"{path} is damaged, or of another model than {beside.name}.\n"
            "Put the file back that was saved with it, or remove this one: its data's name alone is then compared."
        )
    return np.frombuffer(data, dtype="<u8")


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
