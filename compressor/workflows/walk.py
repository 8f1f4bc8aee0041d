"""The stages of a plan one after the other, each with an untrained model and teacher: what can be measured beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from compressor.data.dataset import Dataset
from compressor.distillation import mixture
from compressor.distillation.acquire import Start
from compressor.distillation.sources import TableTeacher, frozen
from compressor.distillation.teacher import FrozenTeacher
from compressor.models.family import Known
from compressor.workflows.plan import Plan, Stage, begin


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A stage before its training."""

    stage: Stage
    first: Start
    teacher: FrozenTeacher | None
    """Who teaches it, as fast as the trained one; None where nobody does."""
    data: Dataset
    """What it learns from: unlabelled samples among it where it is taught."""


def walk(planned: Plan, device: torch.device) -> Iterator[Begun]:
    """Each stage in the chain's order; models are made when they are asked for."""
    teacher: FrozenTeacher | None = None
    members: list[Start] = []
    known: Known | None = None
    for stage in planned.stages:
        if stage.role == "teacher" and members:
            first = mixture.planned(members)
        else:
            first = begin(planned, stage, stage.seeds[0], device, teacher=known)
        members += [first] if stage.role == "member" else []
        own = teacher if stage.role in ("assistant", "student") else None
        data = planned.dataset.with_unlabeled() if own else planned.dataset
        yield Begun(stage=stage, first=first, teacher=own, data=data)
        if stage.role == "teacher":
            known = first.known
        if stage.role in ("teacher", "assistant"):
            teacher = frozen(first.model, first.preprocessing)
            if isinstance(teacher, TableTeacher):
                teacher.of(planned.dataset)
