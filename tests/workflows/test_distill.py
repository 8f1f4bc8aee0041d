"""The street as a whole: run folder, resume, chain, teachers from elsewhere, a folder of photos."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file

from compressor.data.config import DataConfig
from compressor.data.dataset import suggested_epochs
from compressor.data.load import load_dataset
from compressor.distillation import acquire, chain
from compressor.distillation.accelerator import accelerator
from compressor.errors import CheckpointError, RecipeError, UsageError
from compressor.models import checkpoint
from compressor.progress import Silent
from compressor.recipe import load as load_recipe
from compressor.runfolder import RunFolder
from compressor.workflows import distill as pipeline
from compressor.workflows import plan as planning
from tests.conftest import TINY, compress, fill

NO_EXPORT = [*TINY, "--quiet"]
SEVERAL = [*TINY[2:], "--quiet"]
"""Without the setting of seeds, which would beat the option."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out export and benchmark, which have tests of their own and take a while."""
    monkeypatch.setattr(pipeline, "export_run", lambda *a, **k: {})
    monkeypatch.setattr(pipeline, "document", lambda *a, **k: {"rows": [], "host": None})


def distill(*more: str) -> Any:
    settings = SEVERAL if "--seeds" in more else NO_EXPORT
    result = compress("distill", "--student", "mobilenetv3_small_050", *settings, *more)
    assert result.exit_code == 0, result.output
    return result


def weights(folder: Path) -> dict[str, np.ndarray]:
    return {k: v.numpy() for k, v in load_file(folder / "weights.safetensors").items()}


def equal(a: Path, b: Path) -> bool:
    x, y = weights(a), weights(b)
    return x.keys() == y.keys() and all((x[k] == y[k]).all() for k in x)


def test_the_run_folder_is_as_designed_and_reloads(run: Path) -> None:
    names = {p.name for p in run.iterdir()}
    assert names >= {"recipe.yaml", "run.json", "stages", "student.safetensors", "student.json", "student.onnx",
                     "benchmark.json", "report.json", "report.md", "report.html"}  # fmt: skip
    assert sorted(p.name for p in (run / "stages").iterdir()) == [
        "00-teacher-test_resnet", "01-student-mobilenetv3_small_050", "02-baseline-mobilenetv3_small_050",
    ]  # fmt: skip
    seed = run / "stages" / "01-student-mobilenetv3_small_050" / "seed0"
    assert {p.name for p in seed.iterdir()} == {
        "weights.safetensors", "model.json", "metrics.jsonl", "predictions.npz", "validation.npz", "seen.bin",
    }  # fmt: skip
    note = json.loads((run / "run.json").read_text())
    assert note["status"] == "done"
    model, card = checkpoint.load(run)
    assert card.architecture.described() == {"stem": "stride1"}
    assert card.classes == [str(d) for d in range(10)]
    assert not model.training


def test_the_resolved_recipe_is_a_valid_input_and_has_nothing_left_to_decide(run: Path) -> None:
    text = (run / "recipe.yaml").read_text()
    recipe = load_recipe(run / "recipe.yaml")
    assert yaml.safe_load(text) == yaml.safe_load(recipe.to_yaml())
    assert recipe.student.model == "mobilenetv3_small_050"
    assert recipe.data.image_size == 32
    assert recipe.stage.epochs == recipe.teacher.epochs == 2


def test_student_and_baseline_start_from_the_same_weights() -> None:
    from compressor.data.config import DataConfig
    from compressor.data.load import load_dataset

    dataset = load_dataset(DataConfig())
    a, b = (  # once the student's `auto` came to nothing, the recipe says so, and the baseline reads it
        acquire.start("mobilenetv3_small_050", init, dataset, role=role, stem="auto", seed=3).model.state_dict()
        for role, init in (("student", "auto"), ("baseline", "scratch"))
    )
    assert all((a[k] == b[k]).all() for k in a)


