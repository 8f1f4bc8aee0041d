"""Causal language models in one file: exported, written on with, and guessed for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import compressor
from compressor.artifact import metadata, session
from compressor.artifact.text import language
from compressor.benchmarking import speculation as measuring
from compressor.errors import ArtifactError, ParityError, UsageError
from compressor.exporting import causal
from compressor.models.text import gpt2_weights
from compressor.progress import Silent
from compressor.text import clean
from compressor.workflows import speculate as speculating
from tests.artifact.text.readers import Table, following
from tests.conftest import compress
from tests.models.text import gpt2s

PROMPTS = ["In the beginning", "a the a the a the in the a", "x"]


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `target` and `draft`, exported, and `prompts.txt`. Read only."""
    home = tmp_path_factory.mktemp("pair")
    (home / "prompts.txt").write_text("\n".join(PROMPTS))
    for seed, name in enumerate(("target", "draft")):
        done = compress("export", gpt2s.write(home / name, seed=seed), "--quiet")
        assert done.exit_code == 0, done.output
    return home


def retold(folder: Path, into: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The folder's file with other metadata."""
    model = onnx.load(folder / "model.onnx")
    document = json.loads(model.metadata_props[0].value)
    change(document)
    onnx.helper.set_model_props(model, {metadata.KEY: json.dumps(document)})
    onnx.save(model, into / "model.onnx")
    return into / "model.onnx"


def by_hand(folder: Path, prompt: str, count: int) -> list[int]:
    """Greedily, each token from a whole forward of the PyTorch model."""
    model, tokenizer = gpt2_weights.loaded(str(folder))
    ids = tokenizer.ids(prompt)
    start = len(ids)
    for _ in range(count):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids]))[0, -1, : tokenizer.size].argmax()))
        if ids[-1] == tokenizer.end_id:
            return ids[start:-1]
    return ids[start:]


def test_the_file_says_what_it_is_and_reads_a_text_in_any_pieces(pair: Path) -> None:
    found = language.load(pair / "target" / "model.onnx")
    assert (found.about.task, found.about.generation.positions, found.about.generation.end) == ("lm", 64, 261)
    assert found.about.parity is not None
    assert found.about.parity["max_relative_error"] < 1e-5
    model, tokenizer = gpt2_weights.loaded(str(pair / "target"))
    assert found.about.tokenizer == tokenizer
    ids = tokenizer.ids("the end of a long day, and the night")
    reader = found.reader()
    pieces = [reader.read(ids[:1]), reader.read(ids[1:9]), reader.read(ids[9:])]
    reader.cut(5)
    again = reader.read(ids[5:])
    with torch.no_grad():
        whole = model(torch.tensor([ids]))[0].numpy()
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(again, whole[5:], atol=1e-5, rtol=1e-5)


def test_a_batch_is_read_as_its_texts_one_by_one(pair: Path) -> None:
    """The names and sides that other programs expect of such a file."""
    found = language.load(pair / "target" / "model.onnx")
    ids = gpt2s.batch().numpy()
    empty = {entry.name: np.zeros((2, 4, 0, 8), np.float32) for entry in found.artifact.inputs[1:]}
    logits, key, *_ = found.artifact.session.run(["logits", "present.0.key"], {"input_ids": ids, **empty})
    assert key.shape == (2, 4, 7, 8)
    for row, own in zip(logits, ids, strict=True):
        np.testing.assert_allclose(row, found.reader().read(own.tolist()), atol=1e-5, rtol=1e-5)


def stored_numbers(file: Path) -> int:
    return sum(int(np.prod(tensor.dims)) for tensor in onnx.load(file).graph.initializer)


def test_the_file_holds_the_weights_once(pair: Path) -> None:
    """The words' embedding is the head, too."""
    weights = sum(tensor.numel() for tensor in gpt2s.weights(gpt2s.CONFIG).values())
    assert stored_numbers(pair / "target" / "model.onnx") < 1.01 * weights


