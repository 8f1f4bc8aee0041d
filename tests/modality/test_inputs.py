"""What a file's own inputs say, and where its modality has to be asked."""

from __future__ import annotations

import pytest

from compressor.artifact.preprocessing import GraphInput
from tests.modality.table import TablePreprocessing

PRE = TablePreprocessing(columns=("a", "b"), mean=(0.0, 0.0), std=(1.0, 1.0))


@pytest.mark.parametrize(
    ("shape", "kind", "plain"),
    [
        (("batch", 3, 8, 8), "tensor(float)", True),
        ((4, 8, 8, 3), "tensor(uint8)", True),
        (("batch", "length"), "tensor(float)", False),
        ((1, 16), "tensor(int64)", False),  # numbers of words, and a mask of nothing but noughts, are not any noise
    ],
)
def test_noise_will_do_where_shape_and_type_say_everything(
    shape: tuple[int | str, ...], kind: str, plain: bool
) -> None:
    assert GraphInput(name="x", shape=shape, type=kind).plain == plain


def test_a_graph_of_another_width_contradicts() -> None:
    entries = [GraphInput(name="features", shape=("batch", width), type="tensor(float)") for width in (2, 3, "width")]
    found = [PRE.contradiction([entry]) for entry in entries]
    assert found == [None, "2 columns, where its graph has 3", None]
