"""Our BERT against what `transformers` answers, and what the family promises of it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from compressor.errors import CheckpointError, UsageError
from compressor.models import hub
from compressor.models.cost import macs
from compressor.models.outputs import pair
from compressor.models.text import names
from compressor.models.text.bert import Bert, TextArchitecture
from compressor.models.text.family import BERT
from compressor.models.weights import Loaded, build, initialise, load_matching
from tests.models.text import folders, make_golden

SETUP = SimpleNamespace(pair=False, max_length=None, mask=0.0)


def loaded(folder: Path, classes: int = folders.CLASSES) -> Loaded:
    name = BERT.resolve(str(folder), "teacher")
    architecture, _ = BERT.describe(name, classes=classes, setup=SETUP, stem="keep")
    found = initialise(architecture, "pretrained", role="teacher")
    found.model.eval()
    return found


def given() -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(array) for array in folders.batch().values())


def known(folder: Path) -> Any:
    """What a student is told of its teacher."""
    architecture, preprocessing = BERT.describe(str(folder), classes=folders.CLASSES, setup=SETUP, stem="keep")
    return SimpleNamespace(architecture=architecture, preprocessing=preprocessing)


def agrees(folder: Path, logits: np.ndarray[Any, Any], hidden: np.ndarray[Any, Any]) -> None:
    """Logits and each layer's states of the real tokens, to 1e-5."""
    model = loaded(folder).model
    with torch.no_grad():
        said = BERT.forward(model, given(), taps=tuple(range(len(hidden))))
        assert torch.equal(said.logits, model(*given()))
    real = folders.batch()["attention_mask"].astype(bool)
    np.testing.assert_allclose(said.logits.numpy(), logits, atol=1e-5, rtol=0)
    for ours, theirs in zip(said.maps, hidden, strict=True):
        np.testing.assert_allclose(ours.numpy()[:, :, 0, 0], theirs[real], atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", folders.CASES)
def test_logits_and_every_hidden_state_are_what_transformers_answered(case: str, tmp_path: Path) -> None:
    with np.load(make_golden.GOLDEN) as golden:
        agrees(folders.write(tmp_path, **folders.CASES[case]), golden[f"{case}/logits"], golden[f"{case}/hidden"])


@pytest.mark.slow
@pytest.mark.parametrize("case", folders.CASES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_logits_and_every_hidden_state_are_what_transformers_answers(case: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    folder = folders.write(tmp_path, **folders.CASES[case])
    agrees(folder, **make_golden.answers(folder))


def test_padding_changes_nothing(tmp_path: Path) -> None:
    model = loaded(folders.write(tmp_path)).model
    ids, mask, types = given()
    with torch.no_grad():
        short, long = (model(t[1:2, :5], t2[1:2, :5], t3[1:2, :5]) for t, t2, t3 in [(ids, mask, types)] * 2)
        long = model(ids[1:2], mask[1:2], types[1:2])
    torch.testing.assert_close(short, long, atol=1e-6, rtol=0)


def test_a_batch_is_cut_to_its_longest_text(tmp_path: Path) -> None:
    about = known(folders.write(tmp_path))
    inputs = {
        "input_ids": torch.arange(12, dtype=torch.int32).view(2, 6),
        "attention_mask": torch.tensor([[1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]], dtype=torch.uint8),
        "token_type_ids": torch.zeros(2, 6, dtype=torch.uint8),
    }
    prepared = BERT.prepare(inputs, about.preprocessing)
    assert [(tuple(t.shape), t.dtype) for t in prepared] == [((2, 4), torch.int64)] * 3
    assert prepared[0][1].tolist() == [6, 7, 8, 9]


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


def test_distilberts_layers_are_the_published_ones() -> None:
    assert names.kept(6, 12) == (0, 2, 4, 7, 9, 11)
    assert names.kept(3, 6) == (0, 2, 5)
    assert names.kept(1, 6) == (0,)
    assert names.kept(12, 12) == tuple(range(12))


def test_a_students_first_weights_are_exactly_its_teachers_layers(tmp_path: Path) -> None:
    folder = folders.write(tmp_path, num_hidden_layers=5)
    teacher = loaded(folder).model
    architecture, preprocessing = BERT.describe("layers:3", classes=7, setup=SETUP, stem="keep", teacher=known(folder))
    assert (architecture.layers, architecture.kept, architecture.source) == (3, (0, 2, 4), None)
    assert preprocessing == known(folder).preprocessing
    student = build(architecture)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    assert not load_matching(student, BERT.shrunk(teacher, architecture), source="the teacher")
    for name, tensor in student.state_dict().items():
        old = name
        for new, place in enumerate(architecture.kept):
            if name.startswith(f"layers.{new}."):
                old = name.replace(f"layers.{new}.", f"layers.{place}.", 1)
        expected = before[name] if name.startswith("classifier.") else teacher.state_dict()[old]
        assert torch.equal(tensor, expected), name


def test_a_student_shares_no_memory_with_its_teacher(tmp_path: Path) -> None:
    folder = folders.write(tmp_path)
    teacher = loaded(folder).model
    architecture, _ = BERT.describe("layers:1", classes=2, setup=SETUP, stem="keep", teacher=known(folder))
    taken = BERT.shrunk(teacher, architecture)
    taken["words.weight"].zero_()
    assert teacher.get_parameter("words.weight").abs().sum() > 0


def test_a_narrower_student_is_fresh_and_keeps_the_heads_width(tmp_path: Path) -> None:
    folder = folders.write(tmp_path)
    architecture, _ = BERT.describe("layers:2,hidden:8", classes=2, setup=SETUP, stem="keep", teacher=known(folder))
    assert (architecture.hidden, architecture.heads, architecture.intermediate, architecture.kept) == (8, 1, 12, ())
    with pytest.raises(UsageError, match="another width"):
        BERT.shrunk(loaded(folder).model, architecture)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("layers:3", "more layers than its teacher"),
        ("layers:1,hidden:10", "multiple of 8"),
        ("layers:1,hidden:24", "at most 16"),
    ],
)
def test_a_student_larger_than_its_teacher_is_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        BERT.describe(name, classes=2, setup=SETUP, stem="keep", teacher=known(folders.write(tmp_path)))


@pytest.mark.parametrize("name", ["layers:3", "bert_tiny"])
def test_a_name_without_tokens_needs_a_teacher(name: str) -> None:
    with pytest.raises(UsageError, match="give an encoder as --teacher"):
        BERT.describe(name, classes=2, setup=SETUP, stem="keep")


def test_a_size_by_name_reads_its_teachers_tokens(tmp_path: Path) -> None:
    architecture, preprocessing = BERT.describe(
        "bert_tiny", classes=2, setup=SimpleNamespace(pair=True, max_length=64, mask=0.0), stem="keep",
        teacher=known(folders.write(tmp_path)),
    )  # fmt: skip
    assert (architecture.layers, architecture.hidden, architecture.heads, architecture.vocabulary) == (2, 128, 2, 31)
    assert (preprocessing.max_length, preprocessing.pair) == (40, True)
    with pytest.raises(UsageError, match="nobody publishes"):
        BERT.pretrained(architecture)


@pytest.mark.parametrize("spelled", ["layers:", "layers:0", "layers:3,hidden:", "bert_smal", "no/such/folder"])
def test_a_name_that_means_nothing_is_refused(spelled: str) -> None:
    with pytest.raises(UsageError, match=r"layers:3, or layers:3,hidden:192|bert_small"):
        BERT.resolve(spelled, "student")


def test_kin_are_the_sizes_between() -> None:
    assert BERT.kin("layers:2")[:2] == ["layers:3", "layers:4"]
    assert BERT.kin("layers:2,hidden:64")[0] == "layers:3,hidden:64"
    assert "bert_mini" in BERT.kin("bert_tiny")


def test_fresh_weights_are_berts(tmp_path: Path) -> None:
    architecture, _, inputs = BERT.untrained("bert_tiny", 12)
    torch.manual_seed(0)
    model = build(architecture)
    assert model.get_parameter("words.weight").std().item() == pytest.approx(0.02, rel=0.02)
    for name, parameter in model.named_parameters():
        norm = "norm" in name
        assert not name.endswith("bias") or parameter.abs().sum() == 0
        assert not (norm and name.endswith("weight")) or bool((parameter == 1).all())
    prepared = tuple(torch.from_numpy(array).long() for array in inputs.values())
    assert tuple(model.eval()(*prepared).shape) == (4, 2)


def test_dropout_is_for_training_alone(tmp_path: Path) -> None:
    model = loaded(folders.write(tmp_path)).model
    assert torch.equal(model(*given()), model(*given()))
    model.train()
    assert not torch.equal(model(*given()), model(*given()))


def test_layers_are_paired_with_those_they_were_copied_from(tmp_path: Path) -> None:
    about = known(folders.write(tmp_path, num_hidden_layers=12))
    student, _ = BERT.describe("layers:6", classes=2, setup=SETUP, stem="keep", teacher=about)
    own, other = (BERT.taps(build(a), about.preprocessing)[0] for a in (student, about.architecture))
    assert [(p.student.index, p.teacher.index) for p in pair(own, other)] == list(enumerate((0, 2, 4, 7, 9, 11)))
    fresh, _ = BERT.describe("layers:4,hidden:8", classes=2, setup=SETUP, stem="keep", teacher=about)
    own = BERT.taps(build(fresh), about.preprocessing)[0]
    assert [(p.student.index, p.teacher.index) for p in pair(own, other)] == [(0, 2), (1, 5), (2, 8), (3, 11)]


def test_a_forwards_cost_is_what_it_multiplies() -> None:
    about = TextArchitecture(name="x", classes=2, layers=2, hidden=16, heads=2, intermediate=24, vocabulary=31)
    length, example = (
        10,
        (
            torch.zeros(1, 10, dtype=torch.int64),
            torch.ones(1, 10, dtype=torch.int64),
            torch.zeros(1, 10, dtype=torch.int64),
        ),
    )
    layer = length * (4 * 16 * 16 + 2 * 16 * 24) + 2 * length * length * 16
    assert macs(Bert(about), example) == 2 * layer + 16 * 16 + 16 * 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*will not be used:UserWarning")
def test_a_graph_answers_at_every_length(tmp_path: Path) -> None:
    import onnxruntime

    model = loaded(folders.write(tmp_path)).model
    path, sides = tmp_path / "model.onnx", {0: torch.export.Dim("batch", min=1, max=4096)}
    length = torch.export.Dim("length", min=1, max=40)
    example = tuple(t[:2] for t in given())
    torch.onnx.export(
        model, example, str(path), dynamo=True, external_data=False, verbose=False, opset_version=20,
        input_names=list(BERT.input_names(raw=False)), output_names=["logits"],
        dynamic_shapes=tuple(sides | {1: length} for _ in example),
    )  # fmt: skip
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for batch, width in ((1, 3), (3, 8), (2, 33)):
        ids = rng.integers(5, 31, (batch, width))
        mask = np.ones_like(ids)
        mask[0, 2:] = 0
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        with torch.no_grad():
            expected = model(*(torch.from_numpy(array) for array in feed.values())).numpy()
        np.testing.assert_allclose(session.run(None, feed)[0], expected, atol=1e-5, rtol=0)
