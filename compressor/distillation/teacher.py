"""The frozen teacher, and the wiring between what it gives and what a student gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor, nn

from compressor.artifact.preprocessing import Preprocessing
from compressor.data.loaders import Batch
from compressor.errors import UsageError
from compressor.models.architecture import Architecture
from compressor.models.family import family_of
from compressor.models.outputs import Outputs, Tap, TapPair, pair
from compressor.objectives.config import ObjectiveConfig
from compressor.objectives.objective import Widths, chosen_taps, needs, power, sided


class FrozenTeacher:
    """A model that only answers: in eval mode, without gradients, out of reach of any optimiser.

    Not a module, so that no student, wrapper or optimiser can adopt its parameters by accident.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocessing: Preprocessing,
        *,
        temperature: float = 1.0,
        precision: str = "fp32",
        architecture: Architecture | None = None,
    ) -> None:
        """
        Args:
            model: the classifier; it is frozen in place.
            preprocessing: how things reach it.
            temperature: calibration temperature that its logits are divided by.
            precision: `fp32` or `bf16`, of its forward.
            architecture: what it is; part of the name of its stored targets.
        """
        self.model = model.eval().requires_grad_(False)
        self.preprocessing = preprocessing
        self.temperature = temperature
        self.precision = precision
        self.architecture = architecture

    def in_precision(self, precision: str) -> FrozenTeacher:
        """The same model, answering in another precision."""
        return FrozenTeacher(
            self.model, self.preprocessing, temperature=self.temperature, precision=precision,
            architecture=self.architecture,
        )  # fmt: skip

    def train(self, mode: bool = True) -> Self:
        """Does nothing: a teacher's BatchNorm and dropout never move."""
        self.model.eval()
        return self

    def parameters(self) -> Iterator[nn.Parameter]:
        """None: there is nothing to train."""
        return iter(())

    def to(self, device: torch.device | str) -> Self:
        """Moves the model."""
        self.model.to(device)
        return self

    @property
    def wants(self) -> Preprocessing | None:
        """How the views that it has to see reach it."""
        return self.preprocessing

    def answer(
        self, batch: Batch, device: torch.device, *, embedding: bool = False, taps: tuple[int, ...] = ()
    ) -> Outputs:
        """What it says about a batch of the training loader, on `device`."""
        views = on_device(batch["views"][self.preprocessing.view_key], device)
        return self.targets(views, embedding=embedding, taps=taps)

    @torch.no_grad()
    def targets(
        self, views: dict[str, Tensor], *, embedding: bool = False, taps: tuple[int, ...] = (), calibrated: bool = True
    ) -> Outputs:
        """What it says about encoded views; logits divided by the calibration temperature."""
        self.model.eval()
        family = family_of(self.model)
        prepared = family.prepare(views, self.preprocessing)
        half = self.precision == "bf16"
        # Its own precision, whatever the student's step runs in.
        with torch.autocast(prepared[0].device.type, dtype=torch.bfloat16, enabled=half):
            outputs = family.forward(self.model, prepared, embedding=embedding, taps=taps)
        logits = outputs.logits.float() / (self.temperature if calibrated else 1.0)
        return replace(outputs, logits=logits)


