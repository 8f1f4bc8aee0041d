"""A walk across timm's families: taps are found, paired and trained through, with no layer named by hand."""

from __future__ import annotations

import pytest
import torch

from compressor.artifact.images import ImagePreprocessing
from compressor.distillation.config import StageConfig
from compressor.distillation.optim import build_optimizer
from compressor.distillation.step import Tapped
from compressor.distillation.teacher import FrozenTeacher, wire
from compressor.models.timm.build import TimmArchitecture
from compressor.models.weights import build
from compressor.objectives.config import ObjectiveConfig
from compressor.objectives.objective import Objective, Signals
from compressor.seeds import seed_everything

FEATURES = ObjectiveConfig.model_validate(
    {"ce": {}, "kd": {}, "hint": {"on": "both"}, "attention": {}, "rkd": {}, "similarity": {"on": "maps"}, "cosine": {}}
)

FEW = [
    ("resnet18", "mobilenetv3_small_050", 64),
    ("vit_tiny_patch16_224", "mobilenetv2_050", 64),
    ("convnext_atto", "mobilenetv4_conv_small_050", 64),
]

MANY = [
    ("resnet50", "mobilenetv3_large_100", 64),
    ("resnet26d", "mobilenetv4_conv_medium", 64),
    ("seresnet50", "efficientnet_b0", 64),
    ("resnetv2_50", "efficientnet_lite0", 64),
    ("wide_resnet50_2", "tf_efficientnetv2_b0", 64),
    ("resnext50_32x4d", "mnasnet_small", 64),
    ("regnety_008", "ghostnet_050", 64),
    ("densenet121", "tinynet_e", 64),
    ("convnextv2_atto", "hardcorenas_a", 64),
    ("convnext_nano", "fastvit_t8", 64),
    ("fastvit_sa12", "mobilenetv3_small_100", 64),
    ("efficientnet_b2", "edgenext_x_small", 64),
    ("inception_next_atto", "mobileone_s0", 64),
    ("vgg11_bn", "repvgg_a0", 64),
    ("dla34", "repvit_m0_9", 64),
    ("hgnet_tiny", "lcnet_050", 64),
    ("vit_small_patch16_224", "deit_tiny_patch16_224", 64),
    ("vit_tiny_patch16_224", "resnet10t", 64),
    ("deit3_small_patch16_224", "vit_tiny_patch16_224", 64),
    ("deit_tiny_distilled_patch16_224", "mobilenetv2_100", 64),
    ("vit_small_patch14_dinov2", "mobilenetv3_small_075", 56),
    ("swinv2_cr_tiny_224", "efficientvit_b1", 224),
    ("swin_tiny_patch4_window7_224", "levit_128s", 224),
    ("mobilevit_xs", "mobilevitv2_050", 64),
    ("poolformer_s12", "efficientformerv2_s0", 224),
    ("tiny_vit_5m_224", "efficientvit_m0", 224),
    ("pvt_v2_b0", "ghostnetv3_050", 64),
    ("swin_tiny_patch4_window7_224", "efficientvit_b0", 224),
    ("edgenext_xx_small", "deit_tiny_patch16_224", 64),
    ("caformer_s18", "starnet_s1", 64),
]


def step(teacher_name: str, student_name: str, size: int) -> None:
    """One training step with every feature term; everything the student learns from must reach it."""
    seed_everything(0)
    teacher, student = (
        build(TimmArchitecture(name=n, classes=5, image_size=size)) for n in (teacher_name, student_name)
    )
    preprocessing = ImagePreprocessing(size=size)
    frozen = FrozenTeacher(teacher, preprocessing)
    wiring = wire(student, preprocessing, frozen, FEATURES)
    assert wiring.pairs
    objective = Objective(FEATURES, wiring.widths)
    optimizer = build_optimizer(student, objective, StageConfig().optimizer, finetuning=False)
    tapped = Tapped(student.train(), embedding=wiring.embedding, taps=wiring.student_taps)
    views = torch.randint(0, 256, (4, size, size, 3), dtype=torch.uint8)
    said = frozen.targets({"pixels": views}, embedding=True, taps=wiring.teacher_taps)
    outputs = tapped(views.permute(0, 3, 1, 2).float() / 127.5 - 1)
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
def test_many_families_pair_and_train(teacher: str, student: str, size: int) -> None:
    step(teacher, student, size)
