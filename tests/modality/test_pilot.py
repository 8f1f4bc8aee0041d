"""The pilot, on a modality whose trainings take a tenth of a second: planted cases, and a stop in the middle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from compressor.distillation import arms, assistants, chain, fit, targets
from compressor.distillation.chain import Result, finished
from compressor.distillation.config import StageConfig
from compressor.distillation.document import PastPilot
from compressor.models import checkpoint
from compressor.recipe import load as load_recipe
from compressor.workflows import distill as street
from compressor.workflows import pilot as own
from tests.conftest import compress
from tests.modality.conftest import QUICK, write_table

LONG = ["--set", "stage.epochs=12", "--set", "seeds=1", "--set", "pilot=2"]
AUTO = ["--set", "stage.objective=auto"]


@pytest.fixture(autouse=True)
def _only_training(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither exported nor timed, and with a memory of past pilots and a shelf of assistants that are the test's own."""
    monkeypatch.setenv("COMPRESS_CACHE", str(workdir / "cache"))
    monkeypatch.setattr(street, "export_run", lambda *a, **k: {})
    monkeypatch.setattr(street, "document", lambda *a, **k: {"rows": [], "host": None})
    monkeypatch.setattr(chain, "stage_seconds", lambda *a, **k: 1.0)  # a busy machine must not change the choice
    monkeypatch.setattr(targets, "seconds_per_view", lambda *a, **k: 0.1)
    monkeypatch.setattr(arms, "OBJECTIVES", dict(list(arms.OBJECTIVES.items())[:2]))
    write_table(workdir / "x.table.csv", count=900)


def distill(name: str, *more: str) -> dict[str, Any]:
    result = compress("distill", *QUICK, "--data", "x.table.csv", *LONG, "--name", name, *more)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(Path(f"runs/{name}/pilot.json").read_text())
    return found


def stages(name: str) -> list[str]:
    return sorted(p.name for p in Path(f"runs/{name}/stages").iterdir())


def spoiled(name: str, source: Path, *, shift: int = 0, noise: float = 0.0) -> str:
    """A copy of a trained model that names the class beside the right one, or says whatever large weights say."""
    model, card = checkpoint.load(source)
    with torch.no_grad():
        for parameter in model.parameters():
            generator = torch.Generator().manual_seed(parameter.numel())
            if noise:
                parameter.copy_(noise * torch.randn(parameter.shape, generator=generator))
        for name, parameter in model.named_parameters():
            if name.startswith("head."):
                parameter.copy_(torch.roll(parameter, shift, 0))
    folder = Path(name)
    folder.mkdir()
    checkpoint.save(folder, model, card)
    return str(folder.resolve())


@pytest.fixture
def teacher(workdir: Path) -> Path:
    """A good one, trained on these data."""
    result = compress(
        "distill", *QUICK, "--data", "x.table.csv", "--no-baseline", "--name", "first", "--set", "seeds=1"
    )
    assert result.exit_code == 0, result.output
    return next(Path("runs/first/stages").glob("00-*/seed0"))


def test_a_pilot_says_what_it_tried_and_what_that_cost(workdir: Path) -> None:
    found = distill("p", *AUTO)
    assert found["spent"] <= found["budget"] == 24
    names = {arm["name"]: arm for arm in found["arms"]}
    assert {arms.OWN, arms.CONTROL} < names.keys()
    lengths = {trial["epochs"] for arm in found["arms"] for trial in arm["trials"]}
    assert max(lengths) == max(trial["epochs"] for trial in names[arms.OWN]["trials"])
    assert any(arm["trials"] for arm in found["arms"] if arm["guidance"] in ("route", "snapshots"))
    assert names[found["chosen"]]["trials"]
    resolved = load_recipe(workdir / "runs/p/recipe.yaml")
    assert not resolved.stage_for("student", "mlp:8").objective.auto
    report = json.loads((workdir / "runs/p/report.json").read_text())
    assert report["pilot"]["chosen"] == found["chosen"]
    assert "The pilot chose" in (workdir / "runs/p/report.md").read_text()
    remembered = [PastPilot.model_validate(json.loads(text)) for text in (workdir / "cache/pilots.jsonl").open()]
    assert len(remembered) == 1
    assert set(remembered[0].gains) <= names.keys()