def on_device(inputs: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Encoded views on `device`."""
    return {name: tensor.to(device, non_blocking=True) for name, tensor in inputs.items()}


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """What is read from both models for one objective, and how wide it is."""

    embedding: bool
    pairs: tuple[TapPair, ...]
    widths: Widths | None
    power: float | None = None
    """Exponent of the attention maps; None where no term reads them."""

    @property
    def student_taps(self) -> tuple[int, ...]:
        """Indices for the student's forward, ascending and without repeats."""
        return tuple(sorted({p.student.index for p in self.pairs}))

    @property
    def teacher_taps(self) -> tuple[int, ...]:
        """Indices for the teacher's forward, ascending and without repeats."""
        return tuple(sorted({p.teacher.index for p in self.pairs}))

    def student_maps(self, outputs: Outputs) -> tuple[Tensor, ...]:
        """The student's maps, one per pair."""
        return tuple(outputs.maps[self.student_taps.index(p.student.index)] for p in self.pairs)

    def teacher_maps(self, outputs: Outputs) -> tuple[Tensor, ...]:
        """The teacher's maps, one per pair; none of a teacher that is stored."""
        if not outputs.maps:
            return ()
        return tuple(outputs.maps[self.teacher_taps.index(p.teacher.index)] for p in self.pairs)

    def teacher_attention(self, outputs: Outputs) -> tuple[Tensor, ...]:
        """The teacher's attention maps, one per pair; none of a teacher that is live."""
        if not outputs.attention:
            return ()
        return tuple(outputs.attention[self.teacher_taps.index(p.teacher.index)] for p in self.pairs)


class Answering(Protocol):
    """A teacher that is only there as its answers."""

    taps: list[Tap]
    """All its taps, where attention maps were stored."""

    @property
    def embedding_width(self) -> int:
        """Channels of the embedding it can give."""


def wire(
    student: nn.Module,
    preprocessing: Preprocessing,
    teacher: FrozenTeacher | Answering | None,
    objective: ObjectiveConfig,
) -> Wiring:
    """Measures both models and pairs their taps, as far as the objective reads them.

    Raises:
        UsageError: maps or relations are needed and a model offers none, or a chosen tap does not exist.
    """
    wanted = needs(objective)
    if teacher is None or not wanted - {"logits"}:
        return Wiring(embedding=False, pairs=(), widths=None)
    own, own_embedding = family_of(student).taps(student, preprocessing)
    other: list[Tap] = []
    if isinstance(teacher, FrozenTeacher):
        other, other_embedding = family_of(teacher.model).taps(teacher.model, teacher.preprocessing)
    else:
        assert not wanted & {"maps", "relations"}, "these need a live teacher"
        other, other_embedding = teacher.taps, teacher.embedding_width
    pairs = tuple(_paired(own, other, objective)) if wanted & {"maps", "attention"} else ()
    if "relations" in wanted:
        _check_relations((own, own_embedding), (other, other_embedding), objective)
    widths = Widths(
        student_embedding=own_embedding,
        teacher_embedding=other_embedding,
        student_maps=tuple(p.student.channels for p in pairs),
        teacher_maps=tuple(p.teacher.channels for p in pairs),
    )
    # Relations come with an embedding.
    return Wiring(
        embedding=bool(wanted & {"embedding", "relations"}), pairs=pairs, widths=widths, power=power(objective)
    )


def _paired(student: list[Tap], teacher: list[Tap], objective: ObjectiveConfig) -> list[TapPair]:
    for role, taps in (("student", student), ("teacher", teacher)):
        if not taps:
            raise UsageError(f"the objective reads feature maps, and the {role} has none: take another term")
        if taps[-1].depth is not None and sided(objective):
            raise UsageError(
                f"{', '.join(sided(objective))} compares maps with height and width, and a text has none: take minilm, "
                "or hint with on: maps"
            )
    return pair(student, teacher, chosen_taps(objective))


def _check_relations(
    student: tuple[list[Tap], int], teacher: tuple[list[Tap], int], objective: ObjectiveConfig
) -> None:
    """Raises UsageError where a model, (its taps, its width), has no self-attention to read, or none of these heads."""
    heads = objective.minilm.heads if objective.minilm else None
    for role, (taps, width) in (("student", student), ("teacher", teacher)):
        if not taps or not taps[-1].heads:
            raise UsageError(f"minilm reads how tokens attend to each other, and the {role} is no encoder of texts")
        if heads is not None and width % heads:
            raise UsageError(f"minilm.heads is {heads}, which does not divide the {role}'s {width} channels")