@pytest.mark.slow
def test_where_torchscript_fails_dynamo_writes_as_good_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class Heard(Silent):
        def say(self, message: str) -> None:
            said.append(message)

    write = causal._write

    def failing(*args: Any, dynamo: bool, **kwargs: Any) -> None:
        if not dynamo:
            raise RuntimeError("gone")
        write(*args, dynamo=True, **kwargs)

    monkeypatch.setattr(causal, "_write", failing)
    made = compressor.export(gpt2s.write(tmp_path, n_embd=64), progress=Heard())
    assert [line for line in said if "failed" in line] == [
        "export: torch's TorchScript exporter failed (RuntimeError: gone); trying dynamo's"
    ]
    weights = sum(tensor.numel() for tensor in gpt2s.weights(gpt2s.CONFIG | {"n_embd": 64}).values())
    assert stored_numbers(made.files["fp32"]) < 1.05 * weights


def test_a_file_that_does_not_reproduce_the_model_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = causal._write

    def other(model: Any, path: Path, **kwargs: Any) -> None:
        changed = gpt2_weights.loaded(str(tmp_path))[0]
        changed.get_parameter("layers.1.parts.bias").data[5] += 0.5  # a query: only a text of several tokens tells
        write(changed, path, **(kwargs | {"dynamo": False}))

    monkeypatch.setattr(causal, "_write", other)
    with pytest.raises(ParityError, match=r"model\.onnx does not reproduce the PyTorch model"):
        compressor.export(gpt2s.write(tmp_path), progress=Silent())
    assert not (tmp_path / "model.onnx").exists()


def test_options_of_classifiers_are_refused_for_a_language_model(tmp_path: Path) -> None:
    done = compress("export", gpt2s.write(tmp_path), "--precision", "int8", "--qat", "--uint8-input")
    assert done.exit_code == 2
    assert "--precision, --qat, --uint8-input: a language model is exported in fp32" in done.stderr


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_text_is_what_the_model_itself_would_write(prompt: str, pair: Path) -> None:
    seen: list[str] = []
    found = compressor.generate(pair / "target", prompt, max_tokens=20, stream=seen.append, progress=Silent())
    tokenizer = gpt2_weights.loaded(str(pair / "target"))[1]
    expected = by_hand(pair / "target", prompt, 20)
    assert found.document.text == tokenizer.decode(expected) == "".join(seen)
    assert found.document.tokens == len(expected)


def test_the_command_streams_the_text_alone_and_json_is_one_document(pair: Path) -> None:
    model = pair / "target" / "model.onnx"
    options = ("--max-tokens", "9", "--temperature", "1.5", "--top-k", "40", "--top-p", "0.9", "--seed", "3")
    done = compress("generate", model, PROMPTS[0], *options)
    assert done.exit_code == 0, done.output
    document = json.loads(compress("generate", model, "-", *options, "--json", input=PROMPTS[0]).stdout)
    assert done.stdout == clean(document["text"]) + "\n"
    assert "9 tokens (as many as were asked for)" in done.stderr
    assert document["stopped"] == "tokens"
    other = json.loads(compress("generate", model, PROMPTS[0], *options[:-1], "4", "--json").stdout)
    assert other["text"] != document["text"]


def test_a_text_ends_where_the_model_has_no_room_for_more(pair: Path) -> None:
    found = compressor.generate(
        pair / "target", "x" * 60, max_tokens=50, temperature=100, seed=1, progress=Silent()
    ).document
    assert (found.stopped, found.tokens) == ("positions", 5)  # the last one need not be read


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--top-k", "3"), "nothing is at temperature 0"),
        (("--temperature", "-1"), r"--temperature -1: give a number \(0 to 100\)"),
        (("--temperature", "nan"), "--temperature nan: give a number"),
        (("--temperature", "1", "--top-p", "0"), "--top-p 0: give a share"),
        (("--max-tokens", "0"), "--max-tokens 0: give a whole number"),
    ],
)
def test_numbers_out_of_range_are_one_sentence(options: tuple[str, ...], message: str, pair: Path) -> None:
    done = compress("generate", pair / "target", "a", *options)
    assert done.exit_code == 2
    assert re.search(message, done.stderr)