def test_a_pilot_killed_in_the_middle_comes_to_the_same_choice(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = distill("whole", *AUTO)
    monkeypatch.setenv("COMPRESS_CACHE", str(workdir / "other"))
    calls: list[int] = []
    real = fit.fit

    def stopped(*args: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*args, **more)

    monkeypatch.setattr("compressor.distillation.trials.fit", stopped)
    result = compress("distill", *QUICK, "--data", "x.table.csv", *LONG, *AUTO, "--name", "part")
    assert result.exit_code == 130, result.output
    assert compress("distill", "--resume", "runs/part", "--quiet").exit_code == 0
    again = json.loads(Path("runs/part/pilot.json").read_text())

    def figures(found: dict[str, Any]) -> Any:
        return {a["name"]: [(t["epochs"], t["seed"], t["top1"], t["nll"]) for t in a["trials"]] for a in found["arms"]}

    tried = figures(whole).keys() & figures(again).keys()
    assert {name: figures(whole)[name] for name in tried} == {name: figures(again)[name] for name in tried}
    assert again["chosen"] == whole["chosen"]


def test_a_teacher_that_teaches_noise_ends_with_a_student_trained_without(teacher: Path) -> None:
    wrong = spoiled("wrong", teacher, shift=1)
    found = distill("noise", *AUTO, "--teacher", wrong, "--set", "teacher.calibrate=false")
    assert found["chosen"] == arms.CONTROL
    assert stages("noise") == ["00-teacher-mlp-64", "01-student-mlp-8"]
    report = json.loads(Path("runs/noise/report.json").read_text())
    student = next(m for m in report["models"] if m["role"] == "student")
    assert student["top1"] > 2 * next(m for m in report["models"] if m["role"] == "teacher")["top1"]


def given(model: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Makes every assistant this one; how often one was asked for."""
    asked: list[int] = []

    def ready(planned: Any, *args: Any) -> tuple[Result, Any]:
        asked.append(1)
        found = finished(Path(model))
        assert found is not None
        return found, planned

    monkeypatch.setattr(own, "train_one", ready)
    monkeypatch.setattr(own, "FITS", 1.1)  # however well the student fits its teacher
    return asked


def with_validation(folder: str, like: Path) -> str:
    """A spoiled model as a finished stage."""
    for name in ("validation.npz",):
        (Path(folder) / name).write_bytes((like / name).read_bytes())
    return folder


CHAIN = ["--assistants", "auto", "--set", "pilot=2", "--set", "stage.epochs=16"]


def test_an_assistant_that_can_only_hurt_is_refused(teacher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = given(with_validation(spoiled("hurts", teacher, shift=1), teacher), monkeypatch)
    found = distill("refused", *CHAIN, "--teacher", str(teacher))
    assert asked == [1]
    assert found["assistant"] is None
    tried = [arm for arm in found["arms"] if arm["name"].startswith("mlp:")]
    assert tried
    assert all(arm["trials"] for arm in tried)
    assert "better beyond chance" in next(arm["note"] for arm in found["arms"] if arm["note"])
    assert [name for name in stages("refused") if "assistant" in name] == []


def test_a_good_assistant_is_taken_where_the_teacher_is_useless_to_the_student(
    teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    useless = spoiled("useless", teacher, noise=3.0)
    asked = given(str(teacher), monkeypatch)
    found = distill("taken", *CHAIN, "--teacher", useless, "--set", "teacher.calibrate=false")
    assert asked
    assert found["assistant"]
    assert any("assistant" in name for name in stages("taken"))
    assert load_recipe(Path("runs/taken/recipe.yaml")).assistants == [found["assistant"]]


def test_an_assistant_trained_once_is_found_again(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    real = fit.fit

    def counted(model: Any, dataset: Any, job: Any, **more: Any) -> Any:
        calls.append(job.label.split()[0])
        return real(model, dataset, job, **more)

    monkeypatch.setattr(chain, "fit", counted)
    more = ["--data", "x.table.csv", "--assistants", "mlp:24", "--no-baseline", "--set", "seeds=1"]
    for name, student in (("one", "mlp:8"), ("two", "mlp:8"), ("three", "mlp:6")):
        result = compress("distill", *QUICK, *more, "--student", student, "--name", name)
        assert result.exit_code == 0, result.output
    assert calls.count("assistant") == 1
    weights = [next(Path(f"runs/{n}/stages").glob("01-*/seed0")) / "weights.safetensors" for n in ("one", "three")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert any(row["kind"] == "assistants" for row in json.loads(compress("cache", "ls", "--json").stdout))


def test_an_assistants_capacity_lies_between(teacher: Path) -> None:
    found = finished(teacher)
    assert found is not None
    from compressor.data.load import load_dataset

    dataset = load_dataset(load_recipe(Path("runs/first/recipe.yaml")).data)
    assert assistants.between(found, "mlp:8", 100, dataset) in ("mlp:16", "mlp:24")
    assert assistants.between(found, "mlp:8", 10**9, dataset) is None


@pytest.mark.parametrize("epochs", [3, 10, 30, 100, 300])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 1.0])
def test_rungs_keep_within_their_budget(epochs: int, share: float) -> None:
    found = arms.rungs(share * epochs, epochs, 8)
    if found is None:
        assert share * epochs < 2
        return
    assert found.cost <= share * epochs
    assert found.arms >= 2
    assert len(found.epochs) == 1 or found.epochs[-1] == 2 * found.epochs[-2]


def test_arms_are_in_the_order_of_what_they_gained_in_pilots_like_this_one() -> None:
    tried = arms.candidates(StageConfig().objective, features=True, stones=True)
    names = [arm.name for arm in tried]
    past = [
        PastPilot(gap=2.0, views=12.0, pretrained=False, gains={names[3]: 0.05, names[1]: -0.05}),
        PastPilot(gap=9.0, views=3.0, pretrained=True, gains={names[1]: 0.5}),
    ]
    found = [arm.name for arm in arms.ordered(tried, past, gap=2.0, views=12.0, pretrained=False)]
    assert found[0] == arms.OWN
    assert found[1] == names[3]
    assert found[-1] == names[1]


def test_a_teacher_without_features_leaves_arms_without_hints() -> None:
    for arm in arms.candidates(StageConfig().objective, features=False, stones=False)[1:]:
        assert arm.objective.hint is None
