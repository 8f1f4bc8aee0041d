"""A causal language model, a folder's or one that was trained here, to one ONNX file that writes on by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compressor import runfolder
from compressor.artifact.text import language, sources
from compressor.data.dataset import Dataset
from compressor.errors import UsageError
from compressor.evaluation.perplexity import of_text
from compressor.exporting.causal import export_causal
from compressor.models.checkpoint import Card
from compressor.models.text import gpt2_weights
from compressor.models.text.gpt2 import Gpt2
from compressor.progress import Progress
from compressor.quantization.config import ArtifactsConfig
from compressor.quantization.document import ArtifactEntry

GATE = 8
"""Stretches of the validation text that the gate reads."""


def export_trained(
    model: Gpt2,
    card: Card,
    path: Path,
    *,
    precision: str,
    opset: int,
    dataset: Dataset,
    recipe: str | None,
    progress: Progress,
) -> dict[str, Any]:
    """Writes the file of a model that was trained here, checked on validation text, and measures it on the test text.

    Returns:
        `bytes`, `parity` and `language`, for its entry.

    Raises:
        UsageError: another precision than fp32.
        ParityError: the file does not reproduce the model.
    """
    if precision != "fp32":
        raise UsageError(f"{precision}: a language model is exported in fp32 alone")
    setup = dataset.setup
    tokens = setup.stream("validation")
    apart = max(1, len(tokens) // GATE)
    texts = [setup.tokenizer.decode(tokens[at : at + setup.length].tolist()) for at in range(0, len(tokens), apart)]
    known = {key: value for key, value in card.dataset.items() if value is None or isinstance(value, str | int | float)}
    made = export_causal(
        model, setup.tokenizer, path, role=card.role, opset=opset, texts=texts[:GATE], recipe=recipe, dataset=known,
        window=setup.length, progress=progress,
    )  # fmt: skip
    read = language.load(path).logits
    told = of_text(
        read, setup.tokenizer, setup.stream("test"), setup.bytes("test"), length=setup.length, progress=progress
    )
    return {"bytes": made.bytes, "parity": made.parity, "language": told}


def export_folder(
    folder: Path, output: str | Path | None, data: str | Path | None, given: dict[str, Any], progress: Progress
) -> tuple[dict[str, Path], list[ArtifactEntry]]:
    """The file, by its precision, and its entry.

    Args:
        output: a file, or a folder for it; None: beside the weights.
        data: texts for the gate.
        given: other options of `compress export` that were given.

    Raises:
        UsageError: no GPT-2, or an option that is none of a language model's.
        ParityError: the file does not reproduce the model.
    """
    of_classifiers = sorted(
        given.keys() - {"opset"} - ({"precisions"} if given.get("precisions") == ["fp32"] else set())
    )
    if of_classifiers:
        named = ", ".join(
            "--precision" if key == "precisions" else f"--{key.replace('_', '-')}" for key in of_classifiers
        )
        raise UsageError(
            f"{named}: a language model is exported in fp32 with an open batch, and takes --output, --opset and --data"
        )
    path = folder if output is None else Path(output).expanduser()
    path = path if path.suffix == ".onnx" else path / runfolder.BESIDE
    opset = given.get("opset", ArtifactsConfig().opset)
    texts = [text for _, text in sources.named(str(data)) if isinstance(text, str)] if data is not None else []
    progress.say(f"exporting {folder} (fp32, with its cache)")
    model, tokenizer = gpt2_weights.loaded(str(folder))
    made = export_causal(model, tokenizer, path, opset=opset, texts=texts, progress=progress)
    entry = ArtifactEntry(
        file=path.as_posix(), role="model", precision="fp32", opset=opset, bytes=made.bytes, parity=made.parity
    )
    return {"fp32": path}, [entry]
