"""A run that was stopped: what is settled stays settled, one process at a time, a stop leaves a state to go on from."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file
from typer.testing import Result

from compressor import runfolder
from compressor.data import shards
from compressor.distillation import chain, targets
from compressor.distillation import fit as loop
from compressor.distillation import step as stepping
from compressor.errors import CompressorError, UsageError
from compressor.models import weights as weighing
from compressor.models.family import family
from compressor.workflows import distill as pipeline
from compressor.workflows import export as exporting
from compressor.workflows.benchmark import document as measure
from tests.conftest import TINY, compress

pytestmark = pytest.mark.usefixtures("workdir")

CHAIN = ["distill", "--teacher", "test_resnet", "--student", "test_efficientnet", "--quiet", *TINY,
         "--set", "data.limit=64", "--set", "stage.batch_size=16", "--set", "stage.targets.precision=fp32",
         "--set", "student.stem=keep"]  # fmt: skip


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out export and benchmark, which train nothing."""
    monkeypatch.setattr(pipeline, "export_run", lambda *a, **k: {})
    monkeypatch.setattr(pipeline, "document", lambda *a, **k: {"rows": [], "host": None})


def at_step(number: int, do: Callable[[], None], monkeypatch: pytest.MonkeyPatch, *, role: str = "student") -> None:
    """Does something once, before a role's step `number`, from 0."""
    step = stepping.step

    def watched(run: Any, batch: Any, position: int, **kwargs: Any) -> Any:
        if run.job.label.startswith(role) and position == number:
            monkeypatch.setattr(loop, "step", step)
            do()
        return step(run, batch, position, **kwargs)

    monkeypatch.setattr(loop, "step", watched)


def interrupted() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def raised(error: BaseException) -> Callable[[], None]:
    def now() -> None:
        raise error

    return now


def stage(name: str, role: str) -> Path:
    return next(Path("runs", name, "stages").glob(f"*-{role}-*")) / "seed0"


def tensors(name: str, role: str = "student") -> dict[str, Any]:
    return {k: v.tolist() for k, v in load_file(stage(name, role) / "weights.safetensors").items()}


def status(name: str) -> Any:
    return json.loads(Path("runs", name, "run.json").read_text())["status"]


def resumed(name: str) -> Result:
    return compress("distill", "--resume", name, "--quiet")


@pytest.mark.usefixtures("quick")
def test_sigterm_saves_the_step_that_was_done_and_the_run_goes_on_from_it_exactly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert compress(*CHAIN, "--no-baseline", "--name", "whole").exit_code == 0
    at_step(2, interrupted, monkeypatch)
    stopped = compress(*CHAIN, "--no-baseline", "--name", "parts")
    assert (stopped.exit_code, status("parts")) == (130, "interrupted")
    assert (stage("parts", "student") / "state" / "step-0000000003.safetensors").is_file()
    steps: list[int] = []
    step = stepping.step

    def noting(run: Any, batch: Any, position: int, **kwargs: Any) -> Any:
        steps.append(position)
        return step(run, batch, position, **kwargs)

    monkeypatch.setattr(loop, "step", noting)
    found = resumed("auto")
    assert found.exit_code == 0, found.output
    assert steps == [3, 4, 5, 6, 7]
    assert tensors("parts") == tensors("whole")
    assert not (stage("parts", "student") / "state").exists()


def test_the_newest_unfinished_run_is_found_unless_somebody_works_on_it() -> None:
    for number, (name, state) in enumerate((("a", "interrupted"), ("b", "running"), ("c", "done"), ("d", "tuning"))):
        run = runfolder.create(name)
        run.update(status=state, created=f"2026-01-0{number + 1}T00:00:00+00:00")
    (runfolder.create("damaged").path / "run.json").write_text("{")
    unfinished = ("running", "interrupted", "failed")
    assert runfolder.newest_unfinished(unfinished).path.name == "b"
    assert runfolder.newest_unfinished(("tuning",)).path.name == "d"
    with runfolder.RunFolder(Path("runs/b")).held():
        assert runfolder.newest_unfinished(unfinished).path.name == "a"
    with pytest.raises(UsageError, match="waits to be continued"):
        runfolder.newest_unfinished(("failed",))


