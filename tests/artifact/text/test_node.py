"""The JavaScript program text.mjs gives the numbers that Python gives."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import onnx
import pytest

from compressor.artifact.metadata import KEY, Metadata
from compressor.artifact.text.preprocessing import NAMES, TextPreprocessing
from compressor.artifact.text.read import read
from tests.artifact.text import oracle

PROGRAM = Path(__file__).resolve().parents[3] / "compressor" / "web" / "static" / "text.mjs"

RUN = """
import fs from "node:fs";
const { about, encoder } = await import(process.argv[1]);
const encode = encoder(about(fs.readFileSync(process.argv[2])).preprocessing);
const things = JSON.parse(fs.readFileSync(process.argv[3], "utf8"));
console.log(JSON.stringify(things.map((thing) => encode(...thing))));
"""


def numbers(ours: TextPreprocessing, things: list[Any], folder: Path) -> list[dict[str, list[int]]]:
    """What the program makes of things, by the metadata of a file."""
    about = Metadata(name="x", classes=["a"], modality="text", preprocessing=ours)
    graph = onnx.helper.make_graph([], "g", [], [])
    model = onnx.helper.make_model(graph)
    onnx.helper.set_model_props(model, {"other": "é", KEY: about.model_dump_json()})
    onnx.save(model, folder / "m.onnx")
    given = [[thing] if isinstance(thing, str) else list(thing) for thing in things]
    (folder / "things.json").write_text(json.dumps(given))
    done = subprocess.run(
        ["node", "--input-type=module", "-e", RUN, PROGRAM.as_uri(), folder / "m.onnx", folder / "things.json"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize("lowercase", [True, False])
def test_the_program_gives_pythons_numbers(tmp_path: Path, lowercase: bool) -> None:
    made = oracle.wordpiece(lowercase=lowercase)
    ours = TextPreprocessing(tokenizer=read(oracle.saved(made, tmp_path)), max_length=13, pair=True)
    texts = [*oracle.strings(500, seed=3), *oracle.BITS, "a [MASK] b[SEP]"]
    things: list[Any] = [*texts, *zip(texts, reversed(texts), strict=True)]
    expected = ours.encode(things)
    for row, found in enumerate(numbers(ours, things, tmp_path)):
        used = int(expected["attention_mask"][row].sum())
        for name in NAMES:
            assert found[name] == expected[name][row, :used].tolist(), ascii(things[row])
