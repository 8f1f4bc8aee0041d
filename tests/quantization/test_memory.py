"""Calibration's memory against the number of images."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import onnx

from tests.quantization.test_rewrites import squeezing

CHILD = """
import json, sys
import numpy as np, onnx
from compressor.quantization.calibrate import Calibration
from compressor.quantization.quantize import operators
model = onnx.shape_inference.infer_shapes(onnx.load(sys.argv[1]))
rng = np.random.default_rng(0)
batches = ({"image": rng.standard_normal((8, 3, 24, 24)).astype(np.float32)} for _ in range(int(sys.argv[2]) // 8))
calibration = Calibration(model, batches, operators(model))
calibration.ranges("entropy")
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
print(json.dumps({key: int(status[key].split()[0]) / 1024 for key in ("VmHWM", "RssAnon")}))
"""


def peak(path: Path, images: int) -> dict[str, float]:
    """MB of a fresh process that calibrates with so many images."""
    command = [sys.executable, "-c", CHILD, str(path), str(images)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_calibration_with_a_thousand_images_takes_the_memory_of_a_hundred(tmp_path: Path) -> None:
    """All activations of a thousand of these images would take 0.4 GB."""
    onnx.save(squeezing(size=24), tmp_path / "m.onnx")
    few, many = (peak(tmp_path / "m.onnx", count) for count in (104, 1000))
    assert many["VmHWM"] < 1.1 * few["VmHWM"] + 10
    assert many["RssAnon"] < 1.1 * few["RssAnon"] + 10
