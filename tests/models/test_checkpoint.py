"""What was written before there were modalities is read as what it was: images, timm."""

from __future__ import annotations

from pathlib import Path

from compressor.artifact import metadata
from compressor.artifact.images import ImagePreprocessing
from compressor.models.checkpoint import read_card
from compressor.models.timm.build import TimmArchitecture

CARD = """{
  "schema_version": 1,
  "architecture": {"name": "mobilenetv3_small_050", "classes": 2, "image_size": 32, "stem": "stride1"},
  "classes": ["cat", "dog"],
  "preprocessing": {
    "size": 32, "crop_pct": 0.9, "interpolation": "bicubic", "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]
  },
  "role": "student",
  "origin": "scratch",
  "seed": 0,
  "dataset": {"name": "pets", "content": "c", "split": "s", "fingerprint": "f", "seed": 0},
  "params": 578474,
  "macs": 2288448,
  "temperature": 1.25
}"""

METADATA = (
    '{"schema_version":1,"name":"mobilenetv3_small_050","role":"student","classes":["cat","dog"],'
    '"preprocessing":{"size":32,"crop_pct":0.9,"interpolation":"bicubic",'
    '"mean":[0.5,0.5,0.5],"std":[0.25,0.25,0.25]},'
    '"stem":"stride1","precision":"fp32","input":"normalised","output":"logits","dataset":{"name":"pets"},'
    '"recipe":null,"temperature":1.25,"top1":0.9,"parity":null,"int8":null,"macs":2288448,"params":578474}'
)

SEEN = ImagePreprocessing(size=32, crop_pct=0.9, interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def test_a_card_of_before_is_an_image_model_of_timms(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(CARD)
    card = read_card(tmp_path / "model.json")
    assert card.modality == "image"
    assert card.preprocessing == SEEN
    assert card.architecture == TimmArchitecture(name="mobilenetv3_small_050", classes=2, image_size=32, stem="stride1")
    assert card.architecture.family == "timm"
    assert card.temperature == 1.25


def test_the_metadata_of_a_file_of_before_is_of_images() -> None:
    found = metadata.parse(METADATA, "old.onnx")
    assert found.modality == "image"
    assert found.preprocessing == SEEN
    assert (found.stem, found.temperature, found.top1) == ("stride1", 1.25, 0.9)
