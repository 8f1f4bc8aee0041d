"""Every term against the papers' reference implementations and against timm."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compressor.objectives import logits
from compressor.packages import import_timm
from tests.conftest import SHARED

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "golden.py"
VECTORS = SHARED / "golden" / "losses.npz"

spec = importlib.util.spec_from_file_location("golden", SCRIPT)
assert spec is not None
assert spec.loader is not None
golden = importlib.util.module_from_spec(spec)
spec.loader.exec_module(golden)

needs_vectors = pytest.mark.skipif(not VECTORS.is_file(), reason="the golden vectors are not here")


@needs_vectors
def test_every_term_agrees_with_its_reference_in_value_and_gradient() -> None:
    found = golden.errors(VECTORS)
    assert len(found) >= 20
    assert max(found.values()) <= 1e-8, found


@needs_vectors
def test_one_changed_number_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with np.load(VECTORS) as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["out/dkd_T4_a1_b8/grad"].flat[7] += 1e-6
    changed = tmp_path / "changed.npz"
    np.savez(changed, **arrays)
    for path, code in ((VECTORS, 0), (changed, 1)):
        monkeypatch.setattr("sys.argv", ["golden.py", str(path)])
        assert golden.main() == code


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_kd_equals_timms_distillation_task(temperature: float) -> None:
    timm = import_timm()
    from timm.task import LogitDistillationTask

    torch.manual_seed(0)
    student, teacher = (timm.create_model("test_resnet", num_classes=7).eval() for _ in range(2))
    images, labels = torch.randn(4, 3, 64, 64), torch.tensor([0, 3, 6, 2])
    task = LogitDistillationTask(
        student_model=student, teacher_model=teacher, criterion=nn.CrossEntropyLoss(),
        distill_loss_weight=0.7, task_loss_weight=0.3, temperature=temperature, verbose=False,
    )  # fmt: skip
    task.eval()
    expected = task(images, labels)["loss"]
    mean, std = teacher.pretrained_cfg["mean"], teacher.pretrained_cfg["std"]
    assert mean == student.pretrained_cfg["mean"]
    assert std == student.pretrained_cfg["std"]
    s, t = student(images), teacher(images).detach()
    ours = 0.3 * logits.ce(s, labels) + 0.7 * logits.kd(s, t, temperature=temperature)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)
