"""File and class names from strangers, on every stream and in every report."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compressor.data.config import DataConfig
from compressor.data.load import load_dataset
from compressor.display import Terminal
from compressor.evaluation.predictions import Predictions
from compressor.reporting import tables
from compressor.reporting.screen import to_html
from tests.artifact.test_hostile import GOOD, tiny
from tests.conftest import TINY, compress, fill, paint

posix = pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux alone")

LATIN = os.fsdecode(b"caf\xe9.png")


def program(*arguments: str | Path, encoding: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """The installed script, with streams of that encoding."""
    code = "import sys; from compressor.cli.app import main; sys.argv[0] = 'compress'; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        input=stdin, capture_output=True, timeout=120, env=os.environ | {"PYTHONIOENCODING": encoding},
    )  # fmt: skip


@posix
@pytest.mark.parametrize("encoding", ["utf-8:strict", "latin-1:strict"])
def test_predict_names_every_file_on_every_stream(encoding: str, tmp_path: Path) -> None:
    about = GOOD | {"classes": ["میخواهم", "👩\u200d🚀"]}
    model = tiny(tmp_path / os.fsdecode(b"mod\xe8le.onnx"), about=about)
    paint(tmp_path / "images" / LATIN, 0, 0)
    paint(tmp_path / "images" / "日本.png", 1, 0)
    (tmp_path / "images" / os.fsdecode(b"bad\xe9.jpg")).write_bytes(b"no image")
    done = program(
        "predict", model, "-", "--top", "2", encoding=encoding, stdin=os.fsencode(tmp_path / "images") + b"\n"
    )
    assert b"Traceback" not in done.stderr, done.stderr
    assert b"caf\\xe9.png: " in done.stdout
    assert b"bad\\xe9.jpg: damaged image" in done.stderr
    assert done.returncode == 1
    if encoding.startswith("utf-8"):
        assert "日本.png: ".encode() in done.stdout
        assert "👩\u200d🚀".encode() in done.stdout


def test_predict_shows_names_and_obeys_none(tmp_path: Path) -> None:
    model = tiny(tmp_path / "m.onnx")
    names = [":dog:.png", "[red]x[bold].png", "\x1b]0;owned\x07.png", "a\nerror: none.png", "gpj.\u202e.png"]
    for name in names:
        paint(tmp_path / "images" / name, 0, 0)
    shown = compress("predict", model, tmp_path / "images").stdout
    for part in (":dog:.png", "[red]x[bold].png", "\\x1b]0;owned\\x07.png", "a\\x0aerror: none.png", "gpj.\\u202e.png"):
        assert part in shown
    assert len(shown.splitlines()) == len(names)
    assert "\x1b" not in shown
    assert {
        Path(a["image"]).name for a in json.loads(compress("predict", model, tmp_path / "images", "--json").stdout)
    } == set(names)


def test_messages_and_bars_obey_no_name(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Terminal()
    progress.say("left out: \x1b[2J:dog: [red]x")
    with progress.bar("reading [bold]:cat:\x07", 2) as bar:
        bar.advance(note="\x1b]0;x\x07 :dog:")
    shown = capsys.readouterr().err
    assert "\\x1b[2J:dog: [red]x" in shown
    assert "\x07" not in shown


@pytest.mark.parametrize("verbose", [[], ["--verbose"]])
def test_errors_obey_no_name(verbose: list[str], tmp_path: Path) -> None:
    done = compress("predict", tmp_path / "\x1b]0;owned\x07.onnx", "a.png", *verbose)
    assert done.exit_code == 1
    assert "\\x1b]0;owned" in done.stderr
    assert "\x1b" not in done.output


@posix
def test_data_with_names_of_any_bytes_are_read_split_and_evaluated(tmp_path: Path) -> None:
    root = fill(tmp_path / os.fsdecode(b"d\xe9"), classes=("a", "b"))
    for index in range(4):
        paint(root / "a" / os.fsdecode(b"caf\xe9%d.png" % index), 0, 100 + index)
    loose = tmp_path / os.fsdecode(b"l\xf6se")
    paint(loose / LATIN, 0, 200)
    dataset = load_dataset(DataConfig(source=str(root), unlabeled=str(loose)))
    assert sum("\udce9" in name for name in dataset.ids) == 5
    assert dataset.fingerprint
    saved = Predictions(
        ids=np.array(dataset.ids), labels=dataset.labels, logits=np.zeros((len(dataset.ids), 2), np.float32)
    )
    saved.save(tmp_path / "p.npz")
    assert Predictions.load(tmp_path / "p.npz").ids.tolist() == dataset.ids
    model = tiny(tmp_path / "m.onnx")
    done = compress("evaluate", model, "--data", root, "--split", "all")
    assert done.exit_code == 0, done.output
    assert "on 28 samples" in done.stdout
    assert "d\\xe9" in done.stdout


@posix
def test_a_report_shows_names_of_any_bytes(run: Path, tmp_path: Path) -> None:
    own = tmp_path / os.fsdecode(b"r\xe9n")
    shutil.copytree(run, own)
    for path in [own / "run.json", own / "report.json"]:
        note = json.loads(path.read_text())
        entry = note["run"] if path.name == "report.json" else note
        entry["name"], entry["command"] = "<img src=x>\udce9\x1b", "compress\n\n<img src=y>\udce9"
        path.write_text(json.dumps(note))
    done = compress("report", own)
    assert done.exit_code == 0, done.output
    page, text = (own / "report.html").read_text(), (own / "report.md").read_text()
    assert "&lt;img src=x&gt;\\xe9\\x1b" in page
    assert "<img src=" not in page.replace('<img src="data:', "")
    assert "# &lt;img src=x&gt;\\\\xe9\\\\x1b" in text  # a backslash is written twice there
    assert "    compress\\x0a\\x0a<img src=y>\\xe9" in text


def test_class_names_are_text_in_markdown() -> None:
    assert tables.grid(("class",), [("<img src=x>",), ("a|b",)]).splitlines()[2:] == [
        "| &lt;img src=x&gt; |",
        "| a\\|b |",
    ]


def test_a_notebook_shows_names_and_obeys_none() -> None:
    assert to_html(["<b>\x1b\u202e"]) == "<p>&lt;b&gt;\\x1b\\u202e</p>"


@posix
@pytest.mark.slow
@pytest.mark.usefixtures("torchscript")
def test_a_run_on_names_of_any_bytes(workdir: Path) -> None:
    root = fill(workdir / os.fsdecode(b"d\xe9"))
    for path in sorted(root.rglob("*.png")):
        path.rename(path.with_name(os.fsdecode(b"\xff") + path.name))
    given: list[Any] = [
        "--teacher",
        "test_resnet",
        "--student",
        "mobilenetv3_small_050",
        "--data",
        root,
        "--name",
        "x",
        *TINY,
    ]
    done = compress("distill", *given)
    assert done.exit_code == 0, done.output
    for command in (["report", "runs/x"], ["evaluate", "runs/x"], ["predict", "runs/x", root], ["benchmark", "runs/x"]):
        again = compress(*command)
        assert again.exit_code == 0, again.output
