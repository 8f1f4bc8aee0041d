"""Tokenizers as others write them: a Hugging Face folder.

It has a `tokenizer.json`, a `vocab.txt`, or a `vocab.json` and a `merges.txt`; the first that is there is read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from compressor.artifact.text.tokenizer import MOST, Tokenizer
from compressor.errors import ArtifactError

LARGEST = 128_000_000
"""Bytes of a file."""

BERT = {"unknown": "[UNK]", "pad": "[PAD]", "first": "[CLS]", "last": "[SEP]", "mask": "[MASK]"}
"""What these tokens are called where no file says it."""

KEYS = {
    "unknown": "unk_token", "pad": "pad_token", "first": "cls_token", "last": "sep_token", "mask": "mask_token",
    "end": "eos_token",
}  # fmt: skip
"""What Hugging Face's files call them."""

END = "<|endoftext|>"

Document = dict[str, Any]


class _Unsupported(Exception):
    pass


def read(folder: Path) -> Tokenizer:
    """The tokenizer in a folder.

    Raises:
        ArtifactError: there is none, it is damaged, or of a kind that is not supported (the message names it).
    """
    found = next(
        (folder / name for name in ("tokenizer.json", "vocab.txt", "vocab.json") if (folder / name).is_file()), None
    )
    if found is None:
        raise ArtifactError(f"{folder} holds no tokenizer: no tokenizer.json, vocab.txt or vocab.json")
    try:
        about = _names(folder)
        if found.name == "tokenizer.json":
            return _whole(_json(found), about)
        if found.name == "vocab.txt":
            return _vocabulary_file(_text(found), about)
        return _byte_level(_json(found), _text(folder / "merges.txt").split("\n"), about, {})
    except ValidationError as error:
        raise ArtifactError(f"{found} is damaged: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error
    except _Unsupported as error:
        raise ArtifactError(
            f"{found} is not supported: {error}. "
            f"What is: BERT's WordPiece with its normaliser, and GPT-2's byte-level BPE"
        ) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise ArtifactError(f"{found} is damaged: {_told(error)}") from error


def _told(error: Exception) -> str:
    text = str(error).splitlines()[0][:200] if str(error) else ""
    plain = isinstance(error, OSError | ValueError) and text
    return text if plain else f"it has not the form of a tokenizer ({type(error).__name__} {text})".replace(" )", ")")


def _text(path: Path) -> str:
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path.name} has more than {LARGEST // 1_000_000} MB")
    return path.read_text(encoding="utf-8", errors="strict")


def _json(path: Path) -> Document:
    document = json.loads(_text(path))
    if not isinstance(document, dict):
        raise ValueError(f"{path.name} is no JSON object")
    return document


def _names(folder: Path) -> Document:
    """What `tokenizer_config.json` and `special_tokens_map.json` say, where they are there."""
    about: Document = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            about |= _json(folder / name)
    return about


def _called(about: Document, ids: dict[str, int], defaults: dict[str, str]) -> dict[str, str]:
    """Our word → token, for the tokens that the vocabulary has."""
    found = {}
    for ours, theirs in KEYS.items():
        token = about.get(theirs) or defaults.get(ours)
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str) and token in ids:
            found[ours] = token
    return found


def _lines(ids: Document) -> str:
    """token → id as tokens by id. Raises ValueError for holes and doubles."""
    if not all(type(number) is int for number in ids.values()):
        raise ValueError("an id that is no whole number")
    if len(ids) > MOST:
        raise ValueError(f"a vocabulary of {len(ids)} tokens, more than {MOST}")
    if not ids:
        raise ValueError("an empty vocabulary")
    by_id = sorted(ids, key=ids.__getitem__)
    odd = next((token for number, token in enumerate(by_id) if ids[token] != number), None)
    if odd is not None:
        raise ValueError(f"ids with a hole or a double before {ids[odd]} ({odd[:60]!r})")
    if any("\n" in token for token in by_id):
        raise _Unsupported("a token with a line break in it")
    return "\n".join(by_id)


def _vocabulary_file(text: str, about: Document) -> Tokenizer:
    """`vocab.txt`: a token a line. Lines end in \\n alone: BERT's vocabularies have U+2028 and the like as tokens."""
    tokens = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    ids = {token: number for number, token in enumerate(tokens)}
    named = _called(about, ids, BERT)
    return Tokenizer(
        kind="wordpiece",
        vocabulary="\n".join(tokens),
        lowercase=about.get("do_lower_case", True),
        strip_accents=about.get("strip_accents"),
        split_chinese=about.get("tokenize_chinese_chars", True),
        special={token: ids[token] for token in named.values()},
        **named,  # type: ignore[arg-type]
    )


