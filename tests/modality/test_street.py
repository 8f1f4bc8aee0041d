"""A second modality goes the whole street, of which the package knows one entry in a table.

Once with a supervised row per sample and once with two: what is counted, stored, compared and predicted is rows.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from compressor.artifact import session
from compressor.data.dataset import Dataset
from compressor.data.load import load_dataset
from compressor.data.loaders import training_loader
from compressor.distillation import fit as loop
from compressor.distillation import step as stepping
from compressor.distillation import targets
from compressor.distillation.chain import Result, confident, finished
from compressor.distillation.config import TargetsConfig
from compressor.progress import Silent
from compressor.quantization import ladder
from compressor.quantization.attempt import attempt
from compressor.recipe import load as load_recipe
from compressor.runfolder import RunFolder
from compressor.workflows.benchmark import measured
from compressor.workflows.plan import make_plan
from tests.conftest import compress
from tests.modality.conftest import QUICK, write_table

CPU = torch.device("cpu")
TWO = pytest.mark.parametrize("table_run", [2], indirect=True, scope="session", ids=["two-rows"])
"""For what costs seconds: samples of two rows have all that those of one row have."""
BENCHMARK = {"batches": [1, 4], "processes": 1, "samples": 16, "warmup_seconds": 0, "min_seconds": 0}


@pytest.fixture
def run(table_run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished run, seen from the folder it was made in."""
    monkeypatch.chdir(table_run.parents[1])
    return table_run


@pytest.fixture
def own(run: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(run, tmp_path / "runs" / "own"))


def data_of(run: Path) -> Dataset:
    return load_dataset(load_recipe(run / "recipe.yaml").data)


def teacher_of(run: Path) -> Result:
    found = finished(run / "stages" / "00-teacher-mlp-64" / "seed0")
    assert found is not None
    return found


