"""What commands and calls are given: read from texts, checked, and as keys of a recipe."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from compressor.errors import UsageError
from compressor.section import Section, choices, field_at, shortened, span, wanted

Settings = Sequence[str] | Mapping[str, Any]
"""`--set` strings, or values by recipe key."""

Config = TypeVar("Config", bound=Section)

_OPTIONS = {
    "providers": "provider", "batches": "batch", "precisions": "precision", "max_latency_ms": "max-latency",
    "max_size_mb": "max-size", "max_memory_mb": "max-memory",
}  # fmt: skip
"""Keys that take several values or have a unit in their name, and the options that give them; the others have one name."""


def checked(kind: type[Config], **values: Any) -> Config:
    """A configuration from options. Raises UsageError naming the option that doesn't fit."""
    try:
        return kind(**values)
    except ValidationError as error:
        lines = []
        for e in error.errors():
            place = [str(part) for part in e["loc"]] or ["?"]
            key = place[1] if place[0] == "int8" and len(place) > 1 else place[0]
            option = _OPTIONS.get(key, key.replace("_", "-"))
            field = field_at(kind, place[: 1 + (place[0] == "int8")])
            message = e["msg"].removeprefix("Value error, ")
            if field and span(field):
                message = f"give {wanted(field)}" if choices(field) else f"{message} ({span(field)})"
            lines.append(f"--{option} {shortened(e.get('input'))}: {message}")
        raise UsageError("\n".join(dict.fromkeys(lines))) from error


KEYS = {
    "teacher": "teacher.model", "student": "student.model", "data": "data.source", "unlabeled": "data.unlabeled",
    "epochs": "stage.epochs", "batch_size": "stage.batch_size", "image_size": "data.image_size",
    "limit": "data.limit", "views": "stage.targets.views", "cache_limit": "stage.targets.cache_limit",
    "shift": "evaluation.shift", "strict_data": "data.strict", "task": "data.task",
    "max_latency": "student.budget.max_latency_ms", "max_size": "student.budget.max_size_mb",
    "max_memory": "student.budget.max_memory_mb", "precision": "student.budget.precisions",
}  # fmt: skip
"""Option → its key in the recipe, where it is not the option's own name."""


def listed(value: str | Sequence[Any] | None) -> list[Any] | None:
    """`a,b` or a sequence as a list."""
    if value is None:
        return None
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else list(value)


def whole(value: int | str | None) -> int | str | None:
    """A number that was typed, as a number; other words stay."""
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 20 else value


def within(option: str, value: int, low: int, high: int) -> int:
    """`value`, of an option that is no recipe's. Raises UsageError where it is out of its range."""
    if not low <= value <= high:
        raise UsageError(f"--{option} {shortened(value)}: give a whole number ({low:,} to {high:,})")
    return value


_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def lasting(text: str) -> float:
    """Seconds of `90s`, `10m`, `1h30m`. Raises ValueError, which says how it is written."""
    found = _DURATION.fullmatch(text.replace(" ", "").lower())
    hours, minutes, seconds = (float(part or 0) for part in (found.groups() if found else ("", "", "")))
    total = 3600 * hours + 60 * minutes + seconds
    if not 0 < total <= 1e7:
        raise ValueError("write how long with its units, such as 90s, 10m or 1h30m")
    return total


_UNITS = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zµ]*)")


def milliseconds(value: float | str) -> float:
    """Milliseconds of `5ms`, `0.5s`, `800us`; a bare number is milliseconds. Raises ValueError, which says how it is written."""
    return _measured(value, {"": 1.0, "ms": 1.0, "s": 1e3, "us": 1e-3, "µs": 1e-3}, "5ms or 0.5s")


def megabytes(value: float | str) -> float:
    """MB (10⁶ bytes) of `4MB`, `900KB`, `0.1GB`, `4MiB`; a bare number is MB. Raises ValueError, which says how it is written."""
    binary = {"kib": 1024 / 1e6, "mib": 1024**2 / 1e6}
    return _measured(value, {"": 1.0, "mb": 1.0, "kb": 1e-3, "gb": 1e3, "b": 1e-6} | binary, "4MB or 900KB")


def _measured(value: float | str, units: dict[str, float], example: str) -> float:
    found = _UNITS.fullmatch(str(value).strip().lower())
    amount = float(found.group(1)) * units.get(found.group(2), 0.0) if found else 0.0
    if not 0 < amount <= 1e9:
        raise ValueError(f"write a number above 0 with its unit, such as {example}")
    return amount


def numbers(value: int | str | Sequence[int] | None, option: str) -> list[int] | None:
    """`1,8`, 8 or a sequence → a list of whole numbers from 1. Raises UsageError."""
    if value is None:
        return None
    try:
        found = [int(part) for part in (value.split(",") if isinstance(value, str) else _several(value))]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise UsageError(f"{option} {shortened(value)}: give whole numbers from 1, separated by commas, such as 1,8")
    return found


def lengths(value: int | str | Sequence[int | str] | None) -> list[int | str] | None:
    """`8,32,data` → [8, 32, "data"]. Raises UsageError."""
    if value is None:
        return None
    parts = listed(str(value) if isinstance(value, int) else value) or []
    found = [number for part in parts if (number := whole(part)) is not None]
    if not found or any(part != "data" and not (isinstance(part, int) and part >= 1) for part in found):
        raise UsageError(
            f"--lengths {shortened(value)}: give whole numbers from 1, and the word data for those of the validation "
            "samples, separated by commas, such as 8,32,data"
        )
    return found


def _several(value: int | Sequence[int]) -> Sequence[int]:
    return [value] if isinstance(value, int) else value


def parts(names: str) -> list[str]:
    """`a,b` as its parts; `layers:6,hidden:256` is one name."""
    return [part.strip() for part in re.split(r",(?!\s*hidden:)", names) if part.strip()]


def options(**given: Any) -> dict[str, Any]:
    """Recipe key → value of the options that were given; None was not."""
    found = {KEYS.get(name, name): value for name, value in given.items() if value is not None}
    for key, value in found.items():
        if isinstance(value, Path):
            found[key] = str(value)
    assistants = found.get("assistants")
    if isinstance(assistants, str) and assistants not in ("none", "auto"):
        found["assistants"] = parts(assistants)
    elif assistants is not None and not isinstance(assistants, str):
        found["assistants"] = list(assistants)
    if "stage.targets.views" in found:
        found["stage.targets.views"] = whole(found["stage.targets.views"])
    return found


def spelled(verb: str, given: dict[str, Any], settings: Settings | None) -> str:
    """A call from Python, for `run.json`: what the command line is for a command."""
    own = {key.replace(".", "_"): value for key, value in given.items()} | ({"settings": settings} if settings else {})
    return f"compressor.{verb}({', '.join(f'{name}={value!r}' for name, value in own.items())})"