def _whole(document: Document, about: Document) -> Tokenizer:
    """`tokenizer.json`."""
    model = document["model"]
    kind = model.get("type") or ("BPE" if "merges" in model else "WordPiece")
    if kind not in ("WordPiece", "BPE"):
        raise _Unsupported(f"a model of the type {kind!r}")
    ids, special = dict(model["vocab"]), {}
    for entry in document.get("added_tokens") or []:
        token, number = entry["content"], entry["id"]
        if ids.setdefault(token, number) != number:
            raise ValueError(f"the token {token[:60]!r} has two ids")
        odd = [name for name in ("single_word", "lstrip", "rstrip") if entry.get(name)]
        if kind == "WordPiece" and entry.get("normalized"):
            odd.append("normalized")
        if odd:
            raise _Unsupported(f"the added token {token[:60]!r} with {odd[0]}")
        special[token] = number
    if kind == "BPE":
        return _byte_level_of(document, ids, about, special)
    return _wordpiece_of(document, ids, about, special)


def _only(part: Any, inner: str) -> Document:
    """A part of the document; of a sequence with one part that one."""
    if isinstance(part, dict) and part.get("type") == "Sequence" and len(part[inner]) == 1:
        part = part[inner][0]
    return part or {"type": None}


def _expect(part: Document, name: str, allowed: tuple[str | None, ...]) -> None:
    if part["type"] not in allowed:
        raise _Unsupported(f"{name} {part['type'] or 'none'}")


def _wordpiece_of(document: Document, ids: Document, about: Document, special: dict[str, int]) -> Tokenizer:
    model = document["model"]
    normaliser = _only(document.get("normalizer"), "normalizers")
    _expect(normaliser, "the normaliser", ("BertNormalizer",))
    _expect(_only(document.get("pre_tokenizer"), "pretokenizers"), "the pre-tokeniser", ("BertPreTokenizer",))
    if not normaliser.get("clean_text", True):
        raise _Unsupported("a BertNormalizer without clean_text")
    if model.get("continuing_subword_prefix", "##") != "##" or model.get("max_input_chars_per_word", 100) != 100:
        raise _Unsupported("WordPiece with another prefix than ## or another longest word than 100")
    named = _called(about, ids, BERT) | _framed(document.get("post_processor"))
    named["unknown"] = model.get("unk_token", "[UNK]")
    return Tokenizer(
        kind="wordpiece",
        vocabulary=_lines(ids),
        lowercase=normaliser.get("lowercase", True),
        strip_accents=normaliser.get("strip_accents"),
        split_chinese=normaliser.get("handle_chinese_chars", True),
        special=special,
        **named,  # type: ignore[arg-type]
    )


def _framed(post: Document | None) -> dict[str, str]:
    """What the post-processor puts before and behind a text."""
    kind = (post or {"type": None})["type"]
    if post is None:
        return {}
    if kind == "BertProcessing":
        return {"first": post["cls"][0], "last": post["sep"][0]}
    if kind != "TemplateProcessing":
        raise _Unsupported(f"the post-processor {kind}")
    spelled = [next(iter(part.items())) for part in post["single"]]
    if [name for name, _ in spelled] != ["SpecialToken", "Sequence", "SpecialToken"]:
        raise _Unsupported("a template that is not [CLS] text [SEP]")
    return {"first": spelled[0][1]["id"], "last": spelled[2][1]["id"]}


def _byte_level_of(document: Document, ids: Document, about: Document, special: dict[str, int]) -> Tokenizer:
    model = document["model"]
    _expect(_only(document.get("normalizer"), "normalizers"), "the normaliser", (None,))
    before = _only(document.get("pre_tokenizer"), "pretokenizers")
    _expect(before, "the pre-tokeniser", ("ByteLevel",))
    if not before.get("use_regex", True):
        raise _Unsupported("ByteLevel without its pattern")
    for key in (
        "dropout",
        "continuing_subword_prefix",
        "end_of_word_suffix",
        "byte_fallback",
        "ignore_merges",
        "fuse_unk",
    ):
        if model.get(key):
            raise _Unsupported(f"BPE with {key}")
    merges = [line if isinstance(line, str) else f"{line[0]} {line[1]}" for line in model["merges"]]
    about = {**about, "add_prefix_space": before.get("add_prefix_space", True)}
    about["unk_token"] = model.get("unk_token")
    return _byte_level(ids, merges, about, special)


def _byte_level(ids: Document, merges: list[str], about: Document, special: dict[str, int]) -> Tokenizer:
    """From `vocab.json` and `merges.txt`, or what `tokenizer.json` has of them."""
    kept = [line.removesuffix("\r") for line in merges if line.strip() and not line.startswith("#version")]
    named = _called(about, ids, {"end": END})
    return Tokenizer(
        kind="bytelevel",
        vocabulary=_lines(ids),
        merges="\n".join(kept),
        split_chinese=False,
        special=special or {token: ids[token] for key, token in named.items() if key != "unknown"},
        add_prefix_space=about.get("add_prefix_space", False),
        **named,  # type: ignore[arg-type]
    )
