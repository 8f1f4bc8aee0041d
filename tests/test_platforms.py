"""Windows and macOS, as far as Linux can tell: what only Unix has is taken away, and the device's commands run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from compressor.artifact.images import images_in
from compressor.benchmarking import measure
from compressor.benchmarking.cells import cells
from compressor.benchmarking.config import BenchmarkConfig
from compressor.data.config import DataConfig
from compressor.data.load import load_dataset
from compressor.data.loaders import worker_count
from compressor.progress import Silent
from tests.artifact.test_hostile import tiny
from tests.conftest import fill, paint

NO_UNIX = """
import builtins, io, os, pathlib, signal, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"resource", "fcntl", "pwd", "grp", "termios", "syslog"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for name in ("resource", "fcntl", "pwd", "grp", "termios", "syslog"):
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Refuse())
for name in ("sched_getaffinity", "getloadavg", "sysconf", "fork", "register_at_fork", "mkfifo", "getuid", "geteuid",
             "killpg", "setsid", "fchmod", "statvfs", "nice"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGALRM", "SIGUSR1", "SIGHUP"):
    delattr(signal, name)

def refusing(function):
    def opened(file, *args, **kwargs):
        if str(file).startswith(("/proc", "/sys")):
            raise FileNotFoundError(2, "not on this system", str(file))
        return function(file, *args, **kwargs)
    return opened

builtins.open = io.open = refusing(open)
pathlib.Path.is_file = (lambda own: lambda self, *a, **k: not str(self).startswith(("/proc", "/sys")) and own(self, *a, **k))(pathlib.Path.is_file)
"""

RUN = """
import json, sys
from typer.testing import CliRunner
from compressor.cli.app import app

found = []
for command in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, (command, done.output, done.exception)
    found.append(json.loads(done.stdout))
print(json.dumps(found))
"""


def test_the_devices_commands_run_without_unix(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NO_UNIX)  # for the benchmark's children, too
    model = str(tiny(tmp_path / "m.onnx"))
    data = fill(tmp_path / "data", classes=("a", "b"), count=6)
    commands = [
        ["predict", model, str(data / "a")],
        ["evaluate", model, "--data", str(data), "--split", "all"],
        ["benchmark", model, "--samples", "10", "--processes", "1", "--max-processes", "1"],
        ["doctor"],
    ]
    own = [str(tmp_path / "site"), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    done = subprocess.run(
        [sys.executable, "-P", "-c", RUN, json.dumps(commands)], capture_output=True, text=True, timeout=120,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(own)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    predicted, evaluated, measured, machine = json.loads(done.stdout)
    assert len(predicted) == 6
    assert evaluated["samples"] == 12
    (row,) = measured["rows"]
    assert row["p50_ms"] > 0
    assert row["peak_rss_mb"] is row["load_rss_mb"] is row["noisy"] is None
    assert row["contention"]["involuntary_switches"] is None
    assert machine["host"]["memory_mb"] is machine["host"]["governor"] is None


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_a_recipe_with_workers_trains_where_no_process_may_fork(
    platform: str, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load_dataset(DataConfig(source=str(photos), workers=8))
    assert worker_count(dataset) == 8
    monkeypatch.setattr(sys, "platform", platform)
    assert worker_count(dataset) == 0


def test_classes_and_images_are_in_the_same_order_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By code point; Windows compares paths without their case."""
    monkeypatch.setattr(type(tmp_path), "__lt__", lambda self, other: str(self).lower() < str(other).lower())
    names = ("Zebra", "ant", "Ötzi", "bee", "ärger")
    fill(tmp_path / "data", classes=names, count=3)
    assert load_dataset(DataConfig(source=str(tmp_path / "data"))).classes == ["Zebra", "ant", "bee", "Ötzi", "ärger"]
    for name in ("b.png", "A.png", "a/x.png", "a.b/x.png", "C.png"):
        paint(tmp_path / "loose" / name, 0, 0)
    found = [p.relative_to(tmp_path / "loose").as_posix() for p in images_in(tmp_path / "loose")]
    assert found == ["A.png", "C.png", "a/x.png", "a.b/x.png", "b.png"]


def test_nothing_beside_a_model_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m` in the benchmark's child would look in the working folder first."""
    folder = tmp_path / "downloaded"
    model = tiny(folder / "m.onnx")
    for planted in ("onnxruntime.py", "numpy.py", "json.py", "sitecustomize.py", "compressor/__init__.py"):
        (folder / planted).parent.mkdir(exist_ok=True)
        (folder / planted).write_text(
            f"open({str(tmp_path / 'executed')!r}, 'w').write(__name__)\nraise SystemExit(9)\n"
        )
    monkeypatch.chdir(folder)
    config = BenchmarkConfig(processes=1, samples=10, warmup_seconds=0, min_seconds=0)
    (row,) = measure.measure(cells({"m": Path(model.name)}, config), config, Silent())
    assert row.samples >= 10
    assert not (tmp_path / "executed").exists(), (tmp_path / "executed").read_text()
