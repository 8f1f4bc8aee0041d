"""Tokenizers from folders: the three forms, and what is damaged or not supported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compressor.artifact.text.read import read
from compressor.errors import ArtifactError
from tests.artifact.text import oracle

Change = Callable[[dict[str, Any]], Any]


def test_a_vocabulary_file_gives_the_ids_of_the_whole_document(tmp_path: Path) -> None:
    made = oracle.wordpiece(lowercase=False)
    whole = read(oracle.saved(made, tmp_path / "whole"))
    by_id = sorted(made.get_vocab(), key=made.get_vocab().__getitem__)
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "vocab.txt").write_text("\n".join(by_id) + "\n", encoding="utf-8")
    (tmp_path / "file" / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert read(tmp_path / "file") == whole


def test_a_vocabulary_with_merges_gives_the_ids_of_the_whole_document(tmp_path: Path) -> None:
    made = oracle.bytelevel(prefix=False)
    whole = read(oracle.saved(made, tmp_path / "whole"))
    (tmp_path / "file").mkdir()
    made.model.save(str(tmp_path / "file"))
    assert read(tmp_path / "file") == whole
    assert whole.end_id == 0


def test_special_tokens_are_found(tmp_path: Path) -> None:
    ours = read(oracle.saved(oracle.wordpiece(lowercase=True), tmp_path))
    assert (ours.pad_id, ours.unknown_id, ours.first_id, ours.last_id, ours.mask_id) == (0, 1, 2, 3, 4)
    assert ours.id_of("[MASK]") == 4
    assert ours.id_of("no such") is None
    assert ours.size == len(ours.vocabulary.split("\n"))


def vocabulary(document: dict[str, Any]) -> dict[str, Any]:
    return document["model"]["vocab"]  # type: ignore[no-any-return]


WORDPIECE: dict[str, tuple[Change, str]] = {
    "a hole": (lambda d: vocabulary(d).pop("a"), "hole or a double"),
    "a double": (lambda d: vocabulary(d).update(a=7), "hole or a double"),
    "a huge id": (lambda d: vocabulary(d).update(new=10**30), "hole or a double"),
    "an id that is text": (lambda d: vocabulary(d).update(new="7"), "no whole number"),
    "an id that is a truth": (lambda d: vocabulary(d).update(new=True), "no whole number"),
    "an empty vocabulary": (lambda d: d.update(model=d["model"] | {"vocab": {}}, added_tokens=[]), "empty vocabulary"),
    "a vocabulary that is a number": (lambda d: d["model"].update(vocab=7), "form of a tokenizer"),
    "an empty token": (lambda d: vocabulary(d).update({"": len(vocabulary(d))}), "no token"),
    "no model": (lambda d: d.pop("model"), "form of a tokenizer"),
    "a model that is a list": (lambda d: d.update(model=[]), "form of a tokenizer"),
    "an added token without an id": (lambda d: d["added_tokens"][0].pop("id"), "form of a tokenizer"),
    "an added token with another id": (lambda d: d["added_tokens"][0].update(id=5), "two ids"),
    "no unknown token": (lambda d: d["model"].update(unk_token="nowhere"), "lacks the token"),
    "another model": (lambda d: d["model"].update(type="Unigram"), "Unigram"),
    "another normaliser": (lambda d: d["normalizer"].update(type="NFKC"), "the normaliser NFKC"),
    "another pre-tokeniser": (lambda d: d["pre_tokenizer"].update(type="Metaspace"), "Metaspace"),
    "a token that strips": (lambda d: d["added_tokens"][4].update(lstrip=True), "lstrip"),
    "another template": (lambda d: d["post_processor"]["single"].pop(), "template"),
    "texts for flags": (lambda d: d["normalizer"].update(lowercase="maybe"), "bool"),
}
BYTELEVEL: dict[str, tuple[Change, str]] = {
    "a merge of no tokens": (lambda d: d["model"]["merges"].append(["zzz", "qqq"]), "not of the vocabulary"),
    "a merge of one": (lambda d: d["model"]["merges"].append(["a"]), "form of a tokenizer"),
    "a merge that is a number": (lambda d: d["model"]["merges"].append(3), "form of a tokenizer"),
    "bytes to fall back on": (lambda d: d["model"].update(byte_fallback=True), "byte_fallback"),
    "another pattern": (lambda d: d["pre_tokenizer"].update(use_regex=False), "pattern"),
}


def refuses(folder: Path, change: Change, says: str) -> None:
    path = folder / "tokenizer.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ArtifactError, match=says) as caught:
        read(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", WORDPIECE)
def test_a_damaged_or_foreign_wordpiece_document_is_refused(tmp_path: Path, name: str) -> None:
    refuses(oracle.saved(oracle.wordpiece(lowercase=True), tmp_path), *WORDPIECE[name])


@pytest.mark.parametrize("name", BYTELEVEL)
def test_a_damaged_or_foreign_byte_level_document_is_refused(tmp_path: Path, name: str) -> None:
    refuses(oracle.saved(oracle.bytelevel(prefix=False), tmp_path), *BYTELEVEL[name])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", b'{"model": {"vocab": {"a": 0'),
        ("tokenizer.json", b"[1, 2]"),
        ("tokenizer.json", b"\xff\xfe\x00"),
        ("tokenizer.json", b"[" * 100_000),
        ("tokenizer.json", b""),
        ("vocab.txt", b"[UNK]\na\na\n"),
        ("vocab.txt", b"[UNK]\n\na\n"),
        ("vocab.txt", b"a\nb\n"),
        ("vocab.txt", b""),
        ("vocab.json", b'{"a": 0}'),
    ],
)
def test_damaged_files_are_refused_in_one_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=f"{name} is damaged: "):
        read(tmp_path)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no tokenizer"):
        read(tmp_path)
