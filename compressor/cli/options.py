"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

from compressor.errors import UsageError


def numbers(text: str, option: str) -> list[int]:
    """`1,8` → [1, 8]. Raises UsageError."""
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise UsageError(f"{option} '{text}': give whole numbers from 1, separated by commas, such as 1,8")
    return found
