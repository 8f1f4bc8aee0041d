"""A teacher well made: a fitted head, rates of its own for what is fresh, the best epoch, stepping stones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from compressor.artifact.images import ImagePreprocessing
from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset
from compressor.data.load import load_dataset
from compressor.distillation import acquire, chain
from compressor.distillation.acquire import Start
from compressor.distillation.config import OptimizerConfig, StageConfig
from compressor.distillation.optim import build_optimizer
from compressor.distillation.probe import fit_head, linear_head, renew_statistics
from compressor.errors import UsageError
from compressor.evaluation.torch_predictor import predict_model
from compressor.models import checkpoint
from compressor.models.config import TeacherConfig
from compressor.models.timm.build import TimmArchitecture
from compressor.models.weights import build, head_names, read_state
from compressor.progress import Silent
from compressor.seeds import seed_everything

PRE = ImagePreprocessing(size=32)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset(DataConfig(limit=100))


def start(training: str = "finetune", *, fresh: bool = True) -> Start:
    architecture = TimmArchitecture(name="test_resnet", classes=10, image_size=32)
    seed_everything(0)
    return Start(
        model=build(architecture), architecture=architecture, preprocessing=PRE, origin="pretrained",
        training=training, fresh_head=fresh,
    )  # fmt: skip


def run(begin: Start, dataset: Dataset, folder: Path, *, epochs: int = 2, role: str = "teacher", **stage: Any) -> Any:
    return chain.run_stage(
        begin, dataset, StageConfig.model_validate({"batch_size": 32} | stage), role=role, epochs=epochs, seed=0,
        teacher=None, folder=folder, accelerator=Accelerator(cpu=True), progress=Silent(),
    )  # fmt: skip


def test_a_head_is_fitted_on_a_body_that_does_not_move(dataset: Dataset) -> None:
    begin = start()
    head = head_names(begin.model)
    before = {name: p.detach().clone() for name, p in begin.model.named_parameters()}
    guessing = predict_model(begin.model, dataset, "validation", PRE)
    probed = fit_head(begin.model, dataset, PRE, device=CPU, batches=False, label="x", progress=Silent())
    assert probed is not None
    moved = {name for name, p in begin.model.named_parameters() if not torch.equal(before[name], p)}
    assert moved == head
    seen = predict_model(begin.model, dataset, "validation", PRE)
    top1 = float((seen.logits.argmax(1) == seen.labels).mean())
    assert top1 == pytest.approx(probed.top1, abs=0.02)  # it is in the model, unstandardised
    assert top1 > 0.5 > 0.3 > float((guessing.logits.argmax(1) == guessing.labels).mean())


def test_normalisation_statistics_are_renewed_to_the_average_over_batches() -> None:
    model = start().model
    torch.manual_seed(0)
    batches = [((torch.randn(8, 3, 32, 32) * 3 + 1,), torch.zeros(8)) for _ in range(3)]
    first = next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    seen: list[torch.Tensor] = []
    handle = first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].mean((0, 2, 3))))
    momentum = first.momentum
    renew_statistics(model, batches)
    handle.remove()
    assert first.running_mean is not None
    assert torch.allclose(first.running_mean, torch.stack(seen).mean(0), atol=1e-5)
    assert first.momentum == momentum
    assert not model.training


def test_a_head_that_is_no_linear_layer_on_the_embedding_is_left_to_training(dataset: Dataset) -> None:
    begin = start()
    assert linear_head(begin.model, PRE) is not None
    forward = begin.model.forward
    begin.model.forward = lambda *given: 2 * forward(*given)
    assert linear_head(begin.model, PRE) is None
    assert fit_head(begin.model, dataset, PRE, device=CPU, batches=False, label="x", progress=Silent()) is None


def test_what_is_fresh_learns_at_the_full_rate() -> None:
    model, regressor = start().model, nn.Linear(4, 4)
    head = head_names(model)
    config = OptimizerConfig(lr=1e-2, finetune_scale=0.1)
    optimizer = build_optimizer(model, regressor, config, finetuning=True, fresh=head)
    rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert {rate[id(p)] for p in regressor.parameters()} == {1e-2}
    for name, parameter in model.named_parameters():
        assert rate[id(parameter)] == pytest.approx(1e-2 if name in head else 1e-3), name


@pytest.mark.parametrize("tune", ["head", "all"])
def test_tune_says_what_moves(dataset: Dataset, tmp_path: Path, tune: str) -> None:
    begin = start("head" if tune == "head" else "finetune")
    body = {n: p.detach().clone() for n, p in begin.model.named_parameters() if n not in head_names(begin.model)}
    result = run(begin, dataset, tmp_path, epochs=2, keep="last")
    after = dict(result.model().named_parameters())
    assert all(torch.equal(p, after[n]) for n, p in body.items()) is (tune == "head")
    assert (tmp_path / "metrics.jsonl").is_file() is (tune == "all")
    assert result.card.validation["top1"] > (0.4 if tune == "head" else 0.1)  # its body is random: it moves far


def test_a_teacher_that_may_not_be_tuned_has_to_know_the_classes(dataset: Dataset, tmp_path: Path) -> None:
    other = TimmArchitecture(name="test_resnet", classes=3, image_size=32)
    file = tmp_path / "other.safetensors"
    checkpoint.save_tensors(file, dict(build(other).state_dict()))
    config = TeacherConfig(model="test_resnet", init=str(file), tune="none")
    with pytest.raises(UsageError, match="does not know these classes"):
        acquire.acquire_teacher(config, dataset, seed=0, device=CPU)
    ways = {"auto": "finetune", "head": "head", "all": "finetune"}
    for tune, training in ways.items():
        found = acquire.acquire_teacher(config.model_copy(update={"tune": tune}), dataset, seed=0, device=CPU)
        assert found.training == training


def test_the_best_epoch_is_kept_and_stepping_stones_lie_beside_it(dataset: Dataset, tmp_path: Path) -> None:
    # A rate that ruins what it has learned: the last epoch is not the best one.
    wild: dict[str, Any] = {
        "optimizer": {"lr": 0.3, "name": "sgd"},
        "warmup_epochs": 0,
        "min_lr_ratio": 0.99,
        "clip": None,
    }
    best = run(start(fresh=False), dataset, tmp_path / "best", epochs=7, **wild)
    last = run(start(fresh=False), dataset, tmp_path / "last", epochs=7, keep="last", **wild)
    lines = [json.loads(line) for line in (tmp_path / "best" / "metrics.jsonl").read_text().splitlines()]
    found = [line["validation_top1"] for line in lines]
    assert found[-1] < max(found)
    assert best.card.validation["top1"] == pytest.approx(max(found))
    assert last.card.validation["top1"] == pytest.approx(found[-1])
    for share in (30, 50, 70):
        stone = read_state(tmp_path / "best" / f"weights-{share}.safetensors")
        assert stone.keys() == best.model().state_dict().keys()
    first = read_state(tmp_path / "best" / "weights-30.safetensors")
    assert any(not torch.equal(value, best.model().state_dict()[name]) for name, value in first.items())


def test_trained_weights_that_training_spoils_are_kept_as_they_were(dataset: Dataset, tmp_path: Path) -> None:
    good = run(start("finetune"), dataset, tmp_path / "good", epochs=4)
    spoilt: dict[str, Any] = {"optimizer": {"lr": 50.0, "name": "sgd"}, "warmup_epochs": 0, "clip": None}
    begin = replace(start(fresh=False), model=good.model())
    after = run(begin, dataset, tmp_path / "spoilt", epochs=1, **spoilt)
    line = json.loads((tmp_path / "spoilt" / "metrics.jsonl").read_text())
    assert line["validation_top1"] < good.card.validation["top1"] - 0.1
    assert after.card.validation["top1"] == pytest.approx(good.card.validation["top1"])
    assert all(torch.equal(value, after.model().state_dict()[n]) for n, value in good.model().state_dict().items())


def test_students_leave_no_stepping_stones(dataset: Dataset, tmp_path: Path) -> None:
    run(start(fresh=False), dataset, tmp_path, epochs=3, role="student")
    assert not list(tmp_path.glob("weights-*.safetensors"))


def test_a_teacher_sees_its_own_size(dataset: Dataset) -> None:
    config = TeacherConfig(model="test_resnet", init="scratch", image_size=64)
    found = acquire.acquire_teacher(config, dataset, seed=0, device=CPU)
    assert found.preprocessing.shown == "64 px"


@pytest.mark.parametrize("statistics", ["kept", "batch"])
def test_trained_weights_learn_under_the_statistics_that_came_with_them(
    dataset: Dataset, tmp_path: Path, statistics: str
) -> None:
    begin = start(fresh=False)
    before = {k: v.clone() for k, v in begin.model.state_dict().items()}
    optimizer = {"statistics": statistics}
    after = run(begin, dataset, tmp_path / "a", epochs=1, optimizer=optimizer).model().state_dict()
    means = [name for name in before if name.endswith("running_mean")]
    assert all(torch.equal(before[name], after[name]) for name in means) is (statistics == "kept")
    assert any(not torch.equal(before[name], after[name]) for name in before if name.endswith("conv1.weight"))
    scratch = run(start("scratch", fresh=False), dataset, tmp_path / "b", epochs=1, optimizer=optimizer).model()
    assert not any(torch.equal(before[name], scratch.state_dict()[name]) for name in means)
