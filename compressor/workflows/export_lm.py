"""A folder with a causal language model, as others write it, to one ONNX file that writes on by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compressor import runfolder
from compressor.artifact.text import sources
from compressor.errors import UsageError
from compressor.exporting.causal import export_causal
from compressor.models.text import gpt2_weights
from compressor.progress import Progress
from compressor.quantization.config import ArtifactsConfig
from compressor.quantization.document import ArtifactEntry


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
