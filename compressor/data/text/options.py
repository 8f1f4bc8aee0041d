"""`data.options` of texts."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError

from compressor.errors import DataError
from compressor.section import Section


class Options(Section):
    """Which columns hold what, how much of a text a model sees, and what a view hides. Null columns are guessed."""

    text: str | None = None
    """Column of the text; of a pair's first text. Given without `pair`, texts are single ones."""
    pair: str | None = None
    """Column of the second text, where a sample is a pair."""
    label: str | None = None
    """Column of the class."""
    max_length: int | None = Field(default=None, ge=4, le=4096)
    """Tokens of a text that a model sees, with the special ones; null: 128, or what the model has, if that is less."""
    mask: float = Field(default=0.0, ge=0, le=0.9)
    """Share of the words that a view hides behind the mask token (Tang et al. 2019); 0: a text has one view."""


def checked(given: dict[str, Any]) -> Options:
    """The options, all of whose problems are named at once. Raises DataError."""
    try:
        return Options.model_validate(given)
    except ValidationError as error:
        found = [f"data.options.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise DataError("; ".join(found) + f" (options of texts: {', '.join(Options.model_fields)})") from error
