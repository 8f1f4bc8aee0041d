"""What an exported file knows of its data's lengths."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compressor.artifact import session
from compressor.artifact.images import ImagePreprocessing
from compressor.artifact.text.preprocessing import TextPreprocessing
from compressor.benchmarking.cells import cells
from compressor.benchmarking.config import BenchmarkConfig
from compressor.data.config import DataConfig
from compressor.data.load import load_dataset
from compressor.models.checkpoint import Card
from compressor.models.text.bert import TextArchitecture
from compressor.models.weights import build
from compressor.progress import Silent
from compressor.quantization.config import ArtifactsConfig
from compressor.workflows.export import export_one
from tests.benchmarking.tokens import TOKENIZER, TOKENS


def test_an_export_writes_the_validation_texts_lengths_into_the_file(tmp_path: Path, torchscript: None) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcdefgh"), n)) for n in rng.integers(1, 20, 300)]
    lines = [f'{{"text": "{text}", "label": "{i % 2}"}}' for i, text in enumerate(texts)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    dataset = load_dataset(DataConfig(source=str(tmp_path / "rows.jsonl")))
    architecture = TextArchitecture(
        name="tiny", classes=2, layers=1, hidden=8, heads=2, intermediate=8, vocabulary=len(TOKENS), positions=64
    )
    card = Card(
        architecture=architecture, classes=dataset.classes, modality="text", role="student", origin="scratch",
        preprocessing=TextPreprocessing(tokenizer=TOKENIZER, max_length=16), dataset=dict(dataset.card()),
        params=1, macs=1,
    )  # fmt: skip
    path = tmp_path / "student.onnx"
    export_one(
        build(architecture), card, path, precision="fp32", config=ArtifactsConfig(parity_samples=4), dataset=dataset,
        run=None, recipe=None, progress=Silent(),
    )  # fmt: skip
    found = session.load(path).metadata.lengths
    assert found is not None
    own = [min(len(dataset.read(int(i)).split()) + 2, 16) for i in dataset.splits["validation"]]  # with [CLS] and [SEP]
    assert (found[0], found[-1]) == (min(own), max(own))
    assert abs(found[len(found) // 2] - np.median(own)) <= 1
    assert [cell.length for cell in cells({"m": path}, BenchmarkConfig())] == ["data", 8]


def test_images_have_no_length_and_none_is_read_for_it() -> None:
    assert ImagePreprocessing(size=8).lengths(1 / 0 for _ in range(3)) is None
