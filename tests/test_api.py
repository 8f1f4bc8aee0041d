"""What calls from Python stand on: state kept as it was, recipes from objects and mappings."""

from __future__ import annotations

import inspect
import json
import random
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import compressor
from compressor.artifact import session
from compressor.display import Lines, Notebook, surroundings
from compressor.errors import RecipeError
from compressor.recipe import Recipe, load
from compressor.seeds import leaves_no_trace, seed_everything
from tests.conftest import paint


@pytest.mark.parametrize("fails", [False, True])
def test_a_call_leaves_random_states_and_threads_as_they_were(fails: bool) -> None:
    @leaves_no_trace
    def call() -> None:
        seed_everything(5)
        torch.set_num_threads(torch.get_num_threads() + 1)
        if fails:
            raise KeyboardInterrupt

    before = random.getstate(), np.random.get_state(), torch.get_rng_state(), torch.get_num_threads()
    if fails:
        with pytest.raises(KeyboardInterrupt):
            call()
    else:
        call()
    assert random.getstate() == before[0]
    assert str(np.random.get_state()) == str(before[1])
    assert torch.equal(torch.get_rng_state(), before[2])
    assert torch.get_num_threads() == before[3]


def test_a_recipe_object_and_a_mapping_of_settings_are_taken() -> None:
    own = load(Recipe(seed=4), None, {"stage.epochs": 3})
    assert (own.seed, own.stage.epochs) == (4, 3)
    with pytest.raises(RecipeError, match=r"settings: unknown key 'stage\.epoch'; did you mean 'epochs'"):
        load(own, None, {"stage.epoch": 3})


STREET = (
    "teacher student data recipe unlabeled assistants baseline epochs batch_size image_size limit seed views "
    "cache_limit seeds device settings"
)
SIGNATURES = {
    "benchmark": "models provider batch threads data size processes max_processes samples check_regression progress lengths",
    "distill": f"{STREET} name resume progress command shift pilot strict_data time task max_latency max_size max_memory "
    "precision",
    "doctor": "data progress",
    "evaluate": "model data split provider shift progress",
    "export": "source precision output opset batch uint8_input max_drop target qat allow_slower data progress web",
    "generate": "model prompt max_tokens temperature top_k top_p seed provider threads stream progress",
    "list_models": "pattern limit size",
    "plan": f"{STREET} resume progress shift pilot strict_data time task max_latency max_size max_memory precision",
    "predict": "model images top provider progress",
    "remove_stores": "names everything",
    "report": "runs output progress shift",
    "speculate": "target draft data tokens max_tokens threads progress",
    "stores": "",
    "students": "max_latency max_size max_memory precision data classes image_size candidates threads output progress",
    "try_out": "model write port open_page assets fetch progress",
    "tune": "teacher student data recipe assistants trials epochs limit seed device settings name resume progress command "
    "task",
}
"""What is promised: a name may join at the end, none may go or move."""

