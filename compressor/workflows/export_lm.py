"""A causal language model, a folder's or one that was trained here, to one ONNX file that writes on by itself."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor import runfolder
from compressor.artifact.text import language, sources
from compressor.artifact.text.window import WindowPreprocessing
from compressor.data.dataset import Dataset
from compressor.errors import UsageError
from compressor.evaluation.perplexity import of_text, perplexity
from compressor.exporting import causal
from compressor.exporting.causal import export_causal
from compressor.exporting.document import Parity
from compressor.exporting.export import write_metadata
from compressor.files import replacing
from compressor.models.checkpoint import Card
from compressor.models.text import gpt2_weights
from compressor.models.text.gpt2 import Gpt2, Gpt2Architecture
from compressor.progress import Progress
from compressor.quantization import cpus
from compressor.quantization import language as integers
from compressor.quantization.config import ArtifactsConfig
from compressor.quantization.document import ArtifactEntry

PRECISIONS = ("fp32", "int8")
MOST = 50_000
"""Tokens of the validation text that an int8 file is judged by."""
GATE = 8
"""Stretches of the validation text that the gate reads."""


def reads(path: Path, card: Card) -> dict[str, Any]:
    """How the text is read that a language model was trained on: by its own tokens, in windows as long; nothing of others."""
    own = card.preprocessing
    if not isinstance(own, WindowPreprocessing) or not isinstance(card.architecture, Gpt2Architecture):
        return {}
    return {"task": "lm", "options": {"tokenizer": str(path.absolute()), "length": own.length}}


def export_trained(
    model: Gpt2,
    card: Card,
    path: Path,
    *,
    precision: str,
    config: ArtifactsConfig,
    dataset: Dataset,
    recipe: str | None,
    fp32: Path | None,
    progress: Progress,
) -> dict[str, Any]:
    """Writes the file of a model that was trained here, checked on validation text, and measures it on the test text.

    A teacher's float file is not what ships: on its own test text it has the figures of the model that it was found equal to.

    Args:
        fp32: the float file that an int8 one is made from, where that has just been exported.

    Returns:
        `bytes`, `parity` and `language`, for its entry.

    Raises:
        UsageError: another precision than fp32 or int8.
        ParityError: the file does not reproduce the model.
        CompressorError: int8 adds too much to the perplexity.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"{precision}: a language model is exported in {' or '.join(PRECISIONS)}")
    setup = dataset.setup
    tokens = setup.stream("validation")
    apart = max(1, len(tokens) // GATE)
    texts = [setup.tokenizer.decode(tokens[at : at + setup.length].tolist()) for at in range(0, len(tokens), apart)]
    known = {key: value for key, value in card.dataset.items() if value is None or isinstance(value, str | int | float)}

    def exported(file: Path) -> Parity:
        return export_causal(
            model, setup.tokenizer, file, role=card.role, opset=config.opset, texts=texts[:GATE], recipe=recipe,
            dataset=known, window=setup.length, progress=progress,
        ).parity  # fmt: skip

    if precision == "fp32":
        seen = exported(path)
    else:
        with tempfile.TemporaryDirectory() as folder:
            if fp32 is None:
                exported(fp32 := Path(folder) / runfolder.BESIDE)
            _quantised(fp32, path, tokens, config, progress)
        seen = causal.check(model, path, [setup.tokenizer.ids(text) for text in texts[:GATE]])
    same = precision == "fp32" and dataset.unchanged_since(str(card.dataset.get("fingerprint")))
    told = card.language.get("test") if card.role == "teacher" and same else None
    told = told or of_text(
        language.load(path).logits, setup.tokenizer, setup.stream("test"), setup.bytes("test"), length=setup.length,
        progress=progress,
    )  # fmt: skip
    return {"bytes": path.stat().st_size, "parity": seen, "language": told}


def _quantised(fp32: Path, path: Path, tokens: NDArray[np.int32], config: ArtifactsConfig, progress: Progress) -> None:
    """The int8 file of a float one, where the validation text's perplexity allows it."""
    target = config.int8.target
    types = cpus.TARGETS[cpus.detect() if target == "auto" else target]
    if not cpus.runs_here(types.target):
        raise UsageError(f"a language model's int8 file is judged by running it, and {types.target} is not this CPU")
    with replacing(path) as unfinished:
        integers.quantise(fp32, unfinished, types)
        about = language.load(fp32).about
        found = [
            perplexity(
                language.load(file).logits, tokens[:MOST], length=about.generation.window or MOST, progress=progress
            )
            for file in (unfinished, fp32)
        ]
        added = integers.gate(found[0].nll, found[1].nll)
        told = types.as_dict() | {"added_perplexity": added}
        write_metadata(unfinished, about.model_copy(update={"precision": "int8", "int8": told, "parity": None}))
    progress.say(f"int8 adds {100 * added:.2f} % to the perplexity of the validation text")


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
