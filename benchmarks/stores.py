"""What the stores cost: an epoch from them against preloaded batches, and memory with ten times the images.

    python benchmarks/stores.py --data path/to/cifar10 --save

Speed: mobilenetv3_large_100 at 64 px on CIFAR-10 JPEGs, an epoch from the decoded and target stores against
the same epoch from batches that lie in memory, in turn. Memory: peak anonymous memory (RssAnon) of a fresh
process that fills both stores and trains one epoch, with N and with 10 N images.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import epoch, finish, parser

from compressor.distillation.accelerator import accelerator as chosen_device


def main() -> None:
    """Measures and prints; with --child, is one of the measured processes."""
    made = parser(__doc__)
    made.add_argument("--data", required=True, help="CIFAR-10 as an image folder")
    made.add_argument("--images", type=int, default=1280, help="training images of the speed part")
    made.add_argument("--rounds", type=int, default=8)
    made.add_argument("--few", type=int, default=2000, help="images of the smaller process; the other has ten times")
    made.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments = made.parse_args()
    if arguments.child:
        print(json.dumps(child(arguments.data, arguments.child)))
        return
    if arguments.quick:
        arguments.images, arguments.rounds, arguments.few = 128, 2, 200
    with tempfile.TemporaryDirectory() as cache:
        os.environ["COMPRESS_CACHE"] = cache
        speed = epochs(arguments)
        memory = {count: spawn(arguments.data, count) for count in (arguments.few, 10 * arguments.few)}
    ratios = np.array(speed["stores"]) / np.array(speed["memory"])
    small, large = memory.values()
    growth = large["peak_rss_anon_mb"] / small["peak_rss_anon_mb"] - 1
    lines = [
        ("epoch from the stores, s", f"{np.median(speed['stores']):.2f}", f"{min(speed['stores']):.2f} – {max(speed['stores']):.2f}"),
        ("epoch from batches in memory, s", f"{np.median(speed['memory']):.2f}", f"{min(speed['memory']):.2f} – {max(speed['memory']):.2f}"),
        ("ratio", f"{np.median(ratios):.3f}", f"{ratios.min():.3f} – {ratios.max():.3f}"),
        *((f"peak RssAnon with {n} images, MB", f"{m['peak_rss_anon_mb']:.0f}", "") for n, m in memory.items()),
        ("growth with ten times the images", f"{100 * growth:+.1f} %", ""),
    ]  # fmt: skip
    figures = {"seconds": speed, "ratio": float(np.median(ratios)), "memory": memory, "growth": growth}
    finish(arguments, "stores", figures, title="The stores against batches in memory, and memory against images",
           header=("", "median", "range"), lines=lines)  # fmt: skip


def prepared(data: str, count: int, student: str, teacher: str, size: int, batch: int) -> Any:
    """(dataset, stored teacher, job's parts) with both stores filled."""
    from distill_speed import DISTILLED

    from compressor.data.config import DataConfig
    from compressor.data.images.decoded import with_decoded
    from compressor.data.load import load_dataset
    from compressor.distillation import targets
    from compressor.distillation.config import StageConfig
    from compressor.distillation.job import Job
    from compressor.distillation.teacher import FrozenTeacher
    from compressor.models.family import family
    from compressor.models.weights import build
    from compressor.progress import Silent
    from compressor.seeds import seed_everything

    seed_everything(0)
    dataset = load_dataset(DataConfig(source=data, image_size=size, limit=count, test=0.2))
    dataset = with_decoded(dataset, size, Silent())
    config = StageConfig.model_validate(
        {"batch_size": batch, "objective": DISTILLED, "targets": {"views": 1, "precision": "fp32"}}
    )
    guide_architecture, guide_preprocessing = family("timm").describe(
        teacher, classes=len(dataset.classes), setup=dataset.setup, stem="keep"
    )
    guide = FrozenTeacher(build(guide_architecture), guide_preprocessing)
    store, about = targets.describe(guide, dataset, config.targets, embedding=False, precision="fp32", dense=True)
    import torch

    stored = targets.fill(store, about, guide, dataset, config.targets, views=1, label=teacher,
                          device=torch.device("cpu"), progress=Silent())  # fmt: skip
    architecture, preprocessing = family("timm").describe(
        student, classes=len(dataset.classes), setup=dataset.setup, stem="keep"
    )
    job = Job(label="", config=config, epochs=1000, seed=0, preprocessing=preprocessing, teacher=stored)
    return dataset, job, build(architecture)


def epochs(arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds per epoch from the stores and from memory, in turn."""
    from compressor.distillation.step import prepare

    dataset, job, model = prepared(arguments.data, arguments.images, "mobilenetv3_large_100", "test_resnet", 64, 64)
    accelerator = chosen_device()
    run, loader, order = prepare(model, dataset, job, accelerator)
    seconds: dict[str, list[float]] = {"stores": [], "memory": []}
    for turn in range(arguments.rounds + 1):
        order.epoch = turn
        preloaded = list(loader)
        sources = [("stores", loader), ("memory", preloaded)]
        for name, source in sources if turn % 2 else sources[::-1]:
            begun = time.perf_counter()
            epoch(run, source, order, turn)
            if turn:
                seconds[name].append(time.perf_counter() - begun)
        print(f"round {turn}: {seconds}", file=sys.stderr, flush=True)
    return seconds


def spawn(data: str, count: int) -> dict[str, float]:
    """The memory of a fresh process with `count` images."""
    command = [sys.executable, __file__, "--data", data, "--child", str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(data: str, count: int) -> dict[str, float]:
    """Fills the stores, trains one epoch, and gives the peak anonymous memory, MB."""
    peak, stop = [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    peak[0] = max(peak[0], int(line.split()[1]) * 1024 / 1e6)

    threading.Thread(target=watch, daemon=True).start()
    from compressor.distillation.step import prepare

    dataset, job, model = prepared(data, count, "mobilenetv3_small_050", "test_resnet", 32, 64)
    run, loader, order = prepare(model, dataset, job, chosen_device())
    epoch(run, loader, order, 0)
    stop.set()
    return {"peak_rss_anon_mb": peak[0], "images": len(dataset.splits["train"])}


if __name__ == "__main__":
    main()