POSITIONAL = {
    "benchmark": 1,
    "evaluate": 1,
    "export": 1,
    "generate": 2,
    "list_models": 1,
    "predict": 2,
    "remove_stores": 1,
    "report": 1,
    "speculate": 2,
    "try_out": 1,
}
REQUIRED = {
    "generate": ["model", "prompt"],
    "predict": ["model", "images"],
    "speculate": ["target", "draft", "data"],
}


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_the_signatures_are_the_promised_ones(name: str) -> None:
    parameters = inspect.signature(getattr(compressor, name)).parameters
    assert " ".join(parameters) == SIGNATURES[name]
    positional = [p for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert len(positional) == POSITIONAL.get(name, 0)
    assert [p.name for p in parameters.values() if p.default is p.empty] == REQUIRED.get(name, [])


def test_all_names_are_there_and_no_others_are_promised() -> None:
    assert set(SIGNATURES) < set(compressor.__all__)
    assert set(dir(compressor)) == set(compressor.__all__)
    for name in compressor.__all__:
        assert getattr(compressor, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'destill'"):
        compressor.destill  # noqa: B018


def test_options_and_arguments_have_the_same_names() -> None:
    import typer.main

    from compressor.cli.app import app

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name in (
        "benchmark",
        "distill",
        "evaluate",
        "export",
        "generate",
        "predict",
        "report",
        "speculate",
        "students",
        "try_out",
        "tune",
    ):
        options = {p.name for p in commands["try" if name == "try_out" else name].params} - {
            "json_output",
            "quiet",
            "verbose",
            "help",
            "dry_run",
            "csv",
        }
        assert options == set(SIGNATURES[name].split()) - {"progress", "command", "stream"}, name


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, compressor; print([m for m in sys.modules if m.partition('.')[0] in ('torch', 'numpy', 'pydantic')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_street_from_python(workdir: Path, run: Path, torchscript: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["a notebook"])
    before = random.getstate(), torch.get_rng_state(), torch.get_num_threads(), warnings.filters[:]
    made = compressor.distill(
        teacher=run / "stages" / "00-teacher-test_resnet" / "seed0",
        student="mobilenetv3_small_050",
        recipe=Recipe.model_validate({"baseline": False}),
        settings={"stage.epochs": 1, "data.limit": 80, "benchmark.processes": 1, "benchmark.samples": 10,
                  "benchmark.warmup_seconds": 0, "benchmark.min_seconds": 0},
        progress=compressor.Silent(),
    )  # fmt: skip
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert torch.get_num_threads() == before[2]
    assert warnings.filters[:] == before[3]
    assert sys.argv == ["a notebook"]
    assert made.student == made.run / "student.onnx"
    assert made.files == {"fp32": made.student}
    note = json.loads((made.run / "run.json").read_text())
    assert note["command"].startswith("compressor.distill(teacher_model=")
    assert '<iframe sandbox title="report"' in made._repr_html_()
    assert "mobilenetv3_small_050" in made._repr_html_()

    paint(workdir / "new" / "a.png", 0, 0)
    answers = compressor.predict(made.student, workdir / "new", top=2, progress=compressor.Silent())
    assert len(answers.document[0]["classes"]) == 2
    assert "a.png" in answers._repr_html_()

    timed = compressor.benchmark(made.run, samples=10, progress=compressor.Silent())
    assert {row.processes for row in timed.document.rows} == {1}  # from the run's own recipe
    assert timed.run == made.run
    figures = compressor.evaluate(made.run, progress=compressor.Silent())
    assert figures.plain()["samples"] == 80
    again = compressor.report(made.run, progress=compressor.Silent())
    assert isinstance(again, compressor.ReportResult)
    assert again.document.models[0].role == "teacher"


def test_errors_are_those_of_the_command_line(workdir: Path) -> None:
    with pytest.raises(compressor.UsageError, match="unknown student 'mobilnetv3': did you mean") as seen:
        compressor.distill(student="mobilnetv3", progress=compressor.Silent())
    assert isinstance(seen.value, compressor.CompressorError)
    with pytest.raises(compressor.RecipeError, match=r"stage\.epochs"):
        compressor.plan(settings={"stage.epochs": "many"}, progress=compressor.Silent())


def test_export_and_benchmark_start_from_the_runs_own_recipe(
    run: Path, tmp_path: Path, torchscript: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    recipe = load(copy / "recipe.yaml", None, ["export.uint8_input=true", "benchmark.threads=[1,2]"])
    (copy / "recipe.yaml").write_text(recipe.to_yaml())
    made = compressor.export(copy, progress=compressor.Silent())
    assert session.load(made.files["fp32"]).metadata.input == "uint8"
    other = compressor.export(copy, uint8_input=False, progress=compressor.Silent())
    assert session.load(other.files["fp32"]).metadata.input == "normalised"
    timed = compressor.benchmark(copy, samples=10, progress=compressor.Silent())
    assert {row.threads for row in timed.document.rows} == {1, 2}
    timed = compressor.benchmark(copy, threads=1, samples=10, progress=compressor.Silent())
    assert {row.threads for row in timed.document.rows} == {1}


def test_progress_in_a_notebook_is_one_line_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, what: str) -> None:
            shown.append(what)

    class ZMQInteractiveShell:
        pass

    def display(what: str, display_id: bool) -> Handle:
        shown.append(what)
        return Handle()

    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=ZMQInteractiveShell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(Pretty=str, display=display))
    progress = surroundings()
    assert isinstance(progress, Notebook)
    monkeypatch.setattr("compressor.display.time", SimpleNamespace(monotonic=iter(range(100)).__next__))
    with progress.bar("training", 4) as bar:
        bar.skip(1)
        bar.advance(2, note="epoch 1/2")
    assert shown == ["training · 0/4", "training · 3/4 · epoch 1/2 · 0 s left", ""]


def test_progress_elsewhere_is_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    progress = surroundings()
    progress.say("half way")
    assert isinstance(progress, Lines)
    assert capsys.readouterr() == ("", "half way\n")
