"""`predict`: labels and probabilities, from the exported file alone. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compressor import runfolder
from compressor.artifact import session
from compressor.artifact.session import Artifact
from compressor.display import surroundings
from compressor.errors import CompressorError, UsageError
from compressor.options import within
from compressor.packages import require
from compressor.progress import Progress
from compressor.quantization.cpus import open_artifact
from compressor.reporting import screen
from compressor.reporting.screen import Block, Shown, probabilities_are
from compressor.seeds import leaves_no_trace
from compressor.text import line


@dataclass(frozen=True, kw_only=True)
class PredictResult(Shown):
    """Answers, in the order of what was named."""

    document: list[dict[str, Any]]
    """Per thing `image` (its name) and `classes`, best first, each `class`, calibrated `probability` and `raw_probability`
    (at temperature 1), and the `temperature`, null where the file has none and both are raw; or `error`."""

    def blocks(self) -> list[Block]:
        """A line per thing that could be read; its probabilities are the calibrated ones."""
        return [f"{line(a['image'])}: {_best(a['classes'])}" for a in self.document if "error" not in a]

    @property
    def errors(self) -> list[str]:
        """What could not be read, and why."""
        return [f"{line(a['image'])}: {line(a['error'])}" for a in self.document if "error" in a]

    def _repr_html_(self) -> str:
        return screen.to_html([*self.blocks(), *(f"error: {text}" for text in self.errors)])


def _best(classes: list[dict[str, Any]]) -> str:
    return ", ".join(f"{c['class']} {c['probability']:.3f}" for c in classes)


@leaves_no_trace
def predict(
    model: str | Path,
    images: str | Path | Sequence[str | Path],
    *,
    top: int = 1,
    provider: str = "cpu",
    progress: Progress | None = None,
) -> PredictResult:
    """Labels and calibrated probabilities, from the exported file alone.

    Args:
        model: an ONNX file or a run.
        images: files and folders of what the model was made for; for a model of texts, texts too.
        top: how many classes to name for each.

    Raises:
        UsageError: nothing of the model's modality is there.
        ArtifactError: the file is no self-describing ONNX file.
    """
    progress = progress or surroundings()
    within("top", top, 1, 1_000_000)
    names = [str(name) for name in ([images] if isinstance(images, str | Path) else images)]
    require("onnxruntime")
    artifact = open_artifact(runfolder.exported(model), progress, provider)
    metadata = artifact.metadata
    found = [source for name in names for source in metadata.preprocessing.sources(name)]
    if not found:
        raise UsageError("nothing to predict: name a file, a folder or, for a model of texts, a text")
    progress.say(probabilities_are(metadata.temperature, metadata.temperature_of))
    return PredictResult(document=[_answer(artifact, shown, source, top) for shown, source in found])


def _answer(artifact: Artifact, shown: str, source: Any, top: int) -> dict[str, Any]:
    """The classes of one thing; of several rows one list each."""
    metadata = artifact.metadata
    try:
        inputs = metadata.preprocessing.encode([metadata.preprocessing.open(source)])
    except OSError as error:
        return {"image": shown, "error": str(error)}
    logits = artifact.logits(inputs)
    if logits.shape[1] != len(metadata.classes):
        raise CompressorError(f"{artifact.path} gives {logits.shape[1]} logits for {len(metadata.classes)} classes")
    rows = []
    raw = session.softmax(logits)
    for probabilities, before in zip(session.softmax(logits, metadata.temperature or 1.0), raw, strict=True):
        best = np.argsort(-probabilities, kind="stable")[:top]
        rows.append([
            {"class": metadata.classes[i], "probability": float(probabilities[i]), "raw_probability": float(before[i])}
            for i in best
        ])  # fmt: skip
    return {"image": shown, "classes": rows[0], "temperature": metadata.temperature} | (
        {"rows": rows} if len(rows) > 1 else {}
    )