def test_a_prompt_that_is_too_long_and_hostile_texts_are_one_sentence(pair: Path) -> None:
    with pytest.raises(UsageError, match="more tokens than target reads, which is 64"):
        compressor.generate(pair / "target", " a" * 5_000_000, progress=Silent())
    for text in ("\ud800", "\0", "\u202eabc", "😀", gpt2s.END, ""):
        assert compressor.generate(pair / "target", text, max_tokens=2, progress=Silent()).document.tokens <= 2


def test_a_classifiers_file_and_a_language_models_are_told_apart(pair: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"holds a language model.*compress generate"):
        session.load(pair / "target" / "model.onnx").metadata  # noqa: B018
    with pytest.raises(ArtifactError, match=r"holds no language model.*compress predict"):
        language.parse(json.dumps({"name": "x", "classes": ["a"]}), "x.onnx")
    with pytest.raises(UsageError, match="was not exported yet: compress export"):
        compressor.generate(gpt2s.write(tmp_path), "a", progress=Silent())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["generation"].update(end=999), "the end of a text, 999, is no token"),
        (lambda d: d["generation"].update(positions=0), "generation.positions"),
        (lambda d: d.update(name="\x1b[2J"), "is not printable text"),
        (lambda d: d["tokenizer"].update(vocabulary="a\na"), "twice"),
        (
            lambda d: d["tokenizer"].update(vocabulary=d["tokenizer"]["vocabulary"] + "\nmore"),
            "263 tokens, where its graph has 262",
        ),
    ],
)
def test_damaged_metadata_are_one_sentence(
    change: Callable[[dict[str, Any]], None], message: str, pair: Path, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match=message):
        language.load(retold(pair / "target", tmp_path, change))