def document(*arguments: str | Path) -> Any:
    result = compress(*arguments, "--json", "--quiet")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_run_leaves_what_any_run_leaves_and_its_student_has_learned(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    assert [model["role"] for model in report["models"]] == ["teacher", "student", "baseline"]
    assert all(model["top1"] > 0.5 for model in report["models"] if model["role"] != "student")
    assert {entry["role"]: entry["precision"] for entry in report["exports"]} == {"student": "fp32", "teacher": "fp32"}
    assert {row["file"] for row in report["benchmark"]} == {entry["file"] for entry in report["exports"]}
    assert load_recipe(run / "recipe.yaml").data.options == {"jitter": 0.2}


@TWO
def test_a_student_named_by_its_teacher_and_its_baseline_start_from_its_layers(run: Path, tmp_path: Path) -> None:
    result = compress(
        "distill", *QUICK, "--data", run.parents[1] / "x.table.csv", "--teacher", run / "stages" / "00-teacher-mlp-64" / "seed0",
        "--student", "half", "--name", tmp_path.name, "--epochs", "1", "--set", "stage.optimizer.lr=1e-12",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    made = RunFolder(run.parent / tmp_path.name)
    assert load_recipe(made.recipe).student.init == "teacher"
    taught = load_file(run / "stages" / "00-teacher-mlp-64" / "seed0" / "weights.safetensors")
    for role in ("01-student", "02-baseline"):
        copied = load_file(made.path / "stages" / f"{role}-half" / "seed0" / "weights.safetensors")
        assert torch.allclose(copied["body.weight"], taught["body.weight"][:32], atol=1e-6), role
        assert not torch.allclose(copied["head.weight"], taught["head.weight"][:, :32], atol=1e-2), (
            "the head is its own"
        )


def test_a_student_that_is_named_by_a_teacher_that_only_answers_is_refused(run: Path, tmp_path: Path) -> None:
    data = data_of(run)
    table = tmp_path / "answers.csv"
    table.write_text("file," + ",".join(data.classes) + "\n" + "".join(f"{name},1,0,0\n" for name in data.ids))
    result = compress(
        "distill", *QUICK, "--data", run.parents[1] / "x.table.csv", "--teacher", table, "--student", "half"
    )
    assert result.exit_code == 2
    assert "half of which teacher?" in result.output


@TWO
def test_data_whose_views_are_all_alike_are_stored_once(run: Path) -> None:
    asked = {"views": "all"}
    for jitter, stored in ((0.0, 1), (0.1, "all")):
        recipe = load_recipe(None, {"data": {"source": str(run.parents[1] / "x.table.csv"), "options": {"jitter": jitter}},
                                    "teacher": {"model": "mlp:64"}, "student": {"model": "mlp:8"},
                                    "stage": {"targets": asked}})  # fmt: skip
        assert make_plan(recipe, Silent()).recipe.stage.targets.views == stored


def test_figures_files_and_metadata_count_rows(run: Path) -> None:
    dataset = data_of(run)
    test = dataset.splits["test"]
    stored = np.load(run / "student.predictions.npz")
    assert len(stored["ids"]) == len(test) * dataset.rows == len(set(stored["ids"]))
    assert stored["labels"].tolist() == dataset.labels[test].reshape(-1).tolist()
    report = json.loads((run / "report.json").read_text())
    assert report["dataset"]["test"] == len(test)
    assert report["dataset"]["rows"] == dataset.rows
    measured = json.loads((run / "benchmark.json").read_text())["models"]["student.onnx"]["accuracy"]
    assert measured["samples"] == len(stored["ids"])
    metrics = (run / "stages" / "01-student-mlp-8" / "seed0" / "metrics.jsonl").read_text()
    epochs = [json.loads(line) for line in metrics.splitlines()]
    whole = epochs[-1]["validation_top1"] * len(dataset.splits["validation"]) * dataset.rows
    assert whole == pytest.approx(round(whole))


def test_the_target_store_holds_rows_and_gives_what_the_live_teacher_gives(run: Path, tmp_path: Path) -> None:
    dataset, teacher = data_of(run), teacher_of(run).as_teacher(calibrate=True)
    config = TargetsConfig(batch_size=16, dtype="float32")
    store, about = targets.describe(teacher, dataset, config, embedding=True, precision="fp32", dense=False)
    assert store.samples == len(dataset.splits["train"]) * dataset.rows
    stored = targets.fill(store, about, teacher, dataset, config, views=2, label="t", device=CPU, progress=Silent())
    loader, order = training_loader(dataset, preprocessings=[teacher.preprocessing], batch_size=16, seed=0)
    order.epoch = 1
    for batch in loader:
        a, b = stored.answer(batch, CPU), teacher.answer(batch, CPU, embedding=True)
        assert len(a.logits) == len(batch["label"]) == 16 * dataset.rows
        assert torch.equal(a.logits, b.logits)
        assert a.embedding is not None
        assert b.embedding is not None
        assert torch.equal(a.embedding, b.embedding)


def test_a_store_split_into_blocks_inside_of_a_sample_gives_the_same(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compressor.distillation.store.BLOCK", 37)
    monkeypatch.setattr(targets, "BLOCK", 37)
    dataset, teacher = data_of(run), teacher_of(run).as_teacher(calibrate=False)
    config = TargetsConfig(batch_size=8, dtype="float32", top_k=2, dense_up_to=1)
    monkeypatch.setattr("tests.modality.table.MLP.taps", None)  # logits alone need none
    store, about = targets.describe(teacher, dataset, config, embedding=False, precision="fp32", dense=True)
    stored = targets.fill(store, about, teacher, dataset, config, views=1, label="b", device=CPU, progress=Silent())
    assert store.blocks > 3
    loader, _ = training_loader(dataset, preprocessings=[teacher.preprocessing], batch_size=8, seed=0)
    for batch in loader:
        assert torch.equal(stored.answer(batch, CPU).logits, teacher.answer(batch, CPU).logits)


@TWO
@pytest.mark.usefixtures("torchscript")
def test_the_cache_lists_the_store_and_a_seeded_run_uses_it_again_and_repeats_to_the_bit(run: Path) -> None:
    dataset = data_of(run)
    before = document("cache", "ls")
    assert any(f"views of {len(dataset.splits['train']) * dataset.rows} samples" in row["what"] for row in before)
    result = compress("distill", *QUICK, "--data", run.parents[1] / "x.table.csv", "--name", "again")
    assert result.exit_code == 0, result.output
    assert {row["name"] for row in document("cache", "ls")} == {row["name"] for row in before}
    assert (run.parent / "again" / "student.safetensors").read_bytes() == (run / "student.safetensors").read_bytes()


@TWO
@pytest.mark.usefixtures("torchscript")
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step, seen = stepping.step, 0

    def stopping(*args: Any, **kwargs: Any) -> Any:
        nonlocal seen
        seen += args[0].job.teacher is not None
        if seen == 8:
            raise KeyboardInterrupt
        return step(*args, **kwargs)

    monkeypatch.setattr(loop, "step", stopping)
    assert compress("distill", *QUICK, "--data", run.parents[1] / "x.table.csv", "--name", "parts").exit_code == 130
    monkeypatch.setattr(loop, "step", step)
    result = compress("distill", "--resume", "parts", "--quiet")
    assert result.exit_code == 0, result.output
    assert (run.parent / "parts" / "student.safetensors").read_bytes() == (run / "student.safetensors").read_bytes()


def test_export_passes_the_gate_and_int8_is_made(own: Path) -> None:
    entries = document("export", own, "--precision", "int8,fp32,fp16", "--max-drop", "100", "--allow-slower")
    assert [entry["precision"] for entry in entries] == ["fp32", "int8", "fp16"]
    assert all(entry["parity"]["top1_agreement"] > 0.9 for entry in entries)
    made = session.load(own / "student.int8.onnx")
    assert made.metadata.modality == "table"
    assert made.metadata.int8 is not None
    assert "int8" in (own / "report.md").read_text()


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every rung of the ladder loses five points."""

    def losing(climbing: Any, *args: Any, **kwargs: Any) -> Any:
        rung = attempt(climbing, *args, **kwargs).model_copy(update={"drop": 5.0, "within": False})
        climbing.rungs[-1] = rung
        return rung

    monkeypatch.setattr(ladder, "attempt", losing)


@TWO
@pytest.mark.usefixtures("coarse")
@pytest.mark.usefixtures("torchscript")
def test_int8_is_refused_with_a_reason_after_fine_tuning_under_the_stored_teacher(own: Path) -> None:
    refused = compress("export", own, "--precision", "int8", "--allow-slower", "--qat", "--json", "--quiet")
    assert refused.exit_code == 1
    assert refused.exception is None or isinstance(refused.exception, SystemExit), refused.exc_info
    int8 = json.loads(refused.stdout)[0]["int8"]
    assert "no int8 file keeps within" in int8["reason"]
    assert any(rung["name"].startswith("fine-tuned") for rung in int8["rungs"])


@TWO
@pytest.mark.usefixtures("torchscript")
def test_the_older_exporter_expresses_it_too(run: Path, tmp_path: Path) -> None:
    document("export", run, "--batch", "3", "-o", tmp_path / "three.onnx")
    document("export", run, "-o", tmp_path / "any.onnx")
    dataset = data_of(run)
    three, free = (session.load(tmp_path / name) for name in ("three.onnx", "any.onnx"))
    assert (three.batch, free.batch) == (3, None)
    _, inputs = next(dataset.inputs("test", free.metadata.preprocessing, 7))
    assert three.logits(inputs).shape == (7 * dataset.rows, 3)
    assert np.allclose(three.logits(inputs), free.logits(inputs), atol=1e-5)


def test_raw_input_is_refused_by_a_family_that_has_none(run: Path, tmp_path: Path) -> None:
    result = compress("export", run, "--uint8-input", "-o", tmp_path / "raw.onnx")
    assert result.exit_code == 2
    assert "a table's numbers are no bytes" in result.output
    assert not (tmp_path / "raw.onnx").exists()


def test_benchmark_times_it_in_a_process_that_does_not_know_the_modality(own: Path) -> None:
    found, _ = measured([str(own)], BENCHMARK, Silent())
    assert {row.batch for row in found.rows if row.file == "student.onnx"} == {1, 4}
    assert found.models["student.onnx"].size is None
    assert "student.onnx" in (own / "report.md").read_text()


def test_evaluate_gives_the_same_for_file_and_checkpoint(run: Path) -> None:
    of_file, of_checkpoint = document("evaluate", run / "student.onnx"), document("evaluate", run)
    assert of_file["samples"] == of_checkpoint["samples"] == len(np.load(run / "student.predictions.npz")["ids"])
    assert of_file["top1"] == pytest.approx(of_checkpoint["top1"], abs=0.02)
    assert list(of_file["per_class"]) == ["high", "low", "middle"]


def test_evaluate_takes_another_table(run: Path, tmp_path: Path) -> None:
    other = write_table(tmp_path / "other.table.csv", labels=data_of(run).rows, count=60)
    found = document("evaluate", run / "student.onnx", "--data", other)
    assert (found["data"], found["split"]) == ("other", "all")


def test_shift_is_refused_where_nobody_has_defined_a_damage(run: Path, tmp_path: Path) -> None:
    other = write_table(tmp_path / "other.table.csv")
    for verb, *what in (("evaluate", run / "student.onnx"), ("distill", "--data", other)):  # before it trains
        result = compress(verb, *what, "--shift")
        assert result.exit_code == 2
        assert "no damages are known for data of modality table" in result.output


def test_predict_answers_each_line_of_a_file(run: Path, tmp_path: Path) -> None:
    rows = data_of(run).rows
    table = write_table(tmp_path / "new.csv", count=3)
    table.write_text(table.read_text() + "0,0,what,0,0,0,low\n")
    result = compress("predict", run / "student.onnx", table, "--json", "--quiet", "--top", "2")
    *found, bad = json.loads(result.stdout)
    assert [entry["image"] for entry in found] == [f"{table}:{line}" for line in (2, 3, 4)]
    for entry in found:
        assert len(entry["classes"]) == 2
        assert len(entry.get("rows", [entry["classes"]])) == rows
    assert "what" in bad["error"]
    assert compress("predict", run / "student.onnx", tmp_path / "none.csv").exit_code == 2


def test_the_report_shows_samples_as_text(own: Path) -> None:
    shutil.rmtree(own / "examples")
    (own / "examples.json").unlink()
    document("report", own)
    shown = json.loads((own / "report.json").read_text())["examples"]
    assert shown
    assert all(entry["image"] is None and re.match(r"x0 = -?\d", entry["text"]) for entry in shown)
    assert all(entry["label"] != entry["student"] or entry["label"] != entry["teacher"] for entry in shown)
    page = (own / "report.html").read_text()
    assert f"<blockquote>{shown[0]['text']}</blockquote>" in page
    assert "images" not in page + (own / "report.md").read_text()


@TWO
def test_tune_searches(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    quick = [part for part in QUICK if not part.startswith("benchmark.")]
    quick = [a for a, b in zip(quick, [*quick[1:], ""], strict=True) if not (a == "--set" and b in ("--set", ""))]
    found = document("tune", "--trials", "2", *quick, "--data", run.parents[1] / "x.table.csv", "--name", "search")
    assert len(found["trials"]) == 2


@TWO
def test_a_plan_says_what_goes_in(run: Path, tmp_path: Path) -> None:
    more = write_table(tmp_path / "more.csv", count=50)
    found = document("distill", *QUICK, "--data", run.parents[1] / "x.table.csv", "--dry-run", "--unlabeled", more,
                     "--set", "stage.ema=0.9")  # fmt: skip
    assert (found["dataset"]["input"], found["dataset"]["unlabeled"]) == ("6 columns", 50)
    assert {stage["teacher_is"] for stage in found["stages"]} == {"–", "stored"}


def test_unlabelled_samples_join_where_the_teacher_is_sure_of_all_their_rows(run: Path, tmp_path: Path) -> None:
    more = write_table(tmp_path / "more.csv", count=50)
    config = load_recipe(run / "recipe.yaml").data.model_copy(update={"unlabeled": str(more)})
    dataset, teacher = load_dataset(config), teacher_of(run).as_teacher(calibrate=True)
    every, some = (confident(teacher, dataset, threshold, CPU) for threshold in (0.0, 0.6))
    assert len(every) == 50 > len(some) > 0
    assert set(some) < set(every)


def test_a_split_of_its_own_and_wrong_settings(workdir: Path) -> None:
    table = write_table(workdir / "own.table.csv", split=True)
    lines = [line.rsplit(",", 1)[-1] for line in table.read_text().splitlines()[1:]]
    result = compress("distill", *QUICK, "--data", table, "--dry-run", "--json")
    assert json.loads(result.stdout)["dataset"]["test"] == lines.count("test")
    wrong = compress("distill", *QUICK, "--data", table, "--set", "data.options.jiter=1", "--dry-run")
    assert wrong.exit_code == 2
    assert "data.options: jiter" in wrong.output


@pytest.mark.parametrize("term", ["attention", "hint"])
def test_an_objective_that_reads_feature_maps_is_refused_where_there_are_none(workdir: Path, term: str) -> None:
    table = write_table(workdir / "x.table.csv")
    on = (
        ["--set", "stage.objective.hint.on=maps"] if term == "hint" else ["--set", "stage.objective.attention.weight=1"]
    )
    result = compress("distill", *QUICK, *on, "--data", table, "--dry-run")
    assert result.exit_code == 2
    assert "the student has none" in result.output


def test_models_and_data_of_two_modalities_do_not_mix(run: Path, workdir: Path) -> None:
    table = write_table(workdir / "x.table.csv")
    wrong = compress("distill", *QUICK, "--data", "digits")
    assert wrong.exit_code == 2
    assert "unknown teacher 'mlp:64'" in wrong.output
    named = compress("distill", "--teacher", "resnet18", "--student", "mlp:8", "--data", table)
    assert named.exit_code == 2
    assert "write mlp:64" in named.output
    taught = compress(
        "distill", "--teacher", run / "student.safetensors", "--student", "test_resnet", "--data", "digits"
    )
    assert taught.exit_code == 2
    assert "takes table" in taught.output
    judged = compress("evaluate", run / "student.onnx", "--data", "digits")
    assert judged.exit_code == 1
    assert "takes data of modality table" in judged.output


@pytest.mark.usefixtures("workdir", "torchscript")
def test_a_model_of_random_weights_can_be_timed() -> None:
    found, _ = measured(["mlp:16"], BENCHMARK, Silent(), size=5)
    assert found.models["mlp:16"].params == 5 * 16 + 16 + 16 * 16 + 16 + 16 * 10 + 10


def test_the_entry_is_all_that_the_package_knows(run: Path) -> None:
    assert RunFolder(run).read().status == "done"
    package = Path(session.__file__).parents[1]
    assert not [path for path in package.rglob("*.py") if "mlp:" in path.read_text()]
