"""`predict`: labels and probabilities, from the exported file alone. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from compressor import runfolder
from compressor.artifact import session
from compressor.artifact.preprocessing import open_image, to_pixels
from compressor.data.folder import SUFFIXES
from compressor.errors import CompressorError, UsageError
from compressor.packages import require
from compressor.progress import Progress
from compressor.quantization.cpus import open_artifact


def label(model: str, names: list[str], *, top: int, provider: str, progress: Progress) -> list[dict[str, Any]]:
    """Per image its `top` classes with calibrated probabilities, or why it could not be read.

    Raises:
        UsageError: no images.
        ArtifactError: the file is no self-describing ONNX file.
    """
    require("onnxruntime")
    path = Path(model)
    if path.suffix != ".onnx":
        path = runfolder.open_run(model).artifact("fp32")
        if not path.is_file():
            raise UsageError(f"run '{model}' has no exported file yet; make one: compress export {model}")
    artifact = open_artifact(path, progress, provider)
    metadata = artifact.metadata
    answers: list[dict[str, Any]] = []
    for image in _images(names):
        try:
            pixels = to_pixels(open_image(image), metadata.preprocessing)
        except OSError as error:
            answers.append({"image": str(image), "error": str(error)})
            continue
        logits = artifact.logits(pixels[None], metadata.preprocessing)[0]
        if len(logits) != len(metadata.classes):
            raise CompressorError(f"{path} gives {len(logits)} logits for {len(metadata.classes)} classes")
        probabilities = session.softmax(logits, metadata.temperature or 1.0)
        best = np.argsort(-probabilities, kind="stable")[:top]
        found = [{"class": metadata.classes[i], "probability": float(probabilities[i])} for i in best]
        answers.append({"image": str(image), "classes": found})
    return answers


def _images(names: list[str]) -> list[Path]:
    found: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise UsageError(f"folder '{name}' holds no images ({', '.join(sorted(SUFFIXES))})")
            found += inside
        else:
            found.append(path)
    if not found:
        raise UsageError("no images given")
    return found
