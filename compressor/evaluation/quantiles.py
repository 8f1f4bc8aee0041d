"""Quantiles that intervals are made of: the normal's and Student's t. Only numpy, so that reports need no scipy."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

NORMAL = 1.96
"""The 97.5 % quantile of the normal distribution."""
FEW = 1000.0
"""Degrees of freedom beyond which Student's t is the normal's to 0.002."""
STEPS = 20_000


@lru_cache(maxsize=512)
def student_t(df: float, confidence: float = 0.95) -> float:
    """What |T| stays below with this confidence, T being Student's t with `df` (at least 1) degrees of freedom.

    With T = √df · tan θ the density of θ is proportional to cos(θ)^(df − 1): integrated by the trapezoid rule, then
    turned around.
    """
    df = min(max(df, 1.0), FEW)
    angle = np.linspace(0.0, math.pi / 2, STEPS + 1)
    density = np.cos(angle) ** (df - 1)
    below = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(df) * math.tan(float(np.interp(confidence, below / below[-1], angle)))
