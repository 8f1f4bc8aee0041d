"""The house: imports run downward, and the device's floors need no torch."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from compressor.packages import EXTRAS

PACKAGE = Path(__file__).resolve().parents[1] / "compressor"

FLOORS = {
    "errors": 0, "document": 0, "text": 0, "section": 0, "bounded_yaml": 0, "interrupt": 0,
    "files": 1, "lock": 1, "modalities": 1, "packages": 1, "progress": 1, "seeds": 1, "runnote": 1,
    "runfolder": 2, "display": 2, "options": 2,
    "artifact": 3,
    "data": 4, "objectives": 4, "web": 4,
    "models": 5,
    "evaluation": 6,
    "distillation": 7, "exporting": 7, "benchmarking": 7,
    "quantization": 8,
    "reporting": 9,
    "recipe": 10,
    "workflows": 11,
    "__init__": 12,
    "cli": 13,
}  # fmt: skip


def imports(path: Path) -> set[str]:
    """The rooms that a file imports, from its text; `__init__` for names that the package promises."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "compressor":
            parts = node.module.split(".")
            names = [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
            found |= {name if name in FLOORS else "__init__" for name in names}
        elif isinstance(node, ast.Import):
            rooms = [a.name.split(".") for a in node.names if a.name.split(".")[0] == "compressor"]
            found |= {parts[1] if len(parts) > 1 else "__init__" for parts in rooms}
    return found


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_strictly_downward(path: Path) -> None:
    own = room(path)
    if own == "__init__":
        return  # it imports what is asked for, when it is asked for
    for other in imports(path) - {own}:
        assert FLOORS[other] < FLOORS[own], f"{path}: {own} imports {other}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "cli").glob("*.py")), ids=lambda p: p.name)
def test_the_command_line_is_a_client_of_the_public_names_alone(path: Path) -> None:
    """And of `text`, which cleans what it prints."""
    assert imports(path) <= {"__init__", "cli", "text"}


def test_only_models_data_and_training_know_timm() -> None:
    knowing = {
        room(p) for p in PACKAGE.rglob("*.py") if "from timm" in p.read_text() or "import_timm()" in p.read_text()
    }
    assert knowing <= {"models", "data", "distillation", "packages"}


def test_device_floors_run_without_torch() -> None:
    """What a Raspberry Pi imports: neither torch nor timm nor onnx comes with it."""
    code = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "timm", "onnx", "accelerate", "safetensors"}:
            raise ImportError(f"{name} is not installed here")
sys.meta_path.insert(0, Refuse())
import compressor.workflows.evaluate, compressor.workflows.benchmark, compressor.workflows.predict, compressor.artifact.session, compressor.workflows.generate, compressor.workflows.speculate, compressor.workflows.try_out, compressor.benchmarking.child
import compressor.evaluation.metrics, compressor.evaluation.predictions, compressor.reporting.build
import compressor.cli.app
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_imports_nothing_heavy() -> None:
    code = """
import sys
from typer.testing import CliRunner
from compressor.cli.app import app
assert CliRunner().invoke(app, ["--help"]).exit_code == 0
heavy = {"torch", "timm", "onnx", "onnxruntime", "numpy", "pydantic", "PIL", "yaml"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def modules() -> dict[str, set[str]]:
    """Module → the package's modules that it imports when it is imported itself."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(["compressor", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
        found[name] = {
            target
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("compressor")
            for target in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        }
    return {name: targets & found.keys() - {"compressor"} for name, targets in found.items()}


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = modules()
    done: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " → ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for other in graph[name]:
                walk(other, (*trail, name))
            done.add(name)

    for name in graph:
        walk(name, ())


def test_functions_fit_a_screen_and_modules_a_sitting() -> None:
    long = []
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        if text.count("\n") > 350:
            long.append(f"{path.name}: {text.count(chr(10))} lines")
        if room(path) == "cli":
            continue  # a command is a list of its options
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno and node.end_lineno - node.lineno >= 60:
                long.append(f"{path.name}: {node.name} {node.end_lineno - node.lineno + 1} lines")
    assert not long, long


def test_the_extras_that_are_asked_for_bring_what_is_missed() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    for extra, modules in EXTRAS.items():
        listed = {re.split(r"[<>=]", line)[0] for line in project["optional-dependencies"][extra]}
        assert listed == set(modules), extra
