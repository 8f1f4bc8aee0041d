"""What every section of a recipe has in common: it is bounded data.

Unknown keys, numbers out of their range, NaN, infinity and endless texts are refused where a value comes in, so that no
later code needs to ask. `tests/test_recipe.py` holds every number in every section to having both bounds.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

LONGEST = 4096
"""Characters of a text: the longest path that Linux takes."""

LARGEST_IMAGE = 4096
"""Pixels on each side."""

SEED = 2**63 - 1
"""Seeds lie between its negative and itself."""


class Section(BaseModel):
    """A section of a recipe: frozen, and nothing in it that it does not know."""

    # Not `str_max_length`: with it, pydantic refuses the names of files that are no UTF-8.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any, info: ValidationInfo) -> Any:
        """No text holds a NUL, which no path and no name can, or is endless; `yes` and `true` are no numbers."""
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and "\0" in text:
                raise ValueError("text must not hold a NUL character")
            if isinstance(text, str) and len(text) > LONGEST:
                raise ValueError(f"text should have at most {LONGEST} characters")
        field = cls.model_fields[info.field_name or ""]
        if (
            isinstance(value, bool)
            and not {bool, Any}.intersection(kinds := set(_types(field.annotation)))
            and kinds & {int, float}
        ):
            raise ValueError(f"give {wanted(field)}, not yes or no")
        return value


def bounds(field: FieldInfo) -> list[tuple[str, float | None, float | None]]:
    """Of each number that a field holds: the brackets of its range (`[]`, `(]`, …) and its ends, None for an open one."""
    return list(_numbers(field.annotation, field.metadata))


def span(field: FieldInfo) -> str | None:
    """The range of a field's numbers as a person reads it: `1 to 4096`, `above 0, to 1`; None where it holds none."""
    shown = [_spelled(*found) for found in bounds(field)]
    return shown[0] if shown else None


def wanted(field: FieldInfo) -> str:
    """What a field of numbers takes: `a whole number (1 to 4096) or 'auto'`."""
    whole = "a whole number" if int in set(_types(field.annotation)) else "a number"
    words = "".join(f" or '{word}'" for word in choices(field))
    return f"{whole} ({span(field)}){words}"


def choices(field: FieldInfo) -> list[str]:
    """The words that a field takes beside its numbers."""
    members = [field.annotation, *typing.get_args(field.annotation)]
    return [w for m in members if typing.get_origin(m) is typing.Literal for w in typing.get_args(m)]


def shortened(value: Any, most: int = 80) -> str:
    """`repr(value)`, cut where it is long: what was wrong may be a megabyte of it."""
    try:
        text = repr(value[: most + 1] if isinstance(value, str) else value)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        return f"a {type(value).__name__}"
    return text if len(text) <= most else f"{text[:most]}…"


def field_at(model: type[BaseModel], path: Sequence[str]) -> FieldInfo | None:
    """The field that a dotted path names, below `model`; None for one that isn't there."""
    field: FieldInfo | None = None
    here: type[BaseModel] | None = model
    for part in path:
        if here is None or part not in here.model_fields:
            return None
        field = here.model_fields[part]
        here = section_of(field)
    return field


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """The section that a field holds, if it holds one."""
    return next((t for t in _types(field.annotation) if isinstance(t, type) and issubclass(t, BaseModel)), None)


def _types(annotation: Any) -> Iterator[Any]:
    """The members of a union, and what is annotated, without their wrappings."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _types(typing.get_args(annotation)[0])
    elif origin is None:
        yield annotation
    elif origin in (list, tuple, dict, typing.Literal):
        yield origin
    else:
        for argument in typing.get_args(annotation):
            yield from _types(argument)


def _numbers(annotation: Any, given: Sequence[Any]) -> Iterator[tuple[str, float | None, float | None]]:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        inner = [m for extra in arguments[1:] for m in (extra.metadata if isinstance(extra, FieldInfo) else [extra])]
        yield from _numbers(arguments[0], inner)
    elif origin in (list, tuple):
        for argument in dict.fromkeys(arguments):
            yield from _numbers(argument, [])
    elif origin is not None and origin not in (dict, typing.Literal):
        for argument in arguments:
            yield from _numbers(argument, given)
    elif annotation in (int, float):
        found = {name: getattr(m, name) for m in given for name in ("ge", "gt", "le", "lt") if hasattr(m, name)}
        brackets = ("(" if "gt" in found else "[") + (")" if "lt" in found else "]")
        yield brackets, found.get("ge", found.get("gt")), found.get("le", found.get("lt"))


def _spelled(brackets: str, low: float | None, high: float | None) -> str:
    ends = _figure(low), _figure(high)
    form = {"[]": "{} to {}", "(]": "above {}, to {}", "[)": "from {}, below {}", "()": "between {} and {}"}[brackets]
    return form.format(*ends)


def _figure(value: float | None) -> str:
    return "…" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:g}"