def test_a_folders_model_is_evaluated_on_a_text_once_it_was_exported(pair: Path, tmp_path: Path) -> None:
    """In windows of what it can read: nobody says what it was trained on."""
    text = "In the beginning the end, and a theme in the night.\n" * 20
    (tmp_path / "text.txt").write_text(text)
    done = compress("evaluate", pair / "target", "--data", tmp_path / "text.txt", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    model, tokenizer = gpt2_weights.loaded(str(pair / "target"))
    ids = tokenizer.ids(text)
    with torch.no_grad():
        first = torch.nn.functional.cross_entropy(model(torch.tensor([ids[:64]]))[0], torch.tensor(ids[1:65]))
    assert (found["split"], found["language"]["length"], found["language"]["stride"]) == ("all", 64, 32)
    assert found["language"]["tokens"] == len(ids) - 1
    assert found["language"]["bytes"] == len(text) - len(tokenizer.spelled(ids[:1]))
    assert found["language"]["nll"] == pytest.approx(float(first), rel=0.3)
    with pytest.raises(UsageError, match="was not exported yet: compress export"):
        compressor.evaluate(gpt2s.write(tmp_path / "new"), data=tmp_path / "text.txt", progress=Silent())
    with pytest.raises(UsageError, match="does not say what it read"):
        compressor.evaluate(pair / "target", progress=Silent())


def test_a_draft_that_is_its_target_is_always_right(pair: Path) -> None:
    files = (pair / "target", pair / "target" / "model.onnx")
    found = compressor.speculate(*files, data=pair / "prompts.txt", tokens=3, max_tokens=16, progress=Silent())
    document = found.document
    assert (document.identical, document.differences, found.faults) == (3, [], 0)
    assert document.draft.acceptance == 1.0
    assert document.draft.tokens_per_pass > 3.5
    assert "token by token, in 3 of 3 prompts" in found._repr_html_()


def test_another_draft_is_hardly_ever_right_and_changes_nothing(pair: Path) -> None:
    done = compress(
        "speculate", pair / "target", pair / "draft", "--data", pair / "prompts.txt", "--max-tokens", "16", "--json"
    )
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["identical"] == document["prompts"] == 3
    assert document["draft"]["acceptance"] < 0.2
    assert document["draft"]["drafted"] > 100
    assert document["tokens"] == sum(len(by_hand(pair / "target", prompt, 16)) for prompt in PROMPTS)
    assert document["draft"]["verdict"] in ("slower", "undecided", "same", "faster")
    assert "accepted/drafted" in done.stderr


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (slice(256, None, -1), "the draft has 257 tokens and its target 262"),
        (slice(None, None, -1), "both have 262 tokens, which are not the same ones"),
    ],
)
def test_a_draft_with_other_tokens_is_refused(order: slice, message: str, pair: Path, tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["generation"]["end"] = None
        document["tokenizer"] = {"kind": "bytelevel", "vocabulary": "\n".join(gpt2s.TOKENS[order])}

    draft = retold(pair / "draft", tmp_path, change)
    with pytest.raises(UsageError, match=message):
        compressor.speculate(pair / "target", draft, data=pair / "prompts.txt", progress=Silent())


def test_prompts_that_are_missing_or_too_long_are_named(pair: Path, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("short\n" + "x" * 100)
    with pytest.raises(UsageError, match=r"long\.txt:2: the prompt has more tokens than target reads"):
        compressor.speculate(pair / "target", pair / "draft", data=tmp_path / "long.txt", progress=Silent())
    with pytest.raises(UsageError, match=r"no file 'nowhere\.txt'"):
        compressor.speculate(pair / "target", pair / "draft", data="nowhere.txt", progress=Silent())


class Lying(Table):
    """Answers another token where several are read at once, by a lot or by a hair."""

    def __init__(self, by: float) -> None:
        super().__init__(following)
        self.by = by

    def read(self, ids: Any) -> Any:
        logits = super().read(ids)
        if len(self.seen) > 8:
            best = int(logits[-1].argmax())
            logits[-1, (best + 1) % 11] = 1 + self.by if 1 < len(ids) < 8 else 1 - self.by
        return logits


@pytest.mark.parametrize(
    ("by", "tie", "said"), [(0.5, False, "FAULT: 1 of the texts"), (1e-6, True, "tie to float noise")]
)
def test_a_text_that_is_not_the_targets_own_is_loud_and_a_tie_is_called_one(by: float, tie: bool, said: str) -> None:
    prompts = [measuring.Prompt(shown="p.txt:1", ids=[1, 2, 3])]
    found = measuring.measure(Lying(by), Table(following), prompts, guesses=2, limit=12, end=None, progress=Silent())
    (difference,) = [d for d in found.differences if d.by == "draft"]
    assert found.identical == 0
    assert difference.tie is tie
    assert difference.gap == pytest.approx(by, rel=0.1)
    shown = speculating.SpeculateResult(document=found.model_copy(update={"differences": [difference]}))
    assert said in shown._repr_html_()
    assert f"p.txt:1: token {difference.token} is" in shown._repr_html_()
    assert shown.faults == (not tie)


def test_a_verdict_rests_on_the_ratio_prompt_by_prompt() -> None:
    """A clock on which a pass of the target takes 4 and of the draft 1: 5 guesses at a time, always right, are faster."""
    now = [0.0]

    class Ticking(Table):
        def __init__(self, cost: float) -> None:
            super().__init__(following)
            self.cost = cost

        def read(self, ids: Any) -> Any:
            now[0] += self.cost
            return super().read(ids)

    prompts = [measuring.Prompt(shown=str(i), ids=[i, 2, 3]) for i in range(5)]
    for cost, verdict in ((0.2, "faster"), (8, "slower")):
        found = measuring.measure(
            Ticking(4), Ticking(cost), prompts, guesses=4, limit=20, end=None, progress=Silent(), clock=lambda: now[0]
        )
        assert found.draft.verdict == verdict
        assert found.draft.ratio == pytest.approx((4 * 4 + 16 * cost) / (20 * 4))
        assert found.tokens_per_second == pytest.approx(1 / 4)
