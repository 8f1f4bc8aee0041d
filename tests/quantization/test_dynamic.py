"""int8 files of texts: integer products with ranges of each batch, tables as integers, and when the ladder keeps them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from compressor.artifact import session
from compressor.artifact.preprocessing import taken
from compressor.data.config import DataConfig
from compressor.data.load import load_dataset
from compressor.evaluation.predictions import predict_artifact
from compressor.evaluation.torch_predictor import predictor_of
from compressor.exporting import export as exporting
from compressor.exporting.config import ExportConfig
from compressor.progress import Silent
from compressor.quantization import cpus, ladder, speed
from compressor.quantization.config import Int8Config
from compressor.quantization.correct import plain_session
from compressor.quantization.cpus import TARGETS
from compressor.quantization.document import Speed
from compressor.quantization.dynamic import integer_sums
from compressor.quantization.quantize import candidates
from compressor.quantization.rewrites import prepare
from compressor.quantization.tables import store_tables
from tests.conftest import plain_exporter
from tests.models.text import folders, helpers
from tests.quantization.test_ladder import measured
from tests.workflows.test_text import write_texts

WORDS = 400
SIZES: dict[str, Any] = {"vocab_size": WORDS, "hidden_size": 32, "intermediate_size": 64, "max_position_embeddings": 40}


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> ladder.Job:
    """A float file of a tiny encoder with random weights, and texts that it is judged on."""
    home = tmp_path_factory.mktemp("text")
    folder = folders.write(home / "encoder", **SIZES)
    more = [f"w{i}" for i in range(WORDS - len(folders.TOKENS))]
    (folder / "vocab.txt").write_text("\n".join([*folders.TOKENS, *more]) + "\n")
    dataset = load_dataset(DataConfig(source=str(write_texts(home / "texts.csv"))))
    model, card, inputs = helpers.student(folder, dataset)
    path = home / "student.onnx"
    with pytest.MonkeyPatch.context() as patch:
        plain_exporter(patch)
        exporting.export(model, card, path, precision="fp32", config=ExportConfig(), inputs=inputs, recipe=None,
                         progress=Silent(), lengths=[5, 6, 13])  # fmt: skip
    return ladder.Job(fp32=path, dataset=dataset, reference=predictor_of(model, card.preprocessing), inputs=inputs)


def timing(ratios: dict[str, float], seen: list[Any] | None = None) -> Callable[..., Speed]:
    """A stopwatch that goes by how the file's name begins; `seen` gets the lengths that it was asked for."""

    def against(_: Path, int8: Path, *rest: Any, length: Any = None) -> Speed:
        if seen is not None:
            seen.append(length)
        ratio = next(ratio for start, ratio in ratios.items() if int8.name.startswith(start))
        return measured(ratio, "slower" if ratio > 1 else "faster")

    return against


def climb(job: ladder.Job, path: Path, **config: Any) -> ladder.Outcome:
    given = {"calibration_images": 16, "correction_images": 8, "most_float": 1, "max_drop": 10}
    return ladder.climb(job, path, Int8Config(**(given | config)), Silent())


def prepared(job: ladder.Job) -> onnx.ModelProto:
    return prepare(onnx.load(job.fp32), lambda _: None, Silent())[0]


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def answers(model: onnx.ModelProto, job: ladder.Job) -> NDArray[np.float32]:
    artifact = session.load(job.fp32)
    found: NDArray[np.float32] = plain_session(model).run(None, artifact.named(artifact.feed(job.inputs)))[0]
    return found


def test_every_product_with_constant_weights_is_one_of_integers_and_answers_stay_close(job: ladder.Job) -> None:
    model = prepared(job)
    nodes = candidates(model, ("MatMul", "Gemm"))
    before = model.SerializeToString(deterministic=True)
    made = integer_sums(model, TARGETS["x86-vnni"], nodes)
    assert model.SerializeToString(deterministic=True) == before
    assert kinds(made).count("MatMulInteger") == len(nodes) == 2 * 6 + 2
    # Query, key and value share one tensor, quantised once.
    assert kinds(made).count("DynamicQuantizeLinear") == 2 * 4 + 2
    expected, given = answers(model, job), answers(made, job)
    error = np.square(given - expected).mean() / np.square(expected).mean()
    assert 0 < error < 1e-2


