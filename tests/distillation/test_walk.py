"""A walk across timm's families: taps are found, paired and trained through, with no layer named by hand."""

from __future__ import annotations

import pytest
import torch

from compressor.artifact.preprocessing import Preprocessing
from compressor.distillation.config import StageConfig
from compressor.distillation.optim import build_optimizer
from compressor.distillation.teacher import FrozenTeacher, wire
from compressor.models.build import Architecture, build
from compressor.models.taps import Tapped
from compressor.objectives.config import ObjectiveConfig
from compressor.objectives.objective import Objective, Signals
from compressor.runtime import seed_everything

FEATURES = ObjectiveConfig.model_validate(
    {"ce": {}, "kd": {}, "hint": {"on": "both"}, "attention": {}, "rkd": {}, "similarity": {"on": "maps"}, "cosine": {}}
)

FEW = [
    ("resnet18", "mobilenetv3_small_050", 64),
    ("vit_tiny_patch16_224", "mobilenetv2_050", 64),
    ("convnext_atto", "mobilenetv4_conv_small_050", 64),
    ("swin_tiny_patch4_window7_224", "efficientvit_b0", 224),
    ("edgenext_xx_small", "deit_tiny_patch16_224", 64),
]

MANY = [
    ("resnet50", "mobilenetv3_large_100", 64),
    ("resnet50", "ghostnet_050", 64),
    ("efficientnet_b0", "fastvit_t8", 64),
    ("deit_tiny_distilled_patch16_224", "resnet18", 64),
    ("regnety_002", "mobilenetv3_small_075", 64),
    ("convnextv2_atto", "mobilenetv4_hybrid_medium", 128),
    ("densenet121", "lcnet_050", 64),
    ("vgg11_bn", "mobileone_s0", 64),
    ("repvgg_a0", "tinynet_e", 64),
    ("efficientformerv2_s0", "mnasnet_small", 224),
    ("poolformer_s12", "semnasnet_075", 64),
    ("pit_ti_224", "rexnet_100", 224),
    ("crossvit_tiny_240", "mobilenetv3_small_050", 240),
    ("volo_d1_224", "mobilenetv2_050", 224),
    ("xcit_nano_12_p16_224", "efficientnet_lite0", 64),
    ("levit_128s", "mobilenetv3_small_100", 224),
    ("mixer_s32_224", "resnet10t", 224),
    ("mobilevit_xxs", "mobilenetv2_035", 128),
    ("hrnet_w18_small", "hardcorenas_a", 64),
    ("dla34", "tf_mixnet_s", 64),
    ("res2net50_14w_8s", "edgenext_xx_small", 64),
    ("vit_tiny_patch16_224", "vit_tiny_patch16_224", 32),
    ("fastvit_t8", "efficientvit_b0", 128),
    ("mobilenetv4_conv_medium", "mobilenetv4_conv_small", 64),
]


def step(teacher_name: str, student_name: str, size: int) -> None:
    """One training step with every feature term; everything the student learns from must reach it."""
    seed_everything(0)
    teacher, student = (build(Architecture(name=n, classes=5, image_size=size)) for n in (teacher_name, student_name))
    frozen = FrozenTeacher(teacher, Preprocessing(size=size))
    wiring = wire(student, size, frozen, FEATURES)
    assert wiring.pairs
    objective = Objective(FEATURES, wiring.widths)
    optimizer = build_optimizer(student, objective, StageConfig().optimizer, finetuning=False)
    tapped = Tapped(student.train(), embedding=wiring.embedding, taps=wiring.student_taps)
    views = torch.randint(0, 256, (4, 3, size, size), dtype=torch.uint8)
    said = frozen.targets(views, embedding=True, taps=wiring.teacher_taps)
    outputs = tapped(views.float() / 127.5 - 1)
    signals = Signals(
        labels=torch.tensor([0, 1, 2, 3]),
        student_logits=outputs.logits, teacher_logits=said.logits,
        student_embedding=outputs.embedding, teacher_embedding=said.embedding,
        student_maps=wiring.student_maps(outputs), teacher_maps=wiring.teacher_maps(said),
    )  # fmt: skip
    loss, parts = objective(signals)
    loss.backward()
    assert torch.isfinite(loss), parts
    assert all(p.grad is not None for p in objective.parameters())
    reached = [p.grad is not None for p in student.parameters() if p.requires_grad]
    assert sum(reached) > 0.9 * len(reached)
    optimizer.step()


@pytest.mark.parametrize(("teacher", "student", "size"), FEW)
def test_families_pair_and_train(teacher: str, student: str, size: int) -> None:
    step(teacher, student, size)


@pytest.mark.slow
@pytest.mark.parametrize(("teacher", "student", "size"), MANY)
def test_many_more_families_pair_and_train(teacher: str, student: str, size: int) -> None:
    step(teacher, student, size)
