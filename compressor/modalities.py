"""The table of modalities: what kinds of things go in, and which files know about each kind.

One rule joins them: what a model says is *rows*, one per supervised thing (an image, a sentence, a token); padding
never becomes a row. Losses, target store, training loop, statistics and verdicts see rows only. What an input is
(`artifact`), how it is read and varied (`data`), which families of models take it (`models`) and what may damage it
(`evaluation`) is each behind one small protocol in its room; a new modality is its own files and one entry here.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

from compressor.errors import UsageError, unknown

UNLABELLED = -1
"""The label of a row that only the teacher speaks to."""


@dataclass(frozen=True, kw_only=True)
class Modality:
    """Where the parts of a modality are, each as `module:name`; they are imported when they are first needed."""

    preprocessing: str
    """A `Preprocessing` (`artifact/preprocessing.py`): from one thing to the numbers a model takes. No torch."""
    data: str
    """A `DataKind` (`data/kind.py`): how data are read, split where they split themselves, and made into views."""
    families: dict[str, str] = field(default_factory=dict)
    """Name → `Family` (`models/family.py`): models that are made, tapped and exported alike."""
    damages: str | None = None
    """Name → damage (`evaluation/shift.py`), for `evaluate --shift`; None where nobody has defined any."""
    objective: dict[str, Any] | None = None
    """What `stage.objective` means where nobody says; None: the recipe's own default."""
    task: str | None = None
    """What `data.task` calls it, where a source alone does not tell; None: the source tells."""


MODALITIES: dict[str, Modality] = {
    "image": Modality(
        preprocessing="compressor.artifact.images:ImagePreprocessing",
        data="compressor.data.images.kind:IMAGES",
        families={
            "timm": "compressor.models.timm.family:TIMM",
            "onnx": "compressor.models.onnx.family:ONNX",
            "mixture": "compressor.models.mixture.family:MIXTURE",
            "table": "compressor.models.table.family:TABLE",
        },
        damages="compressor.evaluation.image_damages:DAMAGES",
    ),
    "text": Modality(
        preprocessing="compressor.artifact.text.preprocessing:TextPreprocessing",
        data="compressor.data.text.kind:TEXTS",
        families={"bert": "compressor.models.text.family:BERT"},
        damages="compressor.evaluation.text_damages:DAMAGES",
    ),
    "language": Modality(
        preprocessing="compressor.artifact.text.window:WindowPreprocessing",
        data="compressor.data.language.kind:LANGUAGE",
        families={"gpt2": "compressor.models.text.gpt2_family:GPT2"},
        objective={"ce": {"weight": 0.5}, "kd": {"weight": 0.5, "temperature": 2}},
        task="lm",
    ),
    "masked": Modality(
        preprocessing="compressor.artifact.text.masked:MaskedPreprocessing",
        data="compressor.data.language.masked:MASKED",
        families={"bert_mlm": "compressor.models.text.masked_family:MASKED"},
        # DistilBERT's triple loss (Sanh et al. 2019; weights and temperature of its published training), with `kd` at the
        # places that are asked about, where that compares all tokens: a row of 30,522 logits for each.
        objective={
            "ce": {"weight": 2},
            "kd": {"weight": 5, "temperature": 2},
            "cosine": {"weight": 1, "on": "maps"},
        },
        task="mlm",
    ),
}
"""The first is what files, cards and recipes mean that name none: they were made when there was no other."""

DEFAULT = next(iter(MODALITIES))
FIRST_FAMILY = next(iter(MODALITIES[DEFAULT].families))
"""What a card means that names no family."""


def modality(name: str) -> Modality:
    """The entry of a name. Raises UsageError for an unknown one."""
    if name not in MODALITIES:
        raise UsageError(unknown("modality", name, MODALITIES))
    return MODALITIES[name]


def part(reference: str) -> Any:
    """What `module:name` refers to, imported now."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)
