"""Names from elsewhere: shown as what they are, and obeyed by nothing."""

from __future__ import annotations

import pytest

from compressor.artifact.metadata import showable
from compressor.text import as_bytes, clean, line, markdown, redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("cat\u202egpj.exe", "cat\\u202egpj.exe"),
        ("a\u2066b\u200fc\u2028d\x85e", "a\\u2066b\\u200fc\\u2028d\\x85e"),
        ("caf\udce9.jpg", "caf\\xe9.jpg"),
        ("\ud800", "\\ud800"),
        ("a\r\x08b", "a\\x0d\\x08b"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("می\u200cخواهم 👩\u200d🚀 é", "می\u200cخواهم 👩\u200d🚀 é"),
    ],
)
def test_a_terminal_obeys_no_name(text: str, shown: str) -> None:
    assert clean(text) == shown
    clean(text).encode("utf-8")


def test_a_name_begins_no_line_of_its_own() -> None:
    assert line("a.jpg\nerror: none\t") == "a.jpg\\x0aerror: none\\x09"


def test_persian_and_emoji_classes_are_names_like_any_other() -> None:
    assert showable("می\u200cخواهم")
    assert showable("👩\u200d🚀")
    for odd in ("\x1b[2J", "a\u202eb", "a\nb", "caf\udce9"):
        assert not showable(odd)


@pytest.mark.parametrize(
    "text",
    ["<img src=x onerror=alert(1)>", "![x](http://a/b.png)", "[x](javascript:y)", "a|b", "a\n\n# head", "&lt;b&gt;"],
)
def test_markdown_of_a_name_renders_as_the_name(text: str) -> None:
    """By CommonMark's rules: no unescaped character that begins a tag, a link, a cell or a line."""
    shown = markdown(text)
    assert "<" not in shown
    assert "\n" not in shown
    for character in "[]|":
        assert shown.count(f"\\{character}") == shown.count(character) == text.count(character)
    assert "&lt;b" not in shown


def test_secrets_do_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "verysecretvalue")
    text = "401 for https://me:pass@hub/x with Bearer abc.def, verysecretvalue and hf_" + "A1b2" * 8
    assert redacted(text) == "401 for https://***@hub/x with Bearer ***, *** and ***"
    assert redacted("hf-hub:org/name of hf_model") == "hf-hub:org/name of hf_model"
    assert "verysecretvalue" not in clean("x verysecretvalue")


def test_fingerprints_take_any_file_name_and_keep_those_of_others() -> None:
    assert as_bytes("é") == "é".encode()
    assert as_bytes("\udce9") != as_bytes("\udce8")
