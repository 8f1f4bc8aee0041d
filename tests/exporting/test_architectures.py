"""timm's families through the exporter and the parity gate, at any batch size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import nn

from compressor.artifact import session
from compressor.artifact.images import ImagePreprocessing
from compressor.artifact.preprocessing import taken
from compressor.evaluation.torch_predictor import predictor_of
from compressor.exporting import export as exporting
from compressor.exporting.config import ExportConfig
from compressor.models.checkpoint import Card
from compressor.models.timm.build import TimmArchitecture
from compressor.models.weights import build
from compressor.progress import Silent
from compressor.seeds import seed_everything

SOON = {"resnet10t": 64, "test_vit": 160, "test_convnext": 64}
"""Three families that the default run takes; name → image size."""

LATER = {
    "mobilenetv3_small_050": 64, "mobilenetv4_conv_small_050": 64, "efficientnet_lite0": 64, "tinynet_e": 64,
    "mnasnet_small": 64, "hardcorenas_a": 64, "ghostnet_050": 64, "regnetx_002": 64, "regnety_002": 64,
    "densenet121": 64, "repvgg_a0": 64, "mobileone_s0": 64, "dla46_c": 64, "fastvit_t8": 128, "edgenext_xx_small": 64,
    "mobilevit_xxs": 64, "levit_128s": 224, "poolformer_s12": 64, "deit_tiny_patch16_224": 64,
    "swin_tiny_patch4_window7_224": 224, "convnextv2_atto": 64, "convnext_atto": 64, "resnext26ts": 64,
    "semnasnet_050": 64, "fbnetc_100": 64, "lcnet_050": 64, "mobilenetv2_035": 64, "efficientvit_b0": 64,
}  # fmt: skip
"""The others: `make test-all`."""


def answering(name: str, size: int) -> tuple[nn.Module, Card]:
    """A model of random weights whose every branch speaks, and whose logits differ between images."""
    seed_everything(0)
    architecture = TimmArchitecture(name=name, classes=10, image_size=size)
    model = build(architecture).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
            nn.init.uniform_(module.running_mean, -0.3, 0.3)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    head = model.get_classifier()  # type: ignore[operator]
    for classifier in head if isinstance(head, tuple) else (head,):
        for parameter in classifier.parameters():
            nn.init.normal_(parameter, std=0.5)
    card = Card(
        architecture=architecture, classes=[str(i) for i in range(10)], preprocessing=ImagePreprocessing(size=size),
        role="student", origin="scratch", dataset={"name": "noise"}, params=1, macs=1,
    )  # fmt: skip
    return model, card


@pytest.mark.parametrize(
    ("name", "size"),
    [*SOON.items(), *(pytest.param(n, s, marks=pytest.mark.slow) for n, s in LATER.items())],
)
def test_a_family_passes_the_gate_with_a_dynamic_batch(name: str, size: int, tmp_path: Path) -> None:
    model, card = answering(name, size)
    coarse = np.random.default_rng(0).integers(0, 256, (13, 4, 4, 3), dtype=np.uint8)
    pixels = coarse.repeat(size // 4, axis=1).repeat(size // 4, axis=2)
    inputs = {"pixels": pixels}
    said = predictor_of(model, card.preprocessing)(inputs)
    assert said.std() >= 0.1, "the comparison would be one of constants"
    done = exporting.export(
        model, card, tmp_path / "m.onnx", precision="fp32", config=ExportConfig(), inputs=inputs, recipe=None,
        progress=Silent(),
    )  # fmt: skip
    assert done.parity.max_relative_error <= 1e-3
    artifact = session.load(done.path)
    assert artifact.batch is None
    assert artifact.logits(taken(inputs, slice(5))).shape == (5, 10)
