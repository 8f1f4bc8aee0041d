"""Every mistake that a newcomer makes: text and exit code."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from compressor.cli import console as consoles
from tests.conftest import TINY, compress

TEACHER = ["--teacher", "test_resnet"]


@pytest.mark.usefixtures("workdir")
@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["distill", "--teacher", "resnet51"], 2, "unknown teacher 'resnet51': did you mean"),
        (["distill", "--student", "mobilenetv33"], 2, "unknown student 'mobilenetv33': did you mean"),
        (["distill", *TEACHER, "--assistants", "nope_net_x"], 2, "unknown assistant 'nope_net_x'"),
        (["distill", *TEACHER, "--data", "nowhere/"], 2, "data folder 'nowhere/' does not exist (from --data"),
        (["distill", "--teacher", "runs/none"], 2, "teacher 'runs/none' looks like a path, and there is nothing there"),
        (["distill", "--teacher", "hf-hub:someone/model", *TINY], 2, "the model hub can't be reached"),
        (["export", "--precision", "int8", "--target", "riscv"], 2, "--target 'riscv': Input should be 'auto', 'x86-vnni'"),
        (["export", "--precision", "int8", "--max-drop", "-1"], 2, "--max-drop -1.0: Input should be greater than or"),
        (["distill", *TEACHER, "--set", "stage.objective.kd.temprature=2"], 2,
         "--set stage.objective.kd.temprature=2: unknown key 'stage.objective.kd.temprature'; did you mean 'temperature'?"),
        (["distill", *TEACHER, "--set", "stage.objective.dk={}"], 2, "did you mean 'dkd'?"),
        (["distill", *TEACHER, "--epochs", "0.5"], 2, "Invalid value for '--epochs'"),
        (["distill", *TEACHER, "--batch-size", "1"], 2, "stage.batch_size = 1: input should be greater than"),
        (["distill", *TEACHER, "--set", "nonsense"], 2, "write it as key=value"),
        (["distill", *TEACHER, "--set", "overrides.studnet.epochs=3"], 2, "did you mean 'student'?"),
        (["distill", "--recipe", "missing.yaml"], 2, "no recipe 'missing.yaml' (from --recipe); packaged ones: cifar10"),
        (["distill", *TEACHER, "--device", "gpu"], 2, "unknown device 'gpu' (available: auto, cpu, cuda)"),
        (["distill", "--resume", "runs/none"], 2, "run 'runs/none' does not exist"),
        (["export"], 2, "no runs yet in"),
        (["export", "--precision", "int7"], 2, "--precision 'int7': Input should be 'fp32'"),
        (["benchmark"], 2, "no runs yet in"),
        (["report"], 2, "no runs yet in"),
        (["evaluate"], 2, "no runs yet in"),
        (["benchmark", "--batch", "one"], 2, "--batch 'one': give whole numbers from 1"),
        (["benchmark", "none.onnx", "--max-processes", "0"], 2, "--max-processes 0: Input should be greater than"),
        (["benchmark", "none.onnx"], 1, "no file none.onnx"),
        (["evaluate", "none.onnx"], 1, "no file none.onnx"),
        (["evaluate", "x.onnx", "--split", "dev"], 2, "unknown split 'dev' (available: auto, train, validation, test"),
        (["predict", "none.onnx", "a.jpg"], 1, "no file none.onnx"),
        (["models", "zzzzqq"], 2, "no model matches 'zzzzqq'"),
        (["destill"], 2, "No such command 'destill'"),
        (["distill", *TEACHER, "--epochs", "-3"], 2, "stage.epochs = -3: give a whole number (1 to 100,000) or 'auto'"),
        (["distill", *TEACHER, "--set", "stage.epochs=-3"], 2, "stage.epochs = -3: give a whole number (1 to 100,000)"),
        (["distill", *TEACHER, "--views", "0"], 2, "stage.targets.views = 0: give a whole number (1 to 100,000) or 'all'"),
        (["distill", *TEACHER, "--image-size", "0"], 2, "data.image_size = 0: give a whole number (1 to 4,096) or 'auto'"),
        (["distill", *TEACHER, "--image-size", "1000000000"], 2, "data.image_size = 1000000000: give a whole number"),
        (["distill", *TEACHER, "--set", "stage.objective={}"], 2, "would teach the student's classifier nothing"),
        (["benchmark", "x.onnx", "--size", "0"], 2, "--size 0: give a whole number (1 to 4,096)"),
        (["benchmark", "x.onnx", "--batch", "100000000"], 2, "less than or equal to 65536 (1 to 65,536)"),
        (["export", "--batch", "0"], 2, "--batch 0: give a whole number (1 to 65,536) or 'dynamic'"),
        (["export", "--batch", "²"], 2, "--batch '²': give a whole number (1 to 65,536) or 'dynamic'"),
        (["models", "--size", "0"], 2, "--size 0: give a whole number (1 to 4,096)"),
        (["models", "--limit", "-1"], 2, "--limit -1: give a whole number (1 to 10,000)"),
        (["predict", "x.onnx", "a.jpg", "--top", "0"], 2, "--top 0: give a whole number (1 to 1,000,000)"),
        (["tune", *TEACHER, "--trials", "0"], 2, "--trials 0: give a whole number (1 to 10,000)"),
        (["distill", *TEACHER, "--student", "inception_v3", "--dry-run"], 2, "inception_v3 can't take 32 px"),
        (["distill", "--teacher", "inception_v3", "--student", "test_resnet", *TINY], 2, "inception_v3 can't take 32 px"),
        (["distill", *TEACHER, "--image-size", "4096", "--batch-size", "65536", "--student", "test_resnet"], 2,
         "Take a smaller --batch-size or --image-size"),
        (["predict", "a" * 100_000, "b.jpg"], 1, "File name too long"),
    ],
)  # fmt: skip
def test_a_mistake_gets_its_value_its_origin_and_the_fix(arguments: list[str], code: int, text: str) -> None:
    result = compress(*arguments)
    assert text in " ".join(result.output.split()) or text in result.output, result.output
    assert result.exit_code == code
    assert "Traceback" not in result.output
    assert len([line for line in result.stderr.splitlines() if line.startswith("error")]) <= 1


@pytest.mark.skipif(__import__("torch").cuda.is_available(), reason="there is a GPU here")
@pytest.mark.usefixtures("workdir")
def test_cuda_asked_for_and_absent_is_an_error_not_a_fallback() -> None:
    result = compress("distill", *TEACHER, "--device", "cuda")
    assert result.exit_code == 2
    assert "--device cuda: " in result.output


def test_one_class_only_is_an_error_before_training(photos: Path, workdir: Path) -> None:
    for name in ("red", "green"):
        for image in (photos / name).iterdir():
            image.unlink()
        (photos / name).rmdir()
    result = compress("distill", *TEACHER, "--data", photos)
    assert result.exit_code == 2
    assert "has 1 class folder(s); a classifier needs at least two" in result.output
    assert not (workdir / "runs").exists()


@pytest.mark.usefixtures("workdir")
def test_all_problems_of_a_recipe_are_named_at_once_with_their_lines(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "seed: 0\nstudent: {modle: x}\nstage:\n  epochs: -1\n  optimizer: {lr: fast}\n"
        "  objective: {dk: {}}\noverrides:\n  student: {epoch: 3}\n"
    )
    result = compress("distill", "--recipe", recipe)
    assert result.exit_code == 2
    for text in (
        "problems in", "line 2: unknown key 'student.modle'; did you mean 'model'?", "line 5: stage.optimizer.lr = 'fast'",
        "line 6: unknown key 'stage.objective.dk'; did you mean 'dkd'?",
        "line 8: unknown key 'overrides.student.epoch'; did you mean 'epochs'?",
    ):  # fmt: skip
        assert text in result.output, result.output


@pytest.mark.usefixtures("workdir")
def test_a_missing_extra_is_answered_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def without_torch(name: str, *args: Any) -> Any:
        return None if name == "torch" else find(name, *args)

    monkeypatch.setattr(importlib.util, "find_spec", without_torch)
    result = compress("distill", *TEACHER)
    assert result.exit_code == 2
    assert "pip install 'compressor[train]'" in result.output


@pytest.mark.usefixtures("workdir")
def test_a_bare_weights_file_asks_for_its_architecture(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"x")
    result = compress("distill", "--teacher", tmp_path / "w.safetensors", *TINY)
    assert result.exit_code == 2
    assert "--teacher resnet50 --set teacher.init=" in result.output


def test_what_is_no_onnx_file_is_a_clear_error(tmp_path: Path, run: Path) -> None:
    (tmp_path / "noise.onnx").write_bytes(b"hello")
    (tmp_path / "cut.onnx").write_bytes((run / "student.onnx").read_bytes()[:5000])
    for name in ("noise.onnx", "cut.onnx"):
        result = compress("predict", tmp_path / name, "a.jpg")
        assert result.exit_code == 1
        assert f"{name} can't be read as ONNX: " in result.output
        assert "damaged" in result.output


def test_a_foreign_onnx_file_says_that_it_does_not_describe_itself(tmp_path: Path, run: Path) -> None:
    import onnx

    model = onnx.load(run / "student.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    result = compress("evaluate", tmp_path / "foreign.onnx")
    assert result.exit_code == 1
    assert "has no compressor metadata" in result.output


def test_json_is_one_document_on_stdout_even_for_a_person_who_is_talkative(run: Path) -> None:
    import json

    result = compress("report", run, "--json")
    assert json.loads(result.stdout)["schema_version"] == 1
    assert "exported" in result.stderr


def test_every_command_has_help_with_examples() -> None:
    for name in ("distill", "export", "benchmark", "evaluate", "predict", "report", "models", "doctor"):
        result = compress(name, "--help")
        assert result.exit_code == 0
        assert f"compress {name}" in result.output, result.output


def test_doctor_and_models_answer() -> None:
    import json

    found = json.loads(compress("doctor", "--json").stdout)
    assert "cpu" in found["providers"]
    rows = json.loads(compress("models", "mobilenetv3_small_0*", "--json").stdout)
    assert rows[0]["name"] == "mobilenetv3_small_050"
    assert 1.0e6 < rows[0]["params"] < 2.0e6
    assert rows[0]["macs"] > 1e7


@pytest.mark.usefixtures("workdir")
def test_the_cache_can_be_listed_and_emptied(run: Path) -> None:
    import json

    rows = json.loads(compress("cache", "ls", "--json").stdout)
    assert any(r["kind"] == "targets" and "teacher test_resnet, 2 views of 160 samples" in r["what"] for r in rows)
    assert "no store 'zz'" in compress("cache", "rm", "zz").output
    nothing = compress("cache", "rm")
    assert nothing.exit_code == 2
    assert "or give --all" in nothing.output
    gone = json.loads(compress("cache", "rm", rows[0]["name"][:8], "--json").stdout)
    assert gone[0]["name"] == rows[0]["name"]
    assert rows[0]["name"] not in compress("cache", "ls").output


def test_interrupting_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    from compressor.benchmarking import host

    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(host, "fingerprint", stop)
    result = compress("doctor")
    assert result.exit_code == consoles.INTERRUPTED == 130


@pytest.mark.parametrize("verbose", [False, True])
def test_what_was_not_foreseen_is_a_message_and_a_log_not_a_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verbose: bool
) -> None:
    from compressor.benchmarking import host

    def fail() -> None:
        raise KeyError("what nobody thought of")

    monkeypatch.setattr(host, "fingerprint", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = compress("doctor", *(["--verbose"] if verbose else []))
    assert result.exit_code == 1
    assert ("Traceback" in result.output) == verbose
    assert "error: this was not foreseen: KeyError: 'what nobody thought of'\nPlease report it with " in result.stderr
    (log,) = tmp_path.glob("compress-*.log")
    assert str(log) in result.stderr
    assert "in fail" in log.read_text()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to …"),
        __import__("torch").OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[ONNXRuntimeError] : 1 : FAIL : std::bad_alloc"),
    ],
    ids=["python", "torch", "cuda", "onnxruntime"],
)
def test_out_of_memory_is_said_with_what_to_make_smaller(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    from compressor.benchmarking import host

    def fail() -> None:
        raise error

    monkeypatch.setattr(host, "fingerprint", fail)
    result = compress("doctor")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: out of memory (")
    assert "Take a smaller stage.batch_size" in result.stderr
    assert "not foreseen" not in result.stderr
