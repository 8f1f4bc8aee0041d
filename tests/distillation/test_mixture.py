"""Several teachers as one: the shares that suit validation best, and nobody's memory rewarded."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from compressor.artifact.images import ImagePreprocessing
from compressor.distillation.mixture import assembled, mixed, shares
from compressor.evaluation.metrics import calibration_temperature, nll
from compressor.models import checkpoint
from compressor.models.checkpoint import Card
from compressor.models.family import family_of
from compressor.models.timm.build import TimmArchitecture
from compressor.models.weights import build
from compressor.runfolder import RunFolder
from compressor.seeds import seed_everything
from compressor.workflows import distill as pipeline
from tests.conftest import TINY, compress
from tests.distillation.test_calibration import answers
from tests.distillation.test_sources import file

SMALL, LARGE = ImagePreprocessing(size=32), ImagePreprocessing(size=48, mean=(0.5, 0.5, 0.5))


def test_the_shares_are_those_under_which_the_labels_are_likeliest() -> None:
    rng = np.random.default_rng(0)
    likelihoods = rng.uniform(0.05, 0.95, (2, 200)) ** np.array([[1.0], [2.0]])
    found = shares(likelihoods)
    grid = np.linspace(0, 1, 1001)
    best = grid[np.log(grid[:, None] * likelihoods[0] + (1 - grid)[:, None] * likelihoods[1]).mean(axis=1).argmax()]
    assert 0.05 < best < 0.95, "a case with both in it"
    np.testing.assert_allclose(found, [best, 1 - best], atol=2e-3)
    np.testing.assert_allclose(shares(np.array([[0.9] * 9, [0.1] * 9])), [1, 0], atol=1e-3)


def member(
    seed: int, preprocessing: ImagePreprocessing
) -> tuple[torch.nn.Module, TimmArchitecture, ImagePreprocessing]:
    seed_everything(seed)
    name = "test_resnet" if seed == 1 else "mobilenetv3_small_050"
    architecture = TimmArchitecture(name=name, classes=10, image_size=preprocessing.size)
    return build(architecture).eval(), architecture, preprocessing


def finished(seed: int, validation: Any, *, suspect: bool = False) -> Any:
    model, architecture, preprocessing = member(seed, SMALL)
    temperature = calibration_temperature(validation.labels, validation.logits)
    card = Card(
        architecture=architecture, classes=[str(i) for i in range(10)], preprocessing=preprocessing, role="member",
        origin="", dataset={}, params=1, macs=1, temperature=temperature, suspect=suspect, trusted=not suspect,
    )  # fmt: skip
    return SimpleNamespace(card=card, validation=validation, folder=Path("nowhere"), model=lambda: model)


def test_it_says_the_log_of_the_weighted_mean_and_survives_as_a_checkpoint(tmp_path: Path) -> None:
    one, two = member(1, SMALL), member(2, LARGE)
    model, architecture, preprocessing = assembled([one, two], 1)
    assert preprocessing == LARGE, "it sees the views of the largest"
    model.weights.copy_(torch.tensor([0.3, 0.7]))
    model.temperatures.copy_(torch.tensor([2.0, 0.5]))
    pixels = torch.randint(0, 256, (2, 48, 48, 3), dtype=torch.uint8)
    with torch.no_grad():
        outputs = model.answer(pixels, embedding=True, taps=())
        own = family_of(two[0]).forward(two[0], family_of(two[0]).prepare({"pixels": pixels}, LARGE), embedding=True)
        small = torch.nn.functional.interpolate(
            pixels.permute(0, 3, 1, 2).float(), (32, 32), mode="bilinear", antialias=True
        )
        seen = small.round().to(torch.uint8).permute(0, 2, 3, 1)
        first = family_of(one[0]).forward(one[0], family_of(one[0]).prepare({"pixels": seen}, SMALL))
    wanted = 0.3 * (first.logits / 2).softmax(1) + 0.7 * (own.logits / 0.5).softmax(1)
    torch.testing.assert_close(outputs.logits.exp(), wanted)
    torch.testing.assert_close(outputs.embedding, own.embedding)
    card = finished(1, answers(0.7, 4, 0)).card.model_copy(
        update={"architecture": architecture, "preprocessing": preprocessing}
    )
    checkpoint.save(tmp_path, model, card)
    again = checkpoint.load(tmp_path)[0]
    with torch.no_grad():
        torch.testing.assert_close(family_of(again).forward(again, (pixels,)).logits, outputs.logits)


def test_two_teachers_are_better_than_one_on_validation_and_features_are_the_bests() -> None:
    good, bad = answers(0.8, 4, 5), answers(0.5, 4, 5)
    start = mixed([finished(1, bad), finished(2, good)], calibrate=True)
    model: Any = start.model
    assert model.weights[1] > model.weights[0]
    assert float(model.weights.sum()) == pytest.approx(1)
    assert model.best == 1
    assert start.notice is not None
    together = float(start.notice.split("NLL ")[1].split(",")[0])
    alone = [nll(m.labels, m.logits, temperature=calibration_temperature(m.labels, m.logits)) for m in (bad, good)]
    assert together <= min(alone) + 1e-3
    assert "features are those of mobilenetv3_small_050" in start.notice


def test_a_member_that_may_know_validation_by_heart_does_not_take_all_the_weight() -> None:
    honest, memorised = answers(0.7, 4, 5), answers(0.99, 4, 6)
    start = mixed([finished(1, honest), finished(2, memorised, suspect=True)], calibrate=True)
    model: Any = start.model
    assert model.weights.tolist() == [0.5, 0.5]
    assert not start.trusted
    assert start.notice is not None
    assert "weighing the same: mobilenetv3_small_050 may have seen the validation samples" in start.notice


@pytest.mark.slow
def test_two_teachers_are_trained_mixed_and_shown(workdir: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "export_run", lambda *a, **k: {})
    monkeypatch.setattr(pipeline, "document", lambda *a, **k: {"rows": [], "host": None})
    path = file(workdir / "theirs.onnx", size=32)
    common: list[str | Path] = ["--teacher", f"test_resnet,{path}", "--student", "mobilenetv3_small_050", "--data", photos, *TINY,
              "--set", "data.image_size=32", "--set", "stage.batch_size=8"]  # fmt: skip
    plan = compress("distill", *common, "--dry-run", "--json")
    assert plan.exit_code == 0, plan.output
    stages = json.loads(plan.stdout)["stages"]
    assert [(s["role"], s["model"]) for s in stages[:3]] == [
        ("member", "test_resnet"), ("member", "theirs"), ("teacher", "test_resnet+theirs"),
    ]  # fmt: skip
    done = compress("distill", *common, "--name", "two")
    assert done.exit_code == 0, done.output
    run = RunFolder(Path("runs/two"))
    assert run.teacher() == run.path / "stages" / "02-teacher-test_resnet-theirs" / "seed0"
    report = json.loads(run.report.read_text())
    assert [m["role"] for m in report["models"]] == ["member", "member", "teacher", "student", "baseline"]
    assert "test_resnet + " in report["models"][2]["weights"]
    assert all(m["top1"] is not None for m in report["models"])
