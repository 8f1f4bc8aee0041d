"""What lies there and is not used, counted by reason. No torch."""

from __future__ import annotations

import os
from pathlib import Path

from compressor.runnote import Unused

NAMED = 5
"""Files that are named of those that are not used for one reason."""
REASONS = 40
"""Reasons that are told apart; a folder of a thousand file types has one more, for all others."""


class Tally:
    """Files that are not used, counted by reason."""

    def __init__(self) -> None:
        self._found: dict[str, Unused] = {}

    def add(self, reason: str, *names: str, count: int = 0) -> None:
        """Files that are not used for a reason: those named, or more of which these are some."""
        if reason not in self._found and len(self._found) >= REASONS:
            reason = "other reasons"
        known = self._found.get(reason, Unused(reason=reason, count=0))
        self._found[reason] = Unused(
            reason=reason, count=known.count + (count or len(names)), examples=[*known.examples, *names][:NAMED]
        )

    def add_folder(self, reason: str, folder: Path, name: str) -> None:
        """All files below a folder."""
        for directory, _, files in os.walk(folder):
            inside = Path(directory).relative_to(folder)
            if files:
                self.add(reason, *((Path(name) / inside / f).as_posix() for f in files[:NAMED]), count=len(files))

    def unused(self) -> list[Unused]:
        """By reason, the most frequent first."""
        return sorted(self._found.values(), key=lambda entry: (-entry.count, entry.reason))
