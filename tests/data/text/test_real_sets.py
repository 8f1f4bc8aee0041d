"""Two published sets as they are published."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressor.data.splits import SPLITS
from tests.conftest import SHARED
from tests.data.text.conftest import Load

TEXT = SHARED / "data" / "text"
if not TEXT.is_dir():
    pytest.skip("the published sets of texts are not here", allow_module_level=True)


@pytest.mark.parametrize("place", ["clinc150", "clinc150/data_full.json"])
def test_clinc150_has_its_splits_but_for_two_repeats(place: str, load: Load) -> None:
    dataset = load(TEXT / place)
    out = {e.reason: e.count for e in dataset.unused if "repeated" in e.reason}
    assert len(dataset.classes) == 150
    assert sum(len(dataset.splits[name]) for name in SPLITS) + sum(out.values()) == 22_500
    assert len(dataset.splits["test"]) == 4500
    assert sum(e.count for e in dataset.unused if "of the split" in e.reason) == 1200


def test_banking77_has_its_test_set(load: Load) -> None:
    dataset = load(Path(TEXT / "banking77"))
    out = {e.reason: e.count for e in dataset.unused}
    assert len(dataset.classes) == 77
    assert len(dataset.splits["test"]) == 3080
    assert sum(len(dataset.splits[name]) for name in SPLITS) + sum(out.values()) == 13_083
