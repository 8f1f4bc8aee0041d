"""Seeds derived from all that they stand for, and the process's random state and settings, kept as they were."""

from __future__ import annotations

import hashlib
import random
import sys


def derive_seed(*parts: object) -> int:
    """A 63-bit seed that depends on all `parts` and on nothing else, on any machine."""
    text = "\x1f".join(str(p) for p in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def seed_everything(seed: int) -> None:
    """Seeds Python, numpy and, where it is loaded, torch."""
    random.seed(seed)
    import numpy as np

    np.random.seed(seed % 2**32)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)
