"""One step of DistilBERT's triple loss, from token numbers to each term, against float64 written from the formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import erf

from compressor.distillation.teacher import FrozenTeacher, wire
from compressor.errors import UsageError
from compressor.modalities import UNLABELLED
from compressor.models.family import Known
from compressor.models.outputs import Outputs
from compressor.models.text.family import BERT
from compressor.models.text.masked_family import MASKED
from compressor.models.weights import build, initialise, load_matching
from compressor.objectives.config import ObjectiveConfig
from compressor.objectives.objective import Objective, Signals
from tests.models.text import folders, masked_folders
from tests.models.text.helpers import SETUP, given, known, loaded

Array = NDArray[np.float64]

LAYERS = (0, 2, 4, 7, 9, 11)
TRIPLE = {"kd": {"weight": 5, "temperature": 2}, "ce": {"weight": 2}, "cosine": {"weight": 1, "on": "maps"}}
HIDDEN = {(0, 3): 7, (0, 6): 20, (1, 1): 11}
"""(text, token) → what stood there."""


def hidden_states(weights: dict[str, Array], layers: tuple[int, ...], ids: Any, mask: Any, types: Any) -> Array:
    """BERT by its paper and its code's names, one text at a time; the last states of the tokens that are no padding."""

    def linear(x: Array, name: str) -> Array:
        return x @ weights[f"bert.{name}.weight"].T + weights[f"bert.{name}.bias"]

    def norm(x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return np.asarray(scaled * weights[f"bert.{name}.weight"] + weights[f"bert.{name}.bias"])

    found = []
    for text in range(len(ids)):
        length = int(mask[text].sum())
        x = sum(
            weights[f"bert.embeddings.{kind}_embeddings.weight"][index]
            for kind, index in (
                ("word", ids[text, :length]), ("position", np.arange(length)), ("token_type", types[text, :length])
            )
        )  # fmt: skip
        x = norm(np.asarray(x), "embeddings.LayerNorm")
        for layer in (f"encoder.layer.{i}" for i in layers):
            q, k, v = (linear(x, f"{layer}.attention.self.{part}") for part in ("query", "key", "value"))
            heads = []
            for head in (slice(0, 8), slice(8, 16)):
                scores = np.exp(q[:, head] @ k[:, head].T / np.sqrt(8))
                heads.append(scores / scores.sum(1, keepdims=True) @ v[:, head])
            seen = linear(np.concatenate(heads, 1), f"{layer}.attention.output.dense")
            x = norm(x + seen, f"{layer}.attention.output.LayerNorm")
            inner = linear(x, f"{layer}.intermediate.dense")
            inner = inner * 0.5 * (1 + erf(inner / np.sqrt(2)))
            x = norm(x + linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
        found.append(x)
    return np.concatenate(found)


def softmax(x: Array) -> Array:
    exponents = np.exp(x - x.max(1, keepdims=True))
    return np.asarray(exponents / exponents.sum(1, keepdims=True))


def published(weights: dict[str, Array]) -> dict[str, float]:
    """Sanh et al. 2019 and `distiller.py:step`: each term on the tokens that are no padding, or on the masked ones."""
    batch = folders.batch()
    words = weights["bert.embeddings.word_embeddings.weight"]
    states = [hidden_states(weights, layers, *batch.values()) for layers in (LAYERS, tuple(range(12)))]
    student, teacher = (state @ words.T for state in states)
    p, q = softmax(teacher / 2), softmax(student / 2)
    labels = masked_labels(batch["attention_mask"])
    rows = np.flatnonzero(labels != UNLABELLED)
    a, b = states
    cosines = (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return {
        "kd": 2**2 * float((p * np.log(p / q)).sum(1).mean()),
        "ce": float(-np.log(softmax(student)[rows, labels[rows]]).mean()),
        "cosine": float((1 - cosines).mean()),
    }


def masked_labels(mask: Any) -> NDArray[np.int64]:
    labels = np.full(mask.shape, UNLABELLED)
    for place, word in HIDDEN.items():
        labels[place] = word
    return np.asarray(labels[mask.astype(bool)])


def test_one_step_of_the_triple_loss_is_the_published_one(tmp_path: Path) -> None:
    folder = folders.write(tmp_path, num_hidden_layers=12)
    about = known(folder)
    teacher = loaded(folder).model
    architecture, preprocessing = BERT.describe("layers:6", classes=2, setup=SETUP, stem="keep", teacher=about)
    student = build(architecture).eval()
    load_matching(student, BERT.shrunk(teacher, architecture), source="the teacher")
    config = ObjectiveConfig.model_validate(TRIPLE)
    wiring = wire(student, preprocessing, FrozenTeacher(teacher, preprocessing), config)
    own = BERT.forward(student, given(), taps=wiring.student_taps)
    other = BERT.forward(teacher, given(), taps=wiring.teacher_taps)

    def named(said: Outputs, model: torch.nn.Module) -> torch.Tensor:
        """Words, through the embedding's own weights, as BERT's decoder."""
        return said.maps[-1][:, :, 0, 0] @ model.get_parameter("words.weight").T

    objective = Objective(config, wiring.widths)
    total, parts = objective(
        Signals(
            labels=torch.from_numpy(masked_labels(folders.batch()["attention_mask"])),
            student_logits=named(own, student), teacher_logits=named(other, teacher).detach(),
            student_maps=wiring.student_maps(own), teacher_maps=wiring.teacher_maps(other),
        )
    )  # fmt: skip
    weights = {
        name: tensor.double().numpy()
        for name, tensor in folders.weights(folders.CONFIG | {"num_hidden_layers": 12}).items()
    }
    expected = published(weights)
    assert not list(objective.parameters())
    for name, value in expected.items():
        assert value > 0.01
        assert parts[name].item() == pytest.approx(value, abs=1e-5), name
    assert total.item() == pytest.approx(5 * expected["kd"] + 2 * expected["ce"] + expected["cosine"], abs=1e-4)


def spoken(weights: dict[str, Array], states: Array) -> Array:
    """BERT's decoder (Devlin et al. 2019, `get_masked_lm_output`): dense, gelu, layer norm, the words' table, a bias."""
    head = {name.removeprefix("cls.predictions."): value for name, value in weights.items() if name.startswith("cls.")}
    x = states @ head["transform.dense.weight"].T + head["transform.dense.bias"]
    x = x * 0.5 * (1 + erf(x / np.sqrt(2)))
    centred = x - x.mean(-1, keepdims=True)
    x = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
    x = x * head["transform.LayerNorm.weight"] + head["transform.LayerNorm.bias"]
    return np.asarray(x @ weights["bert.embeddings.word_embeddings.weight"].T + head["bias"])


def test_one_step_of_a_masked_language_model_is_the_published_one(tmp_path: Path) -> None:
    """From windows to the three terms: the head is BERT's own, kd and ce are of the masked places, cosine of all tokens."""
    folder = masked_folders.write(tmp_path, num_hidden_layers=12)
    setup, tokens = masked_folders.setup(folder), len(folders.TOKENS)
    about, preprocessing = MASKED.describe(str(folder), classes=tokens, setup=setup, stem="keep")
    teacher = masked_folders.loaded(folder).model
    known_teacher = Known(architecture=about, preprocessing=preprocessing, model=lambda: teacher)
    architecture, _ = MASKED.describe("layers:6", classes=tokens, setup=setup, stem="keep", teacher=known_teacher)
    student = initialise(architecture, "auto", role="student", teacher=known_teacher).model.eval()
    config = ObjectiveConfig.model_validate(TRIPLE)
    wiring = wire(student, preprocessing, FrozenTeacher(teacher, preprocessing), config)
    ids, places = masked_folders.batch()
    labels = np.random.default_rng(2).integers(5, tokens, places.numel())
    own = MASKED.forward(student, (ids, places), taps=wiring.student_taps)
    with torch.no_grad():
        other = MASKED.forward(teacher, (ids, places), taps=wiring.teacher_taps)
    objective = Objective(config, wiring.widths)
    total, parts = objective(
        Signals(
            labels=torch.from_numpy(labels), student_logits=own.logits, teacher_logits=other.logits,
            student_maps=wiring.student_maps(own), teacher_maps=wiring.teacher_maps(other),
        )
    )  # fmt: skip

    read = masked_folders.weights(folders.CONFIG | {"num_hidden_layers": 12})
    weights = {name: tensor.double().numpy() for name, tensor in read.items()}
    ones = np.ones_like(ids.numpy())
    a, b = (hidden_states(weights, layers, ids.numpy(), ones, 0 * ones) for layers in (LAYERS, tuple(range(12))))
    rows = (np.arange(len(ids))[:, None] * ids.shape[1] + places.numpy()).reshape(-1)
    q, p = softmax(spoken(weights, a[rows]) / 2), softmax(spoken(weights, b[rows]) / 2)
    hard = softmax(spoken(weights, a[rows]))[np.arange(len(labels)), labels]
    expected = {
        "kd": 2**2 * float((p * np.log(p / q)).sum(1).mean()),
        "ce": float(-np.log(hard).mean()),
        "cosine": float((1 - (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))).mean()),
    }
    assert not list(objective.parameters())
    for name, value in expected.items():
        assert value > 0.01
        assert parts[name].item() == pytest.approx(value, abs=1e-5), name
    assert total.item() == pytest.approx(5 * expected["kd"] + 2 * expected["ce"] + expected["cosine"], abs=1e-4)


def test_hidden_states_and_relations_teach_a_narrower_student(tmp_path: Path) -> None:
    """Every term that texts know, wired and stepped through: each parameter but those of the unused classifier moves."""
    folder = folders.write(tmp_path, num_hidden_layers=4, num_attention_heads=4)
    about, teacher = known(folder), loaded(folder).model
    architecture, preprocessing = BERT.describe("layers:2,hidden:8", classes=5, setup=SETUP, stem="keep", teacher=about)
    student = build(architecture)
    config = ObjectiveConfig.model_validate(
        {"ce": {}, "kd": {}, "dkd": {}, "dist": {}, "hint": {"on": "both"}, "rkd": {}, "similarity": {}, "minilm": {},
         "cosine": {"on": "maps"}}
    )  # fmt: skip
    frozen = FrozenTeacher(teacher, about.preprocessing)
    wiring = wire(student, preprocessing, frozen, config)
    own = BERT.forward(student, given(), embedding=wiring.embedding, taps=wiring.student_taps)
    views = {name: torch.from_numpy(array) for name, array in folders.batch().items()}
    other = frozen.targets(views, embedding=wiring.embedding, taps=wiring.teacher_taps)
    total, parts = Objective(config, wiring.widths)(
        Signals(
            labels=torch.tensor([0, 1, 2]), student_logits=own.logits, teacher_logits=other.logits,
            student_embedding=own.embedding, teacher_embedding=other.embedding,
            student_maps=wiring.student_maps(own), teacher_maps=wiring.teacher_maps(other),
            student_relations=own.relations, teacher_relations=other.relations,
        )
    )  # fmt: skip
    total.backward()
    assert parts["minilm"] > 0
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in student.parameters())


@pytest.mark.parametrize("terms", [{"attention": {}}, {"similarity": {"on": "maps"}}])
def test_terms_on_height_and_width_refuse_texts(terms: dict[str, Any], tmp_path: Path) -> None:
    about = known(folders.write(tmp_path))
    model = build(about.architecture)
    with pytest.raises(UsageError, match="a text has none"):
        wire(
            model, about.preprocessing, FrozenTeacher(model, about.preprocessing), ObjectiveConfig.model_validate(terms)
        )


@pytest.mark.parametrize(("heads", "refused"), [(8, False), (5, True)])
def test_relation_heads_must_divide_both_widths(heads: int, refused: bool, tmp_path: Path) -> None:
    about = known(folders.write(tmp_path))
    model = build(about.architecture)
    teacher, config = (
        FrozenTeacher(model, about.preprocessing),
        ObjectiveConfig.model_validate({"minilm": {"heads": heads}}),
    )
    if refused:
        with pytest.raises(UsageError, match="does not divide"):
            wire(model, about.preprocessing, teacher, config)
    else:
        assert wire(model, about.preprocessing, teacher, config).embedding
