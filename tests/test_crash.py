"""Kills a chain, as `benchmarks/crash.py` does, a few times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "crash.py"


@pytest.mark.slow
def test_a_chain_killed_at_random_moments_ends_with_the_very_weights_of_one_that_was_not(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--kills", "4", "--json"],
        capture_output=True, text=True, timeout=600, env=os.environ | {"PYTHONPATH": str(SCRIPT.parents[1])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert sum(one["kills"] for one in found["kills"]) >= 4
    assert found["files_compared"] >= 4
    assert found["different"] == []
    assert {one["workers"] for one in found["kills"]} == {0, 2}