@pytest.mark.usefixtures("quick")
def test_a_second_process_may_not_write_in_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    second: list[Result] = []
    at_step(0, lambda: second.append(resumed("one")), monkeypatch, role="teacher")
    first = compress(*CHAIN, "--no-baseline", "--name", "one")
    assert first.exit_code == 0, first.output
    assert second[0].exit_code == 2
    assert f"run 'runs/one' is in use by process {os.getpid()} on " in second[0].output
    lines = (stage("one", "student") / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 2


@pytest.mark.usefixtures("quick")
def test_a_resume_keeps_the_weights_that_init_auto_came_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: Any, **kwargs: Any) -> Any:
        raise UsageError("the hub can't be reached")

    online_calls: list[str] = []

    class Hub:
        """The family with a hub that can be reached by now."""

        def __init__(self, own: Any) -> None:
            self.own = own

        def __getattr__(self, name: str) -> Any:
            return getattr(self.own, name)

        def pretrained(self, architecture: Any) -> Any:
            online_calls.append(architecture.name)
            return self.own.build(architecture).state_dict()

    chosen = ["--assistants", "test_vit"]

    at_step(2, raised(KeyboardInterrupt()), monkeypatch, role="assistant")
    assert compress(*CHAIN, *chosen, "--name", "early").exit_code == 130
    at_step(2, raised(KeyboardInterrupt()), monkeypatch)
    assert compress(*CHAIN, *chosen, "--name", "late").exit_code == 130
    monkeypatch.setattr(weighing, "family", lambda name: Hub(family(name)))
    for name in ("early", "late"):
        found = resumed(name)
        assert found.exit_code == 0, found.output
    origin = {
        (name, role): json.loads((stage(name, role) / "model.json").read_text())["origin"]
        for name in ("early", "late")
        for role in ("teacher", "assistant", "student", "baseline")
    }
    assert {key for key, value in origin.items() if value == "pretrained"} == {
        ("early", "student"), ("early", "baseline"),
    }  # fmt: skip
    assert yaml.safe_load(Path("runs/late/recipe.yaml").read_text())["student"]["init"] == "scratch"
    assert set(online_calls) == {"test_efficientnet"}


@pytest.mark.usefixtures("quick")
def test_a_resume_neither_takes_other_views_nor_a_stored_teacher_for_a_live_one(
    monkeypatch: pytest.MonkeyPatch, photos: Path
) -> None:
    monkeypatch.setenv("COMPRESS_CACHE", str(photos.parent / "cache"))  # whatever other tests have decoded of these
    small = [*CHAIN, "--data", str(photos), "--image-size", "32", "--no-baseline"]
    full = shards.make_room
    monkeypatch.setattr(shards, "make_room", lambda *a: (_ for _ in ()).throw(CompressorError("the disk is full")))
    at_step(1, raised(KeyboardInterrupt()), monkeypatch)
    assert compress(*small, "--name", "tight").exit_code == 130
    assert chain.begun(stage("tight", "student"))["taught"] == "live"  # type: ignore[index]
    assert yaml.safe_load(Path("runs/tight/recipe.yaml").read_text())["data"]["decoded"] is False
    monkeypatch.setattr(shards, "make_room", full)
    filled: list[str] = []
    monkeypatch.setattr(targets, "fill", lambda *a, **k: filled.append("filled"))
    found = resumed("tight")
    assert (found.exit_code, filled) == (0, []), found.output


@pytest.mark.usefixtures("torchscript")
def test_what_was_exported_and_measured_before_a_stop_is_not_made_again(
    run: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run, workdir / "runs" / "x")
    own = runfolder.RunFolder(Path("runs/x"))
    made: list[str] = []
    export = exporting.export_one

    def exported(*args: Any, **kwargs: Any) -> Any:
        made.append(args[2].name)
        return export(*args, **kwargs)

    def measured(*args: Any, **kwargs: Any) -> Any:
        made.append("benchmark.json")
        return measure(*args, **kwargs)

    monkeypatch.setattr(exporting, "export_one", exported)
    monkeypatch.setattr(pipeline, "document", measured)

    def goes_on() -> list[str]:
        made.clear()
        own.update(status="interrupted")
        found = resumed("x")
        assert found.exit_code == 0, found.output
        return list(made)

    assert goes_on() == []
    damaged = bytearray((own.path / "student.onnx").read_bytes())
    damaged[-40] ^= 1
    (own.path / "student.onnx").write_bytes(damaged)
    assert "student.onnx" in goes_on()
    assert goes_on() == []
    own.benchmark.write_text("{")
    assert goes_on() == ["benchmark.json"]
