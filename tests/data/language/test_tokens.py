"""The tokens of a corpus: trained by the library, ours in use; or a teacher's."""

from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers

from compressor.artifact.text.tokenizer import Tokenizer
from compressor.data.config import DataConfig
from compressor.data.kind import kind_of
from compressor.data.language import tokens
from compressor.errors import DataError
from compressor.files import cache_dir
from compressor.progress import Silent
from tests.data.language.corpora import prose
from tests.models.text import gpt2s


def library(own: Tokenizer) -> tokenizers.Tokenizer:
    merges = [(a, b) for a, b in (line.split(" ") for line in own.merges.split("\n"))]
    vocabulary = {token: number for number, token in enumerate(own.vocabulary.split("\n"))}
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=merges))
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return theirs


def test_trained_tokens_are_the_same_again_and_their_ids_the_librarys() -> None:
    text = prose()
    own = tokens.trained([text], "first", 320, Silent())
    assert 300 < own.size <= 320
    assert own.end_id == 0
    assert tokens._library([text], 320).digest == own.digest
    strange = text[:500] + "Größe, naïve café; 機械学習 😀\r\n\t 1,234.56"
    assert tokens.stream([strange], own).tolist() == library(own).encode(strange).ids
    assert own.decode(own.ids(strange)) == strange


def test_trained_tokens_are_kept_and_damaged_ones_are_trained_again(monkeypatch: pytest.MonkeyPatch) -> None:
    text = prose(seed=3)
    own = tokens.trained([text], "kept", 300, Silent())
    monkeypatch.setattr(tokens, "_library", lambda *a: pytest.fail("it was kept"))
    assert tokens.trained([text], "kept", 300, Silent()).digest == own.digest
    monkeypatch.undo()
    newest = max((cache_dir() / "tokenizers").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    newest.write_text("{")
    assert tokens.trained([text], "kept", 300, Silent()).digest == own.digest


def test_texts_of_a_stream_are_parted_by_the_token_that_ends_them() -> None:
    own = tokens.trained([prose()], "first", 320, Silent())
    a, b = own.ids("a cat"), own.ids("some birds")
    assert tokens.stream(["a cat", "some birds"], own).tolist() == [*a, 0, *b]


def test_a_teacher_that_has_tokens_settles_them_unless_they_are_given(tmp_path: Path) -> None:
    kind, config = kind_of("language"), DataConfig(source="x.txt", task="lm")
    folder = gpt2s.write(tmp_path / "gpt2")
    settled = kind.taught_by(config, ["layers:2", str(folder)]).options
    assert settled == {"tokenizer": str(folder), "length": 64}, "it can read 64 tokens"
    own = config.model_copy(update={"options": {"tokenizer": "elsewhere", "length": 8}})
    assert kind.taught_by(own, [str(folder)]) == own
    assert kind.taught_by(config, ["layers:2"]) == config
    with pytest.raises(DataError, match="fetch it"):
        kind.taught_by(config, ["hf-hub:gpt2"])


def test_a_place_without_tokens_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"preprocessing": {"size": 3}}')
    with pytest.raises(DataError, match="without a tokenizer"):
        tokens.given(tmp_path)
    with pytest.raises(DataError, match="holds no tokenizer"):
        tokens.given(tmp_path / "nowhere")
