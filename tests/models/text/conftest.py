"""Texts as a modality that the package knows."""

from __future__ import annotations

import pytest

from compressor.modalities import MODALITIES, Modality
from tests.models.text import standin  # noqa: F401  (before the family is imported)

ENTRY = Modality(
    preprocessing="compressor.artifact.text.preprocessing:TextPreprocessing",
    data="compressor.data.text.kind:TEXTS",
    families={"bert": "compressor.models.text.family:BERT"},
)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODALITIES, "text", ENTRY)
