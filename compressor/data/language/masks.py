"""Which tokens of a window are hidden, and behind what: a pure function of a seed. No torch.

As BERT does (Devlin et al. 2019, section 3.1): of the tokens that are asked about 80 % become [MASK], 10 % another token,
10 % stay. Rare words may be asked about more often (DistilBERT, `distiller.py:prepare_batch_mlm`; Lample and Conneau 2019).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compressor.artifact.text.masked import Window, asked
from compressor.artifact.text.tokenizer import Tokenizer

VERSION = 1
"""Counted up when masks that exist would change."""

Asked = tuple[Window, NDArray[np.int64]]
"""A window with some tokens hidden, and what stood at the places that are asked about, (asked,)."""

HIDDEN, OTHER = 0.8, 0.9
"""Up to here a draw hides the token, up to there it puts another one; beyond it stays."""


def special(tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """(tokens,): which are no words, such as [CLS] and [UNK]."""
    found = np.zeros(tokenizer.size, dtype=bool)
    named = (tokenizer.first_id, tokenizer.last_id, tokenizer.pad_id, tokenizer.mask_id, tokenizer.unknown_id)
    found[[*tokenizer.special.values(), *(number for number in named if number is not None)]] = True
    return found


def weights(counts: NDArray[np.int64], smoothing: float) -> NDArray[np.float64]:
    """(tokens,): how gladly each is asked about, its count in the corpus to the power of −`smoothing` (DistilBERT: 0.7)."""
    found: NDArray[np.float64] = np.maximum(counts, 1).astype(np.float64) ** -smoothing
    return found


def masked(
    ids: NDArray[np.int32],
    tokenizer: Tokenizer,
    seed: int,
    *,
    words: NDArray[np.bool_],
    gladly: NDArray[np.float64] | None = None,
) -> Asked:
    """A window with some tokens hidden, and what stood at the places that are asked about, (asked,).

    Args:
        ids: (length,), framed by [CLS] and [SEP], which are never asked about.
        tokenizer: whose tokens they are.
        seed: decides everything.
        words: (tokens,): which may be asked about; others are where a window has too few of them.
        gladly: (tokens,), see `weights`; None: all alike.
    """
    count, rng = asked(len(ids)), np.random.default_rng(seed)
    # The smallest exponential draws are a weighted sample without replacement (Efraimidis and Spirakis 2006).
    draws = rng.exponential(size=len(ids))
    if gladly is not None:
        draws /= gladly[ids]
    draws[[0, -1]] = np.inf
    order = np.lexsort((draws, ~words[ids] | np.isinf(draws)))
    inner = order[np.isfinite(draws[order])]
    places = np.sort(inner[:count])
    how, others = rng.random(count), rng.integers(0, tokenizer.size, count)
    assert tokenizer.mask_id is not None
    shown = ids.copy()
    shown[places] = np.where(how < HIDDEN, tokenizer.mask_id, np.where(how < OTHER, others, ids[places]))
    return Window(ids=shown, places=places.astype(np.int32)), ids[places].astype(np.int64)
