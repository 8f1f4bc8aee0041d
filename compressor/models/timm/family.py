"""timm's image classifiers as a family: see `models/family.py` for what each function is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compressor.artifact.images import ImagePreprocessing
from compressor.artifact.preprocessing import Inputs, Preprocessing
from compressor.data.images.setup import ImageSetup
from compressor.errors import UsageError
from compressor.models.architecture import Architecture
from compressor.models.family import Known, Prepared, StateDict
from compressor.models.outputs import Outputs, Tap
from compressor.models.timm import build, names, taps, weights
from compressor.models.timm.build import TimmArchitecture


class Timm:
    """All of timm's models that end in a classifier."""

    def resolve(self, spelled: str, role: str) -> str:
        """Short names mean what a person means by them: `names.SHORT`."""
        return names.resolve(spelled, role=role)

    def read(self, value: Any) -> TimmArchitecture:
        """With its image size and stem."""
        return TimmArchitecture.model_validate(value)

    def claims(self, path: Path) -> bool:
        """timm's models come by name, from the hub or as checkpoints."""
        return False

    def describe(
        self, name: str, *, classes: int, setup: Any, stem: str, teacher: Known | None = None
    ) -> tuple[TimmArchitecture, ImagePreprocessing]:
        """At the images' size; its own mean and standard deviation."""
        assert isinstance(setup, ImageSetup)
        architecture = TimmArchitecture(
            name=name, classes=classes, image_size=setup.size, stem=build.decide_stem(name, stem, setup.size)
        )
        geometry = {"size": setup.size, "crop_pct": setup.crop_pct, "interpolation": setup.interpolation}
        return architecture, build.preprocessing_for(name, **geometry)

    def build(self, architecture: Architecture) -> nn.Module:
        """See `build.build`."""
        assert isinstance(architecture, TimmArchitecture)
        return build.build(architecture)

    def pretrained(self, architecture: Architecture) -> StateDict:
        """See `weights.pretrained_state`."""
        assert isinstance(architecture, TimmArchitecture)
        return weights.pretrained_state(architecture)

    def shrunk(self, teacher: nn.Module, architecture: Architecture) -> StateDict:
        """No image model is named by its teacher."""
        raise UsageError(f"{architecture.name} takes no layers from its teacher")

    def rate(self) -> float:
        """Chosen on validation (docs/log.md)."""
        return 4e-3

    def head(self, model: nn.Module) -> set[str]:
        """What timm calls the classifier."""
        return weights.head_names(model)

    def prepare(self, inputs: dict[str, Tensor], preprocessing: Preprocessing) -> Prepared:
        """(batch, 3, size, size) float32 in channels_last."""
        assert isinstance(preprocessing, ImagePreprocessing)
        return (normalized(inputs["pixels"].permute(0, 3, 1, 2), preprocessing),)

    def forward(
        self, model: nn.Module, prepared: Prepared, *, embedding: bool = False, taps: tuple[int, ...] = ()
    ) -> Outputs:
        """See `taps.forward`."""
        return _forward(model, prepared[0], embedding=embedding, taps=taps)

    def taps(self, model: nn.Module, preprocessing: Preprocessing) -> tuple[list[Tap], int]:
        """See `taps.measure`."""
        assert isinstance(preprocessing, ImagePreprocessing)
        return taps.measure(model, preprocessing.size)

    def example(self, preprocessing: Preprocessing, batch: int) -> Prepared:
        """Normal noise."""
        assert isinstance(preprocessing, ImagePreprocessing)
        side = preprocessing.size
        return (torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0)),)

    def raw(self, preprocessing: Preprocessing, batch: int) -> tuple[nn.Module, Prepared]:
        """Pixels, (batch, size, size, 3) uint8."""
        assert isinstance(preprocessing, ImagePreprocessing)
        side = preprocessing.size
        return Normalise(preprocessing), (torch.zeros(batch, side, side, 3, dtype=torch.uint8),)

    def input_names(self, *, raw: bool) -> tuple[str, ...]:
        """`image`, or `pixels`."""
        return ("pixels",) if raw else ("image",)

    def dynamic(self) -> dict[str, dict[int, str]]:
        """Sides are fixed."""
        return {}

    def untrained(self, name: str, size: int) -> tuple[TimmArchitecture, ImagePreprocessing, Inputs]:
        """1,000 classes, the stem as it is."""
        architecture, preprocessing = self.describe(name, classes=1000, setup=ImageSetup(size=size), stem="keep")
        pixels = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), dtype=np.uint8)
        return architecture, preprocessing, {"pixels": pixels}

    def kin(self, name: str) -> list[str]:
        """See `names.kin`."""
        return names.kin(name)

    def packages(self) -> tuple[str, ...]:
        """timm's architectures on torch's kernels."""
        return ("timm", "torch")


_forward = taps.forward  # its name is a parameter's, too


def normalized(pixels: Tensor, preprocessing: ImagePreprocessing) -> Tensor:
    """(batch, 3, size, size) uint8 → float32 with the model's mean and std, on the same device, channels_last."""
    shape = (1, 3, 1, 1)
    mean = torch.tensor(preprocessing.mean, device=pixels.device).view(shape) * 255
    std = torch.tensor(preprocessing.std, device=pixels.device).view(shape) * 255
    return ((pixels.float() - mean) / std).contiguous(memory_format=torch.channels_last)


class Normalise(nn.Module):
    """Normalisation as a part of the graph."""

    scale: Tensor
    shift: Tensor

    def __init__(self, preprocessing: ImagePreprocessing) -> None:
        super().__init__()
        shape = (1, 3, 1, 1)
        std = torch.tensor(preprocessing.std).view(shape)
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", -torch.tensor(preprocessing.mean).view(shape) / std)

    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, size, size, 3) uint8 → (batch, 3, size, size) float32."""
        return pixels.permute(0, 3, 1, 2).float() * self.scale + self.shift


TIMM = Timm()
