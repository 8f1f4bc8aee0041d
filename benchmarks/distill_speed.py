"""What the teacher costs: seconds per epoch of distillation against plain training and against timm's task.

    python benchmarks/distill_speed.py --data path/to/cifar10 --save

Measures, interleaved in one run, on CIFAR-10 images at 64 px, resnet50 → mobilenetv3_small_100, batch 64:
(a) our supervised student, (b1) timm.task.LogitDistillationTask with a live teacher on timm's own loader
(float32, default memory format), (b2) the same with channels_last and a bf16 teacher, (c) ours with a live
teacher, (d) ours from a filled store. Then a whole run of --whole epochs with 5 views, filling included,
against (b1).
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import epoch as one_epoch
from common import finish, parser

from compressor.data.config import DataConfig
from compressor.data.dataset import Dataset
from compressor.data.images.decoded import with_decoded
from compressor.data.load import load_dataset
from compressor.distillation import targets
from compressor.distillation.accelerator import accelerator as chosen_device
from compressor.distillation.config import StageConfig
from compressor.distillation.job import Job
from compressor.distillation.step import prepare
from compressor.distillation.teacher import FrozenTeacher
from compressor.models.family import family
from compressor.models.weights import build
from compressor.packages import import_timm
from compressor.progress import Silent
from compressor.seeds import seed_everything

TEACHER, STUDENT, SIZE, BATCH = "resnet50", "mobilenetv3_small_100", 64, 64
SUPERVISED: dict[str, dict[str, float]] = {"ce": {}}
DISTILLED = {"ce": {"weight": 0.5}, "kd": {"weight": 0.5, "temperature": 4}}


def main() -> None:
    """Measures and prints."""
    made = parser(__doc__)
    made.add_argument("--data", required=True, help="CIFAR-10 as an image folder")
    made.add_argument("--images", type=int, default=1280, help="training images per epoch")
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--whole", type=int, default=20, help="epochs of the whole run")
    made.add_argument("--views", type=int, default=5)
    arguments = made.parse_args()
    if arguments.quick:
        arguments.images, arguments.rounds, arguments.whole, arguments.views = 128, 2, 2, 1
    with tempfile.TemporaryDirectory() as cache:
        os.environ["COMPRESS_CACHE"] = cache
        measure(arguments)


def measure(arguments: argparse.Namespace) -> None:
    """All variants in turn, then the whole runs."""
    accelerator = chosen_device()
    device = accelerator.device
    dataset = load_dataset(DataConfig(source=arguments.data, image_size=SIZE, limit=arguments.images))
    dataset = with_decoded(dataset, SIZE, Silent())
    teacher = frozen(dataset)
    ours = {
        "a": epoch(dataset, stage(SUPERVISED), None, accelerator),
        "c": epoch(dataset, stage(DISTILLED), teacher, accelerator),
    }
    filling, stored = filled(teacher, dataset, 1, device)
    ours["d"] = epoch(dataset, stage(DISTILLED), stored, accelerator)
    variants: dict[str, Callable[[], float]] = {
        "a": ours["a"],
        "b1": timm_epoch(dataset, channels_last=False, half=False, device=device),
        "b2": timm_epoch(dataset, channels_last=True, half=True, device=device),
        "c": ours["c"],
        "d": ours["d"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(arguments.rounds + 1):
        for name, run in variants.items():
            took = run()
            if turn:  # the first round warms up
                seconds[name].append(took)
            print(f"round {turn} {name} {took:.2f} s", file=sys.stderr, flush=True)
    whole = whole_runs(arguments, teacher, dataset, variants["b1"], accelerator)
    report(arguments, seconds, whole, filling, str(device))


def report(
    arguments: argparse.Namespace, seconds: dict[str, list[float]], whole: dict[str, float], filling: float, device: str
) -> None:
    """The tables, with the ratios that are claimed."""
    names = {
        "a": "our supervised student", "b1": "timm task, live teacher, float32", "c": "ours, live teacher",
        "b2": "timm task, channels_last, bf16 teacher", "d": "ours, from a filled store",
    }  # fmt: skip
    medians = {name: float(np.median(v)) for name, v in seconds.items()}
    lines = [
        (
            name,
            names[name],
            f"{medians[name]:.2f}",
            f"{min(v):.2f} – {max(v):.2f}",
            f"{medians[name] / medians['a']:.2f}×",
        )
        for name, v in seconds.items()
    ]
    pairs = {"d/a": ("d", "a"), "b1/d": ("b1", "d"), "b2/c": ("b2", "c")}
    ratios = {label: [float(v) for v in np.array(seconds[x]) / np.array(seconds[y])] for label, (x, y) in pairs.items()}
    told = "; ".join(f"{k} = {np.median(v):.3f} ({min(v):.3f} – {max(v):.3f})" for k, v in ratios.items())
    figures = {
        "seconds_per_epoch": medians, "samples": seconds, "ratios": ratios, "whole_run": whole,
        "fill_seconds_per_view": filling, "images_per_epoch": arguments.images, "device": device,
    }  # fmt: skip
    remarks = [
        f"{arguments.rounds} interleaved rounds after one for warming up. Ratios round by round, median (range): {told}.",
        f"Whole run of {arguments.whole} epochs with {arguments.views} views, filling included: ours "
        f"{whole['ours']:.1f} s ({whole['filling']:.1f} s of it filling), timm's task {whole['b1']:.1f} s: "
        f"{whole['b1'] / whole['ours']:.2f}×.",
    ]
    finish(arguments, "distill-speed", figures,
           title=f"{TEACHER} → {STUDENT} at {SIZE} px, {arguments.images} CIFAR-10 images, batch {BATCH}, {device}",
           header=("", "variant", "s per epoch (median)", "range", "of (a)"), lines=lines, remarks=remarks)  # fmt: skip


def stage(objective: dict[str, Any], **changes: Any) -> StageConfig:
    """A stage with one objective."""
    values = {"batch_size": BATCH, "objective": objective, "targets": {"views": 1, "precision": "fp32"}}
    return StageConfig.model_validate(values | changes)


def frozen(dataset: Dataset) -> FrozenTeacher:
    """The teacher, untrained: its speed does not depend on its weights."""
    seed_everything(0)
    architecture, preprocessing = family("timm").describe(
        TEACHER, classes=len(dataset.classes), setup=dataset.setup, stem="keep"
    )
    return FrozenTeacher(build(architecture), preprocessing)


def student(dataset: Dataset) -> tuple[torch.nn.Module, Any]:
    """A fresh student and its preprocessing."""
    seed_everything(1)
    architecture, preprocessing = family("timm").describe(
        STUDENT, classes=len(dataset.classes), setup=dataset.setup, stem="keep"
    )
    return build(architecture), preprocessing


def filled(teacher: FrozenTeacher, dataset: Dataset, views: int, device: torch.device) -> tuple[float, Any]:
    """(seconds, a stored teacher) after filling."""
    config = stage(DISTILLED).targets
    store, about = targets.describe(teacher, dataset, config, embedding=False, precision="fp32", dense=True)
    begun = time.perf_counter()
    stored = targets.fill(store, about, teacher, dataset, config, views=views, label=TEACHER, device=device,
                          progress=Silent())  # fmt: skip
    return time.perf_counter() - begun, stored


def epoch(dataset: Dataset, config: StageConfig, teacher: Any, accelerator: Any) -> Callable[[], float]:
    """One epoch of our own loop, again and again on the same student."""
    model, preprocessing = student(dataset)
    job = Job(label="", config=config, epochs=1000, seed=0, preprocessing=preprocessing, teacher=teacher)
    run, loader, order = prepare(model, dataset, job, accelerator)
    numbers = itertools.count()

    def once() -> float:
        begun = time.perf_counter()
        one_epoch(run, loader, order, next(numbers))
        synchronize(accelerator.device)
        return time.perf_counter() - begun

    return once


def timm_epoch(dataset: Dataset, *, channels_last: bool, half: bool, device: torch.device) -> Callable[[], float]:
    """timm.task.LogitDistillationTask on timm's own dataset, transforms and loader, as its documentation shows it."""
    timm = import_timm()
    from timm.data import ImageDataset, create_loader
    from timm.task import LogitDistillationTask

    classes = len(dataset.classes)
    seed_everything(1)
    net = timm.create_model(STUDENT, num_classes=classes)
    guide = timm.create_model(TEACHER, num_classes=classes)
    if channels_last:
        net, guide = (m.to(memory_format=torch.channels_last) for m in (net, guide))
    if half:
        guide = guide.to(torch.bfloat16)
        original = guide.forward
        guide.forward = lambda x: original(x.to(torch.bfloat16)).float()
    task = LogitDistillationTask(
        student_model=net, teacher_model=guide, criterion=torch.nn.CrossEntropyLoss(),
        distill_loss_weight=0.5, task_loss_weight=0.5, temperature=4.0, verbose=False,
    ).to(device)  # fmt: skip
    folder = chosen_images(dataset, Path(os.environ["COMPRESS_CACHE"]) / "timm")
    workers = dataset.config.workers if dataset.config.workers != "auto" else 0 if (os.cpu_count() or 1) <= 2 else 4
    loader = create_loader(
        ImageDataset(str(folder)), input_size=(3, SIZE, SIZE), batch_size=BATCH, is_training=True, no_aug=False,
        scale=dataset.setup.augment.scale, ratio=dataset.setup.augment.ratio, hflip=dataset.setup.augment.hflip,
        color_jitter=dataset.setup.augment.color_jitter, interpolation="bilinear", num_workers=workers,
        use_prefetcher=device.type == "cuda", device=device,
    )  # fmt: skip
    module = task.get_trainable_module() if hasattr(task, "get_trainable_module") else net
    optimizer = torch.optim.AdamW(module.parameters(), lr=2e-3)  # type: ignore[union-attr]

    def once() -> float:
        task.train()
        begun = time.perf_counter()
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            if channels_last:
                images = images.contiguous(memory_format=torch.channels_last)
            loss = task(images, labels)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        synchronize(device)
        return time.perf_counter() - begun

    return once


def chosen_images(dataset: Dataset, folder: Path) -> Path:
    """The same training images as a folder of their own, for timm's dataset."""
    if not folder.exists():
        root = Path(dataset.config.source)
        for index in dataset.splits["train"]:
            name = dataset.ids[index]
            target = folder / dataset.classes[dataset.labels[index]] / Path(name).name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, target)
    return folder


def whole_runs(
    arguments: argparse.Namespace,
    teacher: FrozenTeacher,
    dataset: Dataset,
    b1: Callable[[], float],
    accelerator: Any,
) -> dict[str, float]:
    """Ours from an empty store, filling included, against as many epochs of (b1); the two take turns."""
    fresh = replace(dataset, seed=dataset.seed + 1)  # other views: nothing of them is stored yet
    config = stage(DISTILLED, targets={"views": arguments.views, "precision": "fp32"})
    filling, stored = filled(teacher, fresh, arguments.views, accelerator.device)
    own = epoch(fresh, config, stored, accelerator)
    ours, theirs = 0.0, 0.0
    for _ in range(arguments.whole):
        ours += own()
        theirs += b1()
    return {"ours": ours + filling, "filling": filling, "b1": theirs}


def synchronize(device: torch.device) -> None:
    """Waits for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
