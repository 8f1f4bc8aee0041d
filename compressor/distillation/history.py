"""The epochs of a training, one line of `metrics.jsonl` each."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from compressor.files import write_text


class History:
    """What is known of the epochs so far. The saved state has the records, too, and is what counts."""

    def __init__(self, path: Path, *, surest: bool = False) -> None:
        """`surest`: whether the best epoch is the one with the lowest NLL."""
        self.path = path
        self.surest = surest
        self.records: list[dict[str, Any]] = []

    def reset(self, records: list[dict[str, Any]]) -> None:
        """Makes these all that there is: epochs that will be trained again are dropped."""
        self.records = list(records)
        if self.records or self.path.is_file():
            write_text(self.path, "".join(json.dumps(record) + "\n" for record in self.records))

    def add(self, record: dict[str, Any]) -> None:
        """Writes an epoch down."""
        self.records.append(record)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    @property
    def best(self) -> dict[str, Any]:
        """The epoch that is right most often on validation, of equal ones the surest; the first of several."""
        return min(self.records, key=self.rank)

    def rank(self, seen: dict[str, Any]) -> tuple[float, ...]:
        """What validation says of some weights; the smallest is the best, and what is no number the worst."""
        nll = math.inf if math.isnan(seen["validation_nll"]) else seen["validation_nll"]
        return (nll,) if self.surest else (-seen["validation_top1"], nll)
