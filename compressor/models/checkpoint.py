"""A checkpoint: safetensors weights with a JSON card beside them that says all the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, SerializeAsAny, ValidationInfo, field_validator
from torch import nn

from compressor.artifact.metadata import of_modality
from compressor.artifact.preprocessing import Preprocessing
from compressor.errors import CheckpointError, CompressorError, UsageError
from compressor.files import read_document, replacing, write_json
from compressor.modalities import DEFAULT, FIRST_FAMILY
from compressor.models.architecture import Architecture
from compressor.models.family import StateDict, family
from compressor.models.weights import build, read_state
from compressor.runnote import Choice, LanguageFigures

WEIGHTS, CARD = "weights.safetensors", "model.json"


class Card(BaseModel):
    """`model.json`: what a checkpoint is, apart from its tensors."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    schema_version: int = 1
    architecture: SerializeAsAny[Architecture]
    classes: list[str]
    modality: str = DEFAULT
    preprocessing: SerializeAsAny[Preprocessing]
    role: str
    origin: str
    """Where its first weights came from: `pretrained`, `scratch` or a path."""
    seed: int | None = None
    dataset: dict[str, Any]
    """Name, content, split and seed of the data it was trained on."""
    params: int | None
    """None where a given teacher doesn't say."""
    macs: int | None
    temperature: float | None = None
    """Calibration temperature fitted on validation."""
    trusted: bool = True
    """Whether it is known not to have learnt from the validation samples."""
    suspect: bool = False
    """Whether its own figures on validation and training samples say that it may have."""
    calibration: str | None = None
    """What has to be said of its temperature."""
    train_seconds: float | None = None
    images_per_second: float | None = None
    validation: dict[str, float] | None = None
    """`top1`, `top5`, `nll`, `ece` on validation."""
    top1: float | None = None
    """Test accuracy, a fraction; read once, for the report."""
    language: dict[str, LanguageFigures] = {}
    """Split → figures of a language model on its whole text, test read once; empty for other models."""
    choice: Choice | None = None
    """Of what ships: why it is this one."""

    @field_validator("architecture", mode="before")
    @classmethod
    def _of_its_family(cls, value: Any) -> Any:
        if isinstance(value, Architecture):
            return value
        name = value.get("family", FIRST_FAMILY) if isinstance(value, dict) else FIRST_FAMILY
        try:
            return family(name).read(value)
        except UsageError as error:
            raise ValueError(str(error)) from error

    @field_validator("preprocessing", mode="before")
    @classmethod
    def _of_its_modality(cls, value: Any, info: ValidationInfo) -> Any:
        return of_modality(value, info)


def save_tensors(path: Path, tensors: StateDict, metadata: dict[str, str] | None = None) -> None:
    """Writes tensors as safetensors, whole or not at all."""
    from safetensors.torch import save_file

    # Shared or channels_last tensors are refused by the format: each is written on its own, contiguous.
    plain = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    with replacing(path) as temporary:
        save_file(plain, temporary, metadata={"format": "pt"} | (metadata or {}))


def save(folder: Path, model: nn.Module, card: Card) -> None:
    """`weights.safetensors` and `model.json` in `folder`; the card last, so that it marks a whole checkpoint."""
    save_tensors(folder / WEIGHTS, dict(model.state_dict()))
    write_json(folder / CARD, card.model_dump(mode="json"))


def find(path: Path) -> tuple[Path, Path] | None:
    """(weights, card) for a checkpoint folder, a weights file with a card, or a run; None if there is no card."""
    candidates = [(path / WEIGHTS, path / CARD), (path / "student.safetensors", path / "student.json")]
    if path.suffix == ".safetensors":
        candidates = [(path, path.with_suffix(".json")), (path, path.with_name(CARD))]
    return next((c for c in candidates if all(p.is_file() for p in c)), None)


def read_card(path: Path) -> Card:
    """The card in `path`. Raises CheckpointError where it is damaged."""
    try:
        return read_document(path, Card)
    except CompressorError as error:
        raise CheckpointError(f"no model card: {error}") from error


def load(path: Path) -> tuple[nn.Module, Card]:
    """A checkpoint folder, a run, or a `.safetensors` file with its card, as a model in eval mode.

    Raises:
        CheckpointError: no checkpoint there, or it is damaged.
    """
    found = find(path)
    if found is None:
        raise CheckpointError(
            f"no checkpoint at {path}: a folder with {WEIGHTS} and {CARD}, "
            "or a .safetensors file with a .json beside it"
        )
    weights, card_path = found
    card = read_card(card_path)
    model = build(card.architecture)
    state = read_state(weights)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{weights} does not fit {card_path}: {str(error).splitlines()[-1].strip()}") from error
    return model.eval(), card