def test_a_cpu_without_vnni_gets_weights_of_seven_bits(job: ladder.Job) -> None:
    model = prepared(job)
    for target, limit in (("x86-vnni", 127), ("x86", 64)):
        made = integer_sums(model, TARGETS[target], candidates(model, ("MatMul", "Gemm")))
        weights = [numpy_helper.to_array(i) for i in made.graph.initializer if i.data_type == TensorProto.INT8]
        assert max(np.abs(w.astype(int)).max() for w in weights) == limit


def looked_up(rows: int, width: int, *, also_added: bool = False) -> tuple[onnx.ModelProto, NDArray[np.float32]]:
    """A graph that looks numbers up in a table whose rows differ widely in size."""
    rng = np.random.default_rng(0)
    table = (rng.standard_normal((rows, width)) * 10.0 ** rng.uniform(-3, 1, (rows, 1))).astype(np.float32)
    table[3] = 0
    nodes = [onnx.helper.make_node("Gather", ["table", "numbers"], ["out"], "look", axis=0)]
    outputs = [onnx.helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", width])]
    if also_added:
        nodes.append(onnx.helper.make_node("ReduceSum", ["table"], ["sum"]))
        outputs.append(onnx.helper.make_tensor_value_info("sum", TensorProto.FLOAT, None))
    numbers = onnx.helper.make_tensor_value_info("numbers", TensorProto.INT64, ["n"])
    graph = onnx.helper.make_graph(nodes, "g", [numbers], outputs, [numpy_helper.from_array(table, "table")])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), table


def test_a_table_is_stored_as_integers_each_row_at_its_own_scale() -> None:
    model, table = looked_up(300, 32)
    before = model.ByteSize()
    assert store_tables(model) == 1
    onnx.checker.check_model(model)
    assert model.ByteSize() < 0.32 * before
    given = plain_session(model).run(None, {"numbers": np.arange(300)})[0]
    largest = np.abs(table).max(axis=1, keepdims=True)
    assert (np.abs(given - table) <= largest / 254 + 1e-7).all()


@pytest.mark.parametrize("case", [{"rows": 4, "width": 32}, {"rows": 300, "width": 32, "also_added": True}])
def test_a_table_that_is_small_or_read_whole_stays_float(case: dict[str, Any]) -> None:
    model, _ = looked_up(**case)
    before = model.SerializeToString(deterministic=True)
    assert store_tables(model) == 0
    assert model.SerializeToString(deterministic=True) == before