@pytest.mark.usefixtures("quick")
def test_a_stopped_run_resumes_without_repeating_a_finished_stage(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed = ["--set", "stage.targets.precision=fp32"]  # `auto` is a stopwatch's word, and a busy machine's changes
    distill("--teacher", "test_resnet", "--name", "whole", *fixed)
    run_stage = chain.run_stage

    def stopping(*args: Any, role: str, **kwargs: Any) -> Any:
        if role == "baseline":
            raise KeyboardInterrupt
        return run_stage(*args, role=role, **kwargs)

    monkeypatch.setattr(chain, "run_stage", stopping)
    stopped = compress("distill", "--teacher", "test_resnet", "--student", "mobilenetv3_small_050", "--name", "parts",
                       *TINY, *fixed)  # fmt: skip
    assert stopped.exit_code == 130
    assert "compress distill --resume runs/parts" in stopped.output
    parts = workdir / "runs" / "parts"
    assert json.loads((parts / "run.json").read_text())["status"] == "interrupted"
    roles: list[str] = []

    def noting(*args: Any, role: str, **kwargs: Any) -> Any:
        roles.append(role)
        return run_stage(*args, role=role, **kwargs)

    monkeypatch.setattr(chain, "run_stage", noting)
    assert compress("distill", "--resume", "parts", "--quiet").exit_code == 0
    assert roles == ["baseline"]
    for stage in ("00-teacher-test_resnet", "01-student-mobilenetv3_small_050", "02-baseline-mobilenetv3_small_050"):
        assert equal(parts / "stages" / stage / "seed0", workdir / "runs" / "whole" / "stages" / stage / "seed0")
    again = compress("distill", "--resume", "parts")
    assert again.exit_code == 2
    assert "already done" in again.output


@pytest.mark.usefixtures("quick", "workdir")
def test_a_chain_with_an_assistant_and_several_seeds_on_a_folder_of_photos(photos: Path) -> None:
    rows = "".join(f"{p.relative_to(photos)},{'even' if int(p.stem) % 2 else 'odd'}\n" for p in photos.rglob("*.png"))
    (photos / "metadata.csv").write_text("file,parity\n" + rows)
    distill("--teacher", "test_resnet", "--assistants", "test_efficientnet", "--seeds", "2", "--data", str(photos),
            "--image-size", "32", "--name", "chain", "--json", "--shift")  # fmt: skip
    report = json.loads(Path("runs/chain/report.json").read_text())
    assert [(m["role"], m["seed"]) for m in report["models"]] == [
        ("teacher", 0), ("assistant", 0), ("student", 0), ("student", 1), ("baseline", 0), ("baseline", 1),
    ]  # fmt: skip
    assert report["help"]["seeds"] == [0, 1]
    assert report["shipped_seed"] in (0, 1)
    assert [(one["column"], one["pooled"]) for one in report["slices"]] == [("parity", ["even", "odd"])]
    assert set(report["shift"]["mean"]["top1"]) == {"teacher", "student", "baseline"}
    assert yaml.safe_load(Path("runs/chain/recipe.yaml").read_text())["evaluation"] == {"shift": True}


def test_seeds_are_as_many_as_the_data_suggest_unless_they_are_given(photos: Path) -> None:
    def seeds(source: str | Path, **given: Any) -> tuple[Any, dict[str, int], str]:
        said: list[str] = []

        class Ear(Silent):
            def say(self, message: str) -> None:
                said.append(message)

        models = {"teacher.model": "test_resnet", "student.model": "test_efficientnet"}
        recipe = load_recipe(None, {**models, "data.source": str(source), **given})
        planned = planning.make_plan(recipe, Ear())
        return planned.recipe.seeds, {s.role: len(s.seeds) for s in planned.stages}, " ".join(said)

    settled, by_role, said = seeds("digits")
    assert settled == 3
    assert by_role == {"teacher": 1, "student": 3, "baseline": 3}
    assert "trained with 3 seeds each" in said
    assert seeds("digits", seeds=2)[:2] == (2, {"teacher": 1, "student": 2, "baseline": 2})
    assert seeds("digits", baseline=False)[:2] == (1, {"teacher": 1, "student": 1})
    assert seeds(photos)[0] == 1
    with pytest.raises(RecipeError, match="seeds = 0"):
        load_recipe(None, {"seeds": 0})


def test_skipped_images_are_said_and_leave_the_stages_names_alone(photos: Path) -> None:
    (photos / "red" / "broken.png").write_bytes(b"no image")
    said: list[str] = []

    class Ear(Silent):
        def say(self, message: str) -> None:
            said.append(message)

    options = {"teacher.model": "test_resnet", "student.model": "test_efficientnet",
               "data.source": str(photos), "data.max_unreadable": 0.1}  # fmt: skip
    planned = planning.make_plan(load_recipe(None, options), Ear())
    assert "not used: 1 damaged (red/broken.png)" in said
    assert [stage.model for stage in planned.stages] == ["test_resnet", "test_efficientnet", "test_efficientnet"]


@pytest.mark.usefixtures("quick", "workdir")
def test_an_earlier_run_teaches_and_one_that_has_seen_the_test_images_is_refused(run: Path) -> None:
    distill("--teacher", str(run), "--name", "second", "--no-baseline")
    report = json.loads(Path("runs/second/report.json").read_text())
    teacher = report["models"][0]
    assert teacher["weights"] == str(run)
    assert teacher["train_seconds"] is None
    assert teacher["name"] == "mobilenetv3_small_050"
    assert teacher["stage"] == "00-teacher-mobilenetv3_small_050"
    refused = compress("distill", "--teacher", str(run), "--student", "test_resnet", "--set", "data.seed=1", *NO_EXPORT)
    assert refused.exit_code == 1
    assert "another split of this data" in refused.output
    other = load_dataset(DataConfig(limit=160, seed=1))
    weights = next(run.glob("stages/00-*/seed0/weights.safetensors"))
    with pytest.raises(CheckpointError, match=r"student weights .* another split of this data"):
        acquire.start("test_resnet", str(weights), other, role="student", stem="keep", seed=0)


def test_a_teachers_epochs_can_be_overridden_by_its_name() -> None:
    options = {"teacher.model": "test_resnet", "student.model": "test_efficientnet", "data.limit": 160}
    assert planning.make_plan(load_recipe(None, options), Silent()).stages[0].epochs == 8
    named = options | {"overrides.test_resnet.epochs": 3}
    assert planning.make_plan(load_recipe(None, named), Silent()).stages[0].epochs == 3


def test_a_settled_recipe_names_its_paths_from_the_root(workdir: Path, run: Path) -> None:
    fill(workdir / "photos")
    fill(workdir / "more", ("x",), 3)
    shutil.copy(next(run.glob("stages/01-*/seed0/weights.safetensors")), workdir / "w.safetensors")
    options = {"teacher.model": "test_resnet", "student.model": "test_efficientnet", "data.source": "photos",
               "data.unlabeled": "more/", "teacher.init": "w.safetensors", "stage.epochs": 1}  # fmt: skip
    planned = planning.make_plan(load_recipe(None, options), Silent()).recipe
    assert (planned.data.source, planned.data.unlabeled) == (str(workdir / "photos"), str(workdir / "more"))
    assert (planned.teacher.init, planned.student.init) == (str(workdir / "w.safetensors"), "auto")
    assert (planned.teacher.model, planned.student.model) == ("test_resnet", "test_efficientnet")
    digits = planning.make_plan(
        load_recipe(None, options | {"data.source": "digits", "data.unlabeled": None}), Silent()
    )
    assert digits.recipe.data.source == "digits"


def test_a_run_that_is_done_has_no_error_of_an_earlier_attempt(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.update(status="failed", error="the disk was full")
    assert folder.read().error == "the disk was full"
    folder.update(device="cpu")
    assert folder.read().error == "the disk was full"
    folder.update(status="done")
    assert (folder.read().status, folder.read().error, folder.read().device) == ("done", None, "cpu")


def test_resuming_with_another_recipe_is_refused(run: Path) -> None:
    for more in (["--recipe", "missing.yaml"], ["--epochs", "3"], ["--set", "seed=1"]):
        result = compress("distill", "--resume", run, *more)
        assert result.exit_code == 2
        assert "--resume continues a run with its own recipe; drop" in result.output


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compressor.distillation.accelerator.Accelerator", lambda **_: SimpleNamespace(num_processes=2))
    with pytest.raises(UsageError, match="started as 2 processes"):
        accelerator("cpu")


@pytest.mark.usefixtures("quick", "workdir")
def test_a_teacher_of_other_classes_gets_a_new_head_and_learns(run: Path, photos: Path) -> None:
    distill("--teacher", str(run), "--data", str(photos), "--image-size", "32", "--no-baseline", "--name", "new")
    teacher = json.loads(Path("runs/new/report.json").read_text())["models"][0]
    assert teacher["train_seconds"] > 0
    assert checkpoint.read_card(next(Path("runs/new/stages").glob("00-*/seed0/model.json"))).classes == [
        "blue", "green", "red",
    ]  # fmt: skip


@pytest.mark.usefixtures("workdir")
def test_a_dry_run_shows_the_plan_and_trains_nothing() -> None:
    result = compress("distill", "--teacher", "test_resnet", "--student", "mobilenetv3_small_050", "--dry-run",
                      "--assistants", "test_efficientnet", "--json", *TINY)  # fmt: skip
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    assert [s["role"] for s in plan["stages"]] == ["teacher", "assistant", "student", "baseline"]
    assert all(s["seconds"] > 0 and s["params"] > 0 and s["macs"] > 0 for s in plan["stages"])
    assert plan["seconds"] > 0
    assert plan["memory_mb"] > 100
    assert "Nothing was trained" in result.stderr
    assert not Path("runs").exists()


def test_a_dry_run_says_what_the_stores_take_and_what_has_no_room(photos: Path) -> None:
    def estimate(*more: str) -> dict[str, Any]:
        result = compress("distill", "--teacher", "test_resnet", "--student", "mobilenetv3_small_050", "--data", photos,
                          "--image-size", "32", "--dry-run", "--json", "--set", "teacher.epochs=1",
                          "--set", "stage.epochs=3", *more)  # fmt: skip
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    found = estimate()
    samples, channels = found["dataset"]["train"], 96  # timm: test_resnet's num_features
    assert found["targets_mb"] == pytest.approx(3 * samples * (3 + channels) * 2 / 1e6)  # views, logits, float16
    assert found["decoded_mb"] == pytest.approx(samples * 40 * 40 * 3 / 1e6)
    assert (found["notes"], found["stages"][1]["teacher_is"]) == ([], "stored")
    kept = 0.4 * found["targets_mb"] / 1000
    tight = estimate("--cache-limit", str(kept), "--set", "data.decoded_limit=1e-9")
    assert (tight["targets_mb"], tight["decoded_mb"], tight["stages"][1]["teacher_is"]) == (0, 0, "live")
    assert "so it is asked in every step; 1 view(s) would fit (stage.targets.views)" in tight["notes"][0]
    assert "so they are decoded in every epoch" in tight["notes"][1]


def test_evaluate_and_predict_agree_with_the_report(run: Path, tmp_path: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    by_file = json.loads(compress("evaluate", run / "student.onnx", "--json").stdout)
    assert by_file["top1"] == report["exports"][0]["top1"]
    by_checkpoint = json.loads(compress("evaluate", run, "--json", "--split", "test").stdout)
    assert by_checkpoint["top1"] == next(m["top1"] for m in report["models"] if m["role"] == "student")
    images = fill(tmp_path / "p", count=1)
    (images / "broken.png").write_bytes(b"x")
    found = compress("predict", run / "student.onnx", images, "--top", "3", "--json")
    assert found.exit_code == 1
    answers = json.loads(found.stdout)
    assert [len(a.get("classes", [])) for a in answers] == [1 * 3, 0, 3, 3] or sum("error" in a for a in answers) == 1
    listed = compress("predict", run, "-", input=f"{images / 'red' / '000.png'}\n")
    assert listed.exit_code == 0
    assert "000.png: " in listed.stdout


def test_an_elsewhere_exported_file_evaluates_on_other_images(run: Path, photos: Path) -> None:
    found = compress("evaluate", run / "student.onnx", "--data", photos)
    assert found.exit_code == 1
    assert "knows 10 classes and the data has 3" in found.output


def test_export_and_benchmark_without_an_argument_take_the_newest_run(
    run: Path, workdir: Path, torchscript: None
) -> None:
    run = Path(shutil.copytree(run, workdir / "runs" / "tiny"))
    done = compress("export", "--precision", "fp16", "--json")
    assert done.exit_code == 0, done.output
    entry = json.loads(done.stdout)[0]
    assert entry["file"] == "student.fp16.onnx"
    assert entry["bytes"] < 0.6 * (run / "student.onnx").stat().st_size
    timed = compress("benchmark", "--processes", "1", "--samples", "64", "--json")
    assert timed.exit_code == 0, timed.output
    files = {row["file"] for row in json.loads(timed.stdout)["rows"]}
    assert files == {"student.onnx", "student.fp16.onnx", "stages/00-teacher-test_resnet/seed0/model.onnx"}
    report = json.loads((run / "report.json").read_text())
    assert len(report["benchmark"]) == len(report["exports"]) == 3


def test_a_teacher_that_sees_more_teaches_one_that_sees_less_live_or_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, store in (("stored", "true"), ("live", "false")):
        distill("--teacher", "test_resnet", "--name", name, "--no-baseline", "--set", "teacher.image_size=48",
                "--set", "stage.targets.dtype=float32", "--set", "stage.targets.precision=fp32",
                "--set", f"stage.targets.store={store}", "--set", "stage.objective={ce: {}, kd: {}}")  # fmt: skip
    stages = {name: tmp_path / "runs" / name / "stages" for name in ("stored", "live")}
    sizes = [json.loads(path.read_text())["preprocessing"]["size"]
             for path in sorted(stages["stored"].glob("*/seed0/model.json"))]  # fmt: skip
    assert sizes == [48, 32]
    a, b = (weights(next(folder.glob("01-*")) / "seed0") for folder in stages.values())
    assert all(np.abs(a[k] - b[k]).max() < 1e-4 for k in a)


def test_trained_weights_and_many_images_take_fewer_epochs(photos: Path, tmp_path: Path) -> None:
    def epochs(*more: str) -> list[int]:
        settings = [f"data.source={photos}", "teacher.model=test_resnet", "student.model=test_resnet", *more]
        return [s.epochs for s in planning.make_plan(load_recipe(None, {}, settings), Silent()).stages]

    assert epochs("teacher.init=scratch", "student.init=scratch") == [300, 300, 300]
    file = tmp_path / "known.safetensors"
    checkpoint.save_tensors(
        file, acquire.start("test_resnet", "scratch", load_dataset(DataConfig(source=str(photos))), role="student",
                            stem="keep", seed=0).model.state_dict(),
    )  # fmt: skip
    assert epochs(f"teacher.init={file}", "student.init=scratch", "student.stem=keep") == [100, 300, 300]
    assert epochs("teacher.init=scratch", f"student.init={file}", "student.stem=keep") == [300, 100, 100]
    assert epochs("teacher.init=scratch", f"student.init={file}", "student.stem=keep", "stage.epochs=7") == [7, 7, 7]
    assert suggested_epochs(10_000) == 30
    assert suggested_epochs(4_000) == 75
    assert suggested_epochs(1_000_000, trained=True) == 10
