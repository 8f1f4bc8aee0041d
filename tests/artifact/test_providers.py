"""What a session gives to its execution provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from compressor.artifact import providers, session
from compressor.errors import ArtifactError, ProviderError


def test_a_providers_options_reach_its_session(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    make = onnxruntime.InferenceSession

    def noting(*arguments: Any, provider_options: Any, **more: Any) -> Any:
        given.extend(provider_options)
        return make(*arguments, provider_options=provider_options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", noting)
    monkeypatch.setitem(providers.OPTIONS, "CPUExecutionProvider", {"use_arena": "0"})
    session.load(run / "student.onnx")
    assert given == [{"use_arena": "0"}]


def test_options_are_named_by_full_provider_names() -> None:
    assert set(providers.OPTIONS) <= set(providers.NAMES.values())


def test_an_unknown_provider_gets_the_nearest(run: Path) -> None:
    with pytest.raises(ProviderError, match="unknown provider 'cpuu'; did you mean 'cpu'"):
        session.load(run / "student.onnx", provider="cpuu")
    with pytest.raises(ArtifactError, match="no file"):
        session.load(run / "nothing.onnx")
