"""How a model is got before its stage: by name, weights or file; and what of it has to be trained here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from compressor.artifact.preprocessing import Preprocessing
from compressor.data.dataset import Dataset
from compressor.data.kind import kind_of
from compressor.distillation.sources import held_out, refuse_seen, take
from compressor.errors import UsageError
from compressor.evaluation import metrics
from compressor.evaluation.torch_predictor import predict_model
from compressor.models import checkpoint, seen
from compressor.models.architecture import Architecture
from compressor.models.config import TeacherConfig
from compressor.models.family import Known, first_family, resolve
from compressor.models.locate import GIVEN, HUB, locate
from compressor.models.seen import Seen
from compressor.models.weights import build, head_names, initialise, load_matching, read_state
from compressor.seeds import derive_seed, seed_everything

WAYS = ("auto", "pretrained", "teacher", "scratch")
"""What `init` may say beside a path."""

KNOWS = 5
"""Times as often right as guessing (or half of the time): a pretrained head that does better knows these classes."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """A model before its stage: weights, and whether they still have to be trained on this data."""

    model: nn.Module
    architecture: Architecture
    preprocessing: Preprocessing
    origin: str
    training: str
    """`none` (used as it is), `head`, `finetune` or `scratch`."""
    fresh_head: bool = False
    notice: str | None = None
    seen: Seen | None = None
    """Prints of what these weights were trained on, where they say."""
    trusted: bool = True
    """Whether it is known not to have learnt from what is held out here for validation."""

    @property
    def known(self) -> Known:
        """What a student that is named by it has to know."""
        return Known(architecture=self.architecture, preprocessing=self.preprocessing, model=lambda: self.model)


def start(
    name: str,
    init: str,
    dataset: Dataset,
    *,
    role: str,
    stem: str,
    seed: int,
    size: int | None = None,
    teacher: Known | None = None,
) -> Start:
    """A model by its family's or a hub's name with its first weights; the same seed gives the same weights.

    Args:
        name, init, role, stem, seed: see the recipe.
        dataset: what it is for.
        size: what it sees, where that is not what the dataset has settled.
        teacher: the one that it may be named by.

    Raises:
        UsageError: data of this modality come in no sizes; a name that means a teacher where none is known.
        CheckpointError: weights by path that do not fit, or that were trained on another split of this very data.
    """
    stored = checkpoint.find(Path(init).expanduser()) if init not in WAYS else None
    card = checkpoint.read_card(stored[1]) if stored is not None else None
    shown = None
    if stored is not None and card is not None:
        shown = seen.read(stored[1], card.dataset)
        refuse_seen(card.dataset, dataset, f"{role} weights '{init}'", shown)
    architecture, preprocessing = described(name, dataset, role=role, stem=stem, size=size, teacher=teacher)
    seed_everything(derive_seed(seed, "init"))
    loaded = initialise(architecture, init, role=role, teacher=teacher, classes=dataset.classes)
    # Some of a language model's layers foretell nothing together yet: they learn at the full rate, as fresh ones do.
    fresh = loaded.origin == "scratch" or (loaded.origin == "teacher" and dataset.tokens)
    known = card is not None and card.trusted and held_out(card.dataset, dataset, shown)
    return Start(
        model=loaded.model,
        architecture=architecture,
        preprocessing=preprocessing,
        origin=loaded.origin,
        training="scratch" if fresh else "finetune",
        fresh_head=loaded.origin != "scratch" and not loaded.head_fits,
        notice=loaded.notice,
        seen=shown,
        trusted=known or not loaded.head_fits or loaded.origin in ("pretrained", "teacher"),
    )


def described(
    name: str, dataset: Dataset, *, role: str, stem: str, size: int | None = None, teacher: Known | None = None
) -> tuple[Architecture, Preprocessing]:
    """The architecture that a name means for these data, and how samples reach it; `start` says what may be raised."""
    kin = (
        resolve(name, role=role, modality=dataset.modality)[1]
        if not name.startswith(HUB)
        else first_family(dataset.modality)
    )
    setup = dataset.setup if size is None else kind_of(dataset.modality).resized(dataset, size)
    return kin.describe(name, classes=len(dataset.classes), setup=setup, stem=stem, teacher=teacher)


def acquire_teacher(config: TeacherConfig, dataset: Dataset, *, seed: int, device: torch.device) -> Start:
    """The teacher as it can be had: a checkpoint, pretrained weights, or nothing but an architecture.

    Its head has to know the dataset's classes: where it doesn't, `training` says that it must learn them.

    Raises:
        UsageError: no such model, or a weights file whose architecture nobody named.
        CheckpointError: damaged, or trained on another split of this very data.
    """
    source = locate(config.model, role="teacher", modality=dataset.modality)
    if source.path is not None:
        if source.path.suffix.lower() in GIVEN:
            return Start(**vars(take(source.path, config, dataset)), origin=str(source.path), training="none")
        found = _teacher_from_path(source.path, dataset, seed=seed)
    else:
        found = start(
            source.name or source.hub or "", config.init, dataset,
            role="teacher", stem=config.stem, seed=seed, size=config.image_size,
        )  # fmt: skip
    if found.training == "scratch":
        return found
    strange = found.fresh_head or (found.training != "none" and not _knows(found, dataset, device))
    if config.tune == "head" and not head_names(found.model):
        raise UsageError(f"teacher.tune: head, but {found.architecture.name} has no head of its own. Take none or all.")
    training = _tuning(config.tune, found, strange)
    # Published weights that know these very classes may be of these very samples.
    suspect = training == "none" and found.origin == "pretrained"
    return replace(found, training=training, trusted=found.trusted and not suspect)


def _knows(found: Start, dataset: Dataset, device: torch.device) -> bool:
    """Whether a head with the right number of outputs means these classes by them: only accuracy can tell."""
    seen = predict_model(found.model.to(device), dataset, "validation", found.preprocessing, device=device)
    return metrics.top_k(seen.labels, seen.logits, 1) > min(0.5, KNOWS / len(dataset.classes))


def _tuning(tune: str, found: Start, strange: bool) -> str:
    """What is trained of trained weights, by `teacher.tune` and by whether their head is `strange` to these classes."""
    if tune == "none" and strange:
        raise UsageError(
            f"teacher.tune: none, but teacher {found.architecture.name} ({found.origin}) does not know these classes.\n"
            "Take head (seconds) or all."
        )
    auto = "finetune" if strange else "none"
    return {"auto": auto, "none": "none", "head": "head", "all": "finetune"}[tune]


def _teacher_from_path(path: Path, dataset: Dataset, *, seed: int) -> Start:
    if checkpoint.find(path) is None:
        if path.is_dir():
            raise UsageError(f"teacher '{path}' is a folder without a checkpoint or a finished run")
        raise UsageError(
            f"teacher '{path}' has no model card beside it, so its architecture is unknown.\n"
            f"Name it: --teacher resnet50 --set teacher.init={path}"
        )
    model, card = checkpoint.load(path)
    if card.modality != dataset.modality:
        raise UsageError(f"teacher '{path}' takes {card.modality}, and the data is {dataset.modality}")
    shown = seen.read((checkpoint.find(path) or (path, path))[1], card.dataset)
    refuse_seen(card.dataset, dataset, f"teacher '{path}'", shown)
    if card.classes == dataset.classes:
        return Start(
            model=model,
            architecture=card.architecture,
            preprocessing=card.preprocessing,
            origin=str(path),
            training="none",
            trusted=card.trusted and held_out(card.dataset, dataset, shown),
            seen=shown,
        )
    if dataset.tokens:
        raise UsageError(
            f"teacher '{path}' knows {len(card.classes)} tokens, and the data has {len(dataset.classes)}: its embedding is its "
            "head.\nCut the data by its tokens: leave data.options.tokenizer out"
        )
    architecture = card.architecture.with_classes(len(dataset.classes))
    seed_everything(derive_seed(seed, "init"))
    renewed = build(architecture)
    weights, _ = checkpoint.find(path) or (path, path)
    load_matching(renewed, _without_head(renewed, read_state(weights)), source=str(path))
    return Start(
        model=renewed,
        architecture=architecture,
        preprocessing=card.preprocessing,
        origin=str(path),
        training="finetune",
        fresh_head=True,
        seen=shown,
    )


def _without_head(model: nn.Module, state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Another set of classes needs a fresh head even where their number happens to agree."""
    head = head_names(model)
    return {k: v for k, v in state_dict.items() if k not in head}
