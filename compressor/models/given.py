"""Teachers that are given as answers or as a graph: they speak, and nothing of them can be trained."""

from __future__ import annotations

from torch import nn


class Given(nn.Module):
    """Its buffers hold what was given, whole: a stage's checkpoint needs the original file no more."""

    parameter_count: int | None = None
    """None where it can't be told."""
    mac_count: int | None = None
    """Multiply–accumulates for one sample; None where they can't be told."""
