"""A file's own temperature: inside its graph, and in what it says of itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from compressor.artifact import session
from compressor.artifact.session import softmax
from compressor.evaluation import metrics
from compressor.evaluation.predictions import predict_artifact
from compressor.progress import Silent
from compressor.quantization.config import Int8Config
from compressor.quantization.ladder import climb
from compressor.quantization.temper import retemper
from tests.quantization.conftest import Student
from tests.quantization.test_rewrites import run, squeezing, with_softmax


def undivided(model: onnx.ModelProto) -> None:
    """A softmax without a division before it: what an exporter leaves of a division by one."""
    output = model.graph.output[0]
    model.graph.node[-1].output[0] = "inner"
    model.graph.node.append(helper.make_node("Softmax", ["inner"], [output.name]))


@pytest.mark.parametrize("tail", [with_softmax, undivided], ids=["divided", "undivided"])
@pytest.mark.parametrize("temperature", [0.3, 1.7])
def test_the_graph_gives_the_softmax_at_the_temperature(temperature: float, tail: object) -> None:
    logits, model = run(squeezing()), squeezing()
    assert callable(tail)
    tail(model)
    assert retemper(model, temperature)
    onnx.checker.check_model(model)
    np.testing.assert_allclose(run(model), softmax(logits, temperature), rtol=1e-4, atol=1e-6)


def test_a_graph_of_logits_is_left_as_it_is() -> None:
    model = squeezing()
    before = model.SerializeToString()
    assert not retemper(model, 2.0)
    assert model.SerializeToString() == before


def test_an_int8_file_ships_at_the_temperature_of_its_own_logits(student: Student, tmp_path: Path) -> None:
    path = tmp_path / "student.int8.onnx"
    config = Int8Config(calibration_images=32, correction_images=8, most_float=1, max_drop=5, allow_slower=True)
    outcome = climb(student.job(), path, config, Silent())
    artifact = session.load(path)
    seen = predict_artifact(artifact, student.dataset, "validation")
    own = metrics.calibration_temperature(seen.labels, seen.logits)
    assert artifact.metadata.temperature == pytest.approx(own)
    assert artifact.metadata.temperature_of == "file"
    assert outcome.document().temperature == pytest.approx(own)
    assert session.load(student.fp32).metadata.temperature is None
