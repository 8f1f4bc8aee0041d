"""Folders and the hub: what is read, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from compressor.errors import CheckpointError, UsageError
from compressor.models import hub
from compressor.models.text.family import BERT
from compressor.models.weights import initialise
from tests.models.text import folders
from tests.models.text.helpers import SETUP, given, loaded


def test_a_classifier_of_the_same_size_is_taken_and_another_is_fresh(tmp_path: Path) -> None:
    folder = folders.write(tmp_path)
    found = loaded(folder)
    assert found.head_fits
    assert torch.equal(
        found.model.get_parameter("classifier.weight"), folders.weights(folders.CONFIG)["classifier.weight"]
    )
    assert not loaded(folder, classes=3).head_fits


def test_names_without_a_prefix_old_norms_and_other_heads_are_read(tmp_path: Path) -> None:
    state = folders.weights(folders.CONFIG)
    plain = {
        name.removeprefix("bert.").replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): tensor
        for name, tensor in state.items()
        if not name.startswith("classifier.")
    } | {"cls.predictions.bias": torch.zeros(31)}
    ours, theirs = loaded(folders.write(tmp_path / "a", plain)), loaded(folders.write(tmp_path / "b"))
    assert not ours.head_fits
    for name, tensor in theirs.model.state_dict().items():
        assert name.startswith("classifier.") or torch.equal(tensor, ours.model.state_dict()[name])


def test_weights_in_parts_and_pickled_tensors_are_read(tmp_path: Path) -> None:
    whole = loaded(folders.write(tmp_path / "whole")).model.state_dict()
    state = folders.weights(folders.CONFIG)
    parts, pickled = folders.write(tmp_path / "parts"), folders.write(tmp_path / "pickled")
    for folder in (parts, pickled):
        (folder / "model.safetensors").unlink()
    of = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(state)}
    for file in set(of.values()):
        save_file({name: state[name] for name in state if of[name] == file}, parts / file)
    (parts / "model.safetensors.index.json").write_text(json.dumps({"weight_map": of}))
    torch.save(state, pickled / "pytorch_model.bin")
    for folder in (parts, pickled):
        assert all(torch.equal(tensor, whole[name]) for name, tensor in loaded(folder).model.state_dict().items())


def test_an_index_can_name_no_file_outside_its_folder(tmp_path: Path) -> None:
    folder = folders.write(tmp_path / "inner")
    (folder / "model.safetensors").rename(tmp_path / "outside.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": "../outside.safetensors"}}))
    with pytest.raises(CheckpointError, match="outside"):
        loaded(folder)


def test_without_a_pooler_one_is_drawn_and_a_noted_mean_needs_none(tmp_path: Path) -> None:
    state = {k: v for k, v in folders.weights(folders.CONFIG).items() if "pooler" not in k}
    folder = folders.write(tmp_path, state)
    assert loaded(folder).model.get_parameter("pooler.weight").std().item() == pytest.approx(0.02, rel=0.2)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    model = loaded(folder).model
    ids, mask, types = given()
    with torch.no_grad():
        said = BERT.forward(model, (ids, mask, types), embedding=True, taps=(1,))
    means = [rows.mean(0) for rows in said.maps[0][:, :, 0, 0].split(mask.sum(1).tolist())]
    torch.testing.assert_close(said.embedding, torch.stack(means))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_type": "roberta"}, "type roberta, and only encoders of type bert"),
        ({"position_embedding_type": "relative_key"}, "relative_key positions"),
        ({"hidden_act": "silu"}, "activation silu"),
        ({"is_decoder": True}, "decoder"),
    ],
)
def test_what_is_no_plain_bert_is_refused_by_name(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = folders.write(tmp_path)
    (folder / "config.json").write_text(json.dumps(folders.CONFIG | changed))
    assert BERT.claims(folder)
    with pytest.raises(UsageError, match=message):
        BERT.describe(str(folder), classes=2, setup=SETUP, stem="keep")


def test_only_folders_with_a_model_of_transformers_are_claimed(tmp_path: Path) -> None:
    assert BERT.claims(folders.write(tmp_path / "bert"))
    other = folders.write(tmp_path / "timm")
    (other / "config.json").write_text('{"architecture": "resnet18"}')
    assert not BERT.claims(other)
    assert not BERT.claims(tmp_path)


def test_the_hubs_model_is_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def download(repository: str, revision: str | None = None, allow_patterns: list[str] | None = None) -> str:
        asked.append((repository, revision))
        assert allow_patterns is not None
        assert "vocab.txt" in allow_patterns
        return str(folders.write(tmp_path))

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr(hub, "reachable", lambda timeout=3.0: True)
    architecture, _ = BERT.describe("hf-hub:someone/model@0123abc", classes=5, setup=SETUP, stem="keep")
    assert initialise(architecture, "pretrained", role="teacher").head_fits
    assert architecture.name == "hf-hub:someone/model@0123abc"
    assert set(asked) == {("someone/model", "0123abc")}


def test_a_hub_that_refuses_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: Any, **__: Any) -> str:
        raise RuntimeError("404 not found\nlong trace")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    for online, reason in ((True, "404 not found"), (False, "the model hub can't be reached")):
        monkeypatch.setattr(hub, "reachable", lambda timeout=3.0, online=online: online)
        with pytest.raises(UsageError, match=f"hf-hub:a/b can't be fetched: {reason}"):
            BERT.describe("hf-hub:a/b", classes=2, setup=SETUP, stem="keep")
