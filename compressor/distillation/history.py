"""The epochs of a training, one line of `metrics.jsonl` each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from compressor.files import write_text


class History:
    """What is known of the epochs so far."""

    def __init__(self, path: Path, epochs: int) -> None:
        """Reads the first `epochs` lines and drops those of epochs that will be trained again."""
        self.path = path
        self.records: list[dict[str, Any]] = []
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[:epochs]
            write_text(path, "".join(lines))
            self.records = [json.loads(line) for line in lines]

    def add(self, record: dict[str, Any]) -> None:
        """Writes an epoch down."""
        self.records.append(record)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    @property
    def best(self) -> dict[str, Any]:
        """The epoch that is right most often on validation, of equal ones the surest; the first of several."""
        return min(self.records, key=lambda record: (-record["validation_top1"], record["validation_nll"]))