def test_texts_get_a_dynamic_file_first_without_a_calibration(
    job: ladder.Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("calibrated")

    lengths: list[Any] = []
    monkeypatch.setattr("compressor.quantization.attempt.Calibration", never)
    monkeypatch.setattr(speed, "against", timing({"dynamic": 0.7}, lengths))
    path = tmp_path / "int8.onnx"
    outcome = climb(job, path)
    assert outcome.chosen is not None
    assert [rung.name for rung in outcome.rungs] == ["dynamic"]
    assert "takes 0.70 of fp32's time" in outcome.reason
    assert lengths == ["data"], "timed as long as validation samples are"
    assert len(outcome.chosen.float_nodes) == 1, "the classifier"
    about = outcome.document()
    assert (about.dynamic, about.calibration_images, about.activations) == (True, 0, "uint8")
    artifact = session.load(path)
    assert artifact.metadata.int8 is not None
    assert artifact.metadata.int8["dynamic"] is True
    seen = predict_artifact(artifact, job.dataset, "validation")
    assert (seen.logits.argmax(1) == seen.labels).mean() == outcome.chosen.top1
    # Names of operators and tokens weigh something in so small a file: the weights alone are told.
    weights = [sum(len(i.raw_data) for i in onnx.load(p).graph.initializer) for p in (path, job.fp32)]
    assert weights[0] < 0.34 * weights[1]


def test_a_text_is_answered_alone_nearly_as_in_company(
    job: ladder.Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "against", timing({"dynamic": 0.7}))
    climb(job, tmp_path / "int8.onnx")
    artifact = session.load(tmp_path / "int8.onnx")
    together = artifact.logits(job.inputs)
    alone = np.concatenate([artifact.logits(taken(job.inputs, [i])) for i in range(len(together))])
    assert not np.array_equal(together, alone), "ranges are of a batch"
    assert np.abs(together - alone).max() < 0.1 * np.abs(together).max()


def test_a_dynamic_file_that_is_slow_makes_room_for_a_static_one_and_is_told_of(
    job: ladder.Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladder, "METHODS", ("min-max",))
    monkeypatch.setattr(speed, "against", timing({"dynamic": 1.4, "min-max": 0.8}))
    kept = climb(job, tmp_path / "int8.onnx", max_drop=100)
    assert kept.chosen is not None
    assert not kept.chosen.dynamic
    assert [rung.name for rung in kept.rungs] == ["dynamic", "min-max"]
    assert [len(rung.float_nodes) for rung in kept.rungs] == [1, 1], "the classifier"
    assert "takes 0.80 of fp32's time" in kept.reason
    assert "dynamic takes 1.40 of fp32's time" in kept.reason
    assert {r.data_type for r in onnx.load(tmp_path / "int8.onnx").graph.initializer if len(r.raw_data) > 10_000} == {
        TensorProto.INT8
    }, "its table is integers, too"
    monkeypatch.setattr(speed, "against", timing({"dynamic": 1.4, "min-max": 1.3}))
    refused = climb(job, tmp_path / "none.onnx", max_drop=100)
    assert refused.chosen is None
    assert "within 100 points of fp32 but dynamic takes 1.40 of fp32's time" in refused.reason
    assert "takes 1.30 of fp32's time" in refused.reason
    assert len(refused.rungs) == 2, "nothing lies between the products that could be left in float"


def test_a_dynamic_file_for_another_cpu_is_opened_as_it_is_with_a_warning_where_sums_may_be_too_large(
    job: ladder.Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = session.load(job.fp32).metadata
    said: list[str] = []
    progress = Silent()
    monkeypatch.setattr(progress, "say", said.append, raising=False)
    monkeypatch.setattr(cpus, "detect", lambda: "x86")
    for target, warned in (("x86", False), ("x86-vnni", True), ("arm", True)):
        path = tmp_path / f"{target}.onnx"
        onnx.save(onnx.load(job.fp32), path)
        exporting.write_metadata(path, about.model_copy(update={"int8": {"target": target, "dynamic": True}}))
        said.clear()
        cpus.open_artifact(path, progress)
        assert ["too large for this CPU's integers" in line for line in said] == [True] * warned


def test_a_cpu_that_would_saturate_the_sums_is_not_asked_to_judge_them(
    job: ladder.Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladder, "METHODS", ("min-max",))
    monkeypatch.setattr(cpus, "detect", lambda: "x86")
    outcome = climb(job, tmp_path / "int8.onnx", target="x86-vnni", allow_slower=True, max_drop=100)
    assert [rung.name for rung in outcome.rungs] == ["min-max"]


def test_what_static_steps_leave_in_float_comes_on_top_of_the_classifier(
    job: ladder.Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladder, "METHODS", ("min-max",))
    outcome = climb(dataclasses.replace(job, top1=2.0), tmp_path / "int8.onnx")  # an accuracy that nothing reaches
    assert [rung.name for rung in outcome.rungs] == [
        "dynamic", "min-max", "min-max + bias correction", outcome.rungs[3].name,
    ]  # fmt: skip
    assert [len(rung.float_nodes) for rung in outcome.rungs] == [1, 1, 1, 2]
    assert outcome.rungs[3].float_nodes[0] == outcome.rungs[0].float_nodes[0]
    assert "no int8 file keeps within" in outcome.reason
