"""ONNX files as a family: see `models/family.py` for what each function is. They are asked through onnxruntime."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from compressor.artifact.preprocessing import Preprocessing
from compressor.artifact.session import Artifact
from compressor.errors import UsageError
from compressor.models.architecture import Architecture
from compressor.models.family import Prepared
from compressor.models.given import Given, GivenFamily
from compressor.models.onnx.graph import Graph, opened
from compressor.models.outputs import Outputs, Tap
from compressor.packages import versions

FAMILY = "onnx"


class OnnxArchitecture(Architecture):
    """What its file is, apart from its bytes."""

    size: int
    """Bytes of the file."""
    params: int | None = None
    macs: int | None = None


class OnnxModel(Given):
    """A graph that answers. Its only state is its file."""

    file: Tensor

    def __init__(self, architecture: OnnxArchitecture) -> None:
        super().__init__()
        self.name = architecture.name
        self.parameter_count, self.mac_count = architecture.params, architecture.macs
        self.register_buffer("file", torch.zeros(architecture.size, dtype=torch.uint8))

    @property
    def content(self) -> bytes:
        """The file."""
        return self.file.cpu().numpy().tobytes()

    @cached_property
    def artifact(self) -> Artifact:
        """It as a session, made when it is first asked."""
        return opened(self.content, Path(self.name), device=self.file.device.type)

    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, size, size, 3) uint8 → (batch, classes) logits on the same device."""
        return torch.from_numpy(self.artifact.logits({"pixels": pixels.cpu().numpy()})).to(pixels.device)


def made(graph: Graph) -> tuple[OnnxModel, OnnxArchitecture]:
    """A model of a file that was read, and what it is."""
    own = graph.metadata
    architecture = OnnxArchitecture(
        family=FAMILY,
        name=own.name,
        classes=len(own.classes),
        size=len(graph.content),
        params=own.params,
        macs=own.macs,
    )
    model = OnnxModel(architecture)
    model.file = torch.frombuffer(bytearray(graph.content), dtype=torch.uint8)
    model.__dict__["family"] = FAMILY
    return model, architecture


class Onnx(GivenFamily):
    """Files only: no name means one."""

    noun, article = "ONNX file", "an"
    reason = "it only answers, as a teacher (--teacher model.onnx)"

    def read(self, value: Any) -> OnnxArchitecture:
        """With its size in bytes."""
        return OnnxArchitecture.model_validate(value)

    def build(self, architecture: Architecture) -> nn.Module:
        """With an empty file."""
        assert isinstance(architecture, OnnxArchitecture)
        return OnnxModel(architecture)

    def forward(
        self, model: nn.Module, prepared: Prepared, *, embedding: bool = False, taps: tuple[int, ...] = ()
    ) -> Outputs:
        """Logits alone."""
        assert not embedding, "a plan refuses terms that read features of a file"
        return Outputs(logits=model(*prepared))

    def taps(self, model: nn.Module, preprocessing: Preprocessing) -> tuple[list[Tap], int]:
        """None."""
        raise UsageError("an ONNX file gives no features: take terms that read logits")

    def raw(self, preprocessing: Preprocessing, batch: int) -> NoReturn:
        """It is a graph already."""
        self.refuse("given another input")

    def input_names(self, *, raw: bool) -> tuple[str, ...]:
        """The file's own stay."""
        return ()

    def packages(self) -> tuple[str, ...]:
        """Whichever wheel of onnxruntime there is."""
        known = versions()
        return tuple(name for name in ("onnxruntime", "onnxruntime-gpu") if known[name])


ONNX = Onnx()
