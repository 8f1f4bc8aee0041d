"""Fine-tuning with int8's steps: what it changes, and what it leaves alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from compressor.data.config import DataConfig
from compressor.data.load import load_dataset
from compressor.distillation import chain
from compressor.distillation.accelerator import accelerator
from compressor.distillation.config import StageConfig
from compressor.evaluation import metrics
from compressor.evaluation.torch_predictor import predict_model
from compressor.models.family import family
from compressor.progress import Silent
from compressor.quantization import ladder, qat
from compressor.quantization.config import Int8Config
from compressor.quantization.cpus import TARGETS
from tests.conftest import compress

STEPS = 3
"""Largest integer of a weight in this test: few enough that rounding alone ruins the student."""


def test_fake_quantisation_is_int8_s_and_leaves_no_trace() -> None:
    torch.manual_seed(0)
    second: Any = nn.Conv2d(3, 4, 5)  # parametrised below, which its type does not show
    model = nn.Sequential(nn.Conv2d(3, 3, 3), second, nn.BatchNorm2d(4), nn.ReLU()).eval()
    pre = load_dataset(DataConfig(limit=20))
    images = {"pixels": torch.randint(0, 256, (6, 8, 8, 3), dtype=torch.uint8)}
    before = {k: v.clone() for k, v in model.state_dict().items()}
    preprocessing = family("timm").describe("test_resnet", classes=10, setup=pre.setup, stem="keep")[1]
    with qat.fake_quantised(model, [images], preprocessing, limit=STEPS):
        assert not hasattr(model[0], "parametrizations")  # a 3 x 3 stem stays float, as in the ladder
        for channel in second.weight.detach():
            steps = channel / (channel.abs().max() / STEPS)
            torch.testing.assert_close(steps, steps.round(), atol=1e-4, rtol=0)
        given = model(torch.randn(2, 3, 8, 8))
        assert len(given.unique()) <= 256
        model.train()
        assert not model[2].training
        model(torch.randn(2, 3, 8, 8)).sum().backward()
        assert second.parametrizations.weight.original.grad is not None
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[k], before[k]) for k in before)
    assert not model[1]._forward_pre_hooks
    assert not model[2]._forward_hooks
    assert model.train()[2].training


def test_fine_tuning_learns_from_a_teacher_while_it_rounds(run: Path, tmp_path: Path) -> None:
    found = chain.finished(next((run / "stages").glob("00-*/seed0")))
    assert found is not None
    model, preprocessing = found.model(), found.card.preprocessing
    dataset = load_dataset(DataConfig(limit=160))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    stage = StageConfig.model_validate({
        "batch_size": 32, "targets": {"store": False}, "objective": {"ce": {"weight": 1.0}, "kd": {"weight": 0.1}},
    })  # fmt: skip
    tuned = qat.tune(
        model, preprocessing, dataset, stage=stage, config=Int8Config(qat_epochs=6, qat_lr=2e-3),
        types=TARGETS["x86"], teacher=found.as_teacher(calibrate=True), seed=0, folder=tmp_path,
        accelerator=accelerator("cpu"), progress=Silent(),
    )  # fmt: skip
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert tuned.state_dict().keys() == before.keys()
    still = [k for k in before if "running" in k]
    assert still
    assert all(torch.equal(tuned.state_dict()[k], before[k]) for k in still)
    nll = []
    for candidate in (model, tuned):
        batches = list(qat._samples(dataset, preprocessing, 64))
        with qat.fake_quantised(candidate, batches, preprocessing, limit=63):
            seen = predict_model(candidate, dataset, "train", preprocessing)
        nll.append(metrics.nll(seen.labels, seen.logits))
    assert nll[1] < 0.95 * nll[0]


@pytest.mark.slow
def test_qat_climbs_again_with_the_tuned_student_and_counts_from_the_first_accuracy(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    climb, jobs = ladder.climb, []

    def first_fails(job: ladder.Job, path: Path, config: Int8Config, progress: Any) -> ladder.Outcome:
        jobs.append(job)
        outcome = climb(job, path, config.model_copy(update={"max_drop": 100.0, "allow_slower": True}), progress)
        if len(jobs) > 1:
            return outcome
        path.unlink()
        rungs = tuple(rung.model_copy(update={"within": False}) for rung in outcome.rungs)
        return replace(outcome, chosen=None, parity=None, reason="planted", rungs=rungs)

    monkeypatch.setattr(ladder, "climb", first_fails)
    done = compress("export", run, "--precision", "int8", "--qat", "--json")
    assert done.exit_code == 0, done.output
    (entry,) = json.loads(done.stdout)
    assert entry["int8"]["qat_epochs"] == 3
    names = [rung["name"] for rung in entry["int8"]["rungs"]]
    assert names[:3] == ["min-max", "percentile", "entropy"]
    assert all(name.startswith("fine-tuned, ") for name in names[3:])
    assert entry["int8"]["kept"] in names[3:]
    assert jobs[0].top1 is None
    assert jobs[1].top1 == entry["int8"]["fp32_validation_top1"]
    assert np.isfinite(entry["top1"])


def test_qat_without_a_run_says_what_it_needs(run: Path, tmp_path: Path) -> None:
    stage = next((run / "stages").glob("01-*/seed0"))
    done = compress("export", stage, "--precision", "int8", "--qat", "--data", "digits", "-o", tmp_path)
    assert done.exit_code == 2
    assert "--qat needs the teacher of a run" in done.output
