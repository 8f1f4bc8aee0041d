"""`data.options` of running text."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from pydantic import Field, ValidationError

from compressor.errors import DataError
from compressor.section import Section


class Options(Section):
    """How a corpus becomes windows of tokens."""

    length: int | None = Field(default=None, ge=2, le=65_536)
    """Tokens of a window, each of which is a row; null: as many as a teacher trained here was shown, else 128, or what a
    teacher can read, if that is less."""
    tokenizer: str | None = None
    """Folder with a tokenizer, or a run or checkpoint that has one; null: the teacher's own, or one trained on the corpus."""
    vocabulary: int = Field(default=4096, ge=257, le=1_000_000)
    """Tokens of a tokenizer that is trained here, at most."""
    text: str | None = None
    """Column of the text, in a table; null is guessed."""


class MaskedOptions(Options):
    """As `Options`, for windows of which some tokens are hidden."""

    length: int | None = Field(default=None, ge=8, le=4096)
    """Tokens of a window, [CLS] and [SEP] among them; 15 % of them are asked about. Null: as `Options`."""
    rare: float = Field(default=0.0, ge=0, le=10)
    """Asks about rare words more often: by their count in the corpus to the power of −this. DistilBERT: 0.7; 0: all alike."""


Kind = TypeVar("Kind", bound=Options)


@overload
def checked(given: dict[str, Any]) -> Options: ...


@overload
def checked(given: dict[str, Any], kind: type[Kind]) -> Kind: ...


def checked(given: dict[str, Any], kind: type[Options] = Options) -> Options:
    """The options, all of whose problems are named at once. Raises DataError."""
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        found = [f"data.options.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise DataError("; ".join(found) + f" (options of running text: {', '.join(kind.model_fields)})") from error
