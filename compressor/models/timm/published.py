"""What is published of small models: their accuracy on ImageNet, and which of them are tried as students.

`published.csv` is derived from timm's `results/results-imagenet.csv` (github.com/huggingface/pytorch-image-models, commit
7479d45, Apache-2.0): for each architecture one of its weights trained at that size. Top-1 there is on ImageNet's validation
images; of another task it says which model tends to be better, and no more.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, kw_only=True)
class Published:
    """What timm's results say of one architecture."""

    name: str
    """timm's."""
    usual: bool
    """Whether it is a candidate where a person names none."""
    weights: str
    """The tag of the weights that were evaluated."""
    image_size: int
    """Height and width that they were evaluated at, pixels."""
    params_m: float
    """Millions of parameters, with a head of 1,000 classes."""
    top1: float
    """On ImageNet's validation images, a fraction."""


@cache
def published() -> dict[str, Published]:
    """Name → what is published, the least accurate first."""
    table = (files("compressor.models.timm") / "published.csv").read_text(encoding="utf-8")
    return {
        row["name"]: Published(
            name=row["name"],
            usual=row["usual"] == "1",
            weights=row["weights"],
            image_size=int(row["image_size"]),
            params_m=float(row["params_m"]),
            top1=round(float(row["top1"]) / 100, 5),
        )
        for row in csv.DictReader(table.splitlines())
    }


def usual() -> list[str]:
    """The candidates where a person names none: small and well known, of a dozen families."""
    return [name for name, row in published().items() if row.usual]
