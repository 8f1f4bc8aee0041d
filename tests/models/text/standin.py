"""Stands in for `compressor.artifact.text` where that is not there yet."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Tokenizer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    vocabulary: str
    kind: str = "wordpiece"

    @property
    def size(self) -> int:
        return self.vocabulary.count("\n") + 1


def read(folder: Path) -> Tokenizer:
    return Tokenizer(vocabulary=(folder / "vocab.txt").read_text().rstrip("\n"))


def install() -> None:
    try:
        if importlib.util.find_spec("compressor.artifact.text.preprocessing"):
            return
    except ModuleNotFoundError:
        pass
    from compressor.artifact.preprocessing import Preprocessing

    class TextPreprocessing(Preprocessing):
        modality: ClassVar[str] = "text"
        tokenizer: Tokenizer
        max_length: int
        pair: bool = False
        types: bool = True
        frame: str = "bert"

        @property
        def view_key(self) -> str:
            return f"{self.max_length} {self.pair}"

        @property
        def shown(self) -> str:
            return f"{self.max_length} tokens"

        def _none(self, *_: Any) -> Any:
            raise NotImplementedError

        sources = open = encode = feed = example = contradiction = _none

    package, tokens, preprocessing = (
        ModuleType(f"compressor.artifact.text{end}") for end in ("", ".tokenizer", ".preprocessing")
    )
    package.__path__ = []
    vars(tokens).update(Tokenizer=Tokenizer, read=read)
    vars(preprocessing).update(TextPreprocessing=TextPreprocessing)
    vars(package).update(tokenizer=tokens, preprocessing=preprocessing)
    sys.modules.update({module.__name__: module for module in (package, tokens, preprocessing)})


install()
