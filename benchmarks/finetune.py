"""Fine-tuning a pretrained teacher: ours beside timm's own training loop, at equal steps, on the same views.

    python benchmarks/finetune.py --data path/to/cifar10 --weights path/to/tf_efficientnet_lite2.in1k.safetensors --save

timm's side is what its train.py does with a fresh head: all weights move from the first step, AdamW from
`create_optimizer_v2`, its cosine schedule per step with a warm-up, the head's rate ten times the body's. Batches, views,
steps, peak rates and decay are the same on both sides. Accuracy is on validation, after each epoch.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import Log, finish, parser

from compressor.data.kind import kind_of
from compressor.data.load import load_dataset
from compressor.data.loaders import training_loader
from compressor.distillation import acquire, chain
from compressor.distillation.accelerator import accelerator
from compressor.evaluation.metrics import top_k
from compressor.evaluation.torch_predictor import predict_model
from compressor.files import read_lines
from compressor.models.family import family_of
from compressor.models.weights import head_names
from compressor.packages import import_timm
from compressor.recipe import Recipe, load
from compressor.runnote import Epoch
from compressor.seeds import seed_everything


def main() -> None:
    """Trains both sides for each seed and prints the table."""
    made = parser(__doc__)
    made.add_argument("--data", required=True, help="an image folder")
    made.add_argument("--weights", required=True, help="the model's pretrained weights")
    made.add_argument("--model", default="tf_efficientnet_lite2")
    made.add_argument("--epochs", type=int, default=10)
    made.add_argument("--seeds", type=int, default=1)
    made.add_argument("--set", dest="settings", action="append", default=[], help="a recipe value")
    arguments = made.parse_args()
    quick = ["data.limit=200"] if arguments.quick else []
    recipe = load(None, {}, [
        f"data.source={arguments.data}", f"teacher.model={arguments.model}", f"teacher.init={arguments.weights}",
        "data.limit=10000", "data.image_size=64", "data.validation=0.04", *arguments.settings, *quick,
    ])  # fmt: skip
    epochs = 2 if arguments.quick else arguments.epochs
    if recipe.threads != "auto":
        torch.set_num_threads(recipe.threads)
    found = {"ours": [], "timm": []}  # type: dict[str, list[list[float]]]
    for seed in range(arguments.seeds):
        found["ours"].append(ours(recipe, epochs, seed))
        found["timm"].append(timms(recipe, epochs, seed))
    lines = [
        (str(epoch + 1), *(", ".join(f"{run[epoch]:.4f}" for run in found[side]) for side in ("ours", "timm")))
        for epoch in range(epochs)
    ]
    finish(arguments, "finetune", {"validation": found, "epochs": epochs},
           title=f"Fine-tuning {arguments.model}: validation accuracy after each epoch",
           header=("epoch", "ours", "timm's loop"), lines=lines,
           remarks=[f"{arguments.seeds} seed(s), one figure each; ours is the figure of that epoch, not of the best one."],
           )  # fmt: skip


def ours(recipe: Recipe, epochs: int, seed: int) -> list[float]:
    """Validation accuracy after each epoch of `chain.run_stage`."""
    dataset = load_dataset(recipe.data, Log(quiet=True))
    begin = acquire.start(recipe.teacher.model, recipe.teacher.init, dataset, role="teacher", stem="keep", seed=seed)
    dataset = kind_of(dataset.modality).prepared(dataset, begin.preprocessing, Log(quiet=True))
    with tempfile.TemporaryDirectory() as folder:
        chain.run_stage(
            begin, dataset, recipe.stage_for("teacher", recipe.teacher.model), role="teacher", epochs=epochs, seed=seed,
            teacher=None, folder=Path(folder), accelerator=accelerator("cpu"), progress=Log(),
        )  # fmt: skip
        lines = read_lines(Path(folder) / "metrics.jsonl", Epoch)
    return [line.validation_top1 or 0.0 for line in lines]


def timms(recipe: Recipe, epochs: int, seed: int) -> list[float]:
    """Validation accuracy after each epoch of timm's loop."""
    import_timm()
    from timm.optim import create_optimizer_v2
    from timm.scheduler import CosineLRScheduler

    stage = recipe.stage_for("teacher", recipe.teacher.model)
    dataset = load_dataset(recipe.data, Log(quiet=True))
    begin = acquire.start(recipe.teacher.model, recipe.teacher.init, dataset, role="teacher", stem="keep", seed=seed)
    dataset = kind_of(dataset.modality).prepared(dataset, begin.preprocessing, Log(quiet=True))
    model, head = begin.model, head_names(begin.model)
    full = family_of(model).rate() if stage.optimizer.lr == "auto" else stage.optimizer.lr
    body = full * stage.optimizer.finetune_scale
    optimizer = create_optimizer_v2(
        [
            {"params": [p for n, p in model.named_parameters() if n not in head], "lr": body},
            {"params": [p for n, p in model.named_parameters() if n in head], "lr": 10 * body},
        ],
        opt="adamw", lr=body, weight_decay=stage.optimizer.weight_decay,
    )  # fmt: skip
    loader, order = training_loader(
        dataset, preprocessings=[begin.preprocessing], batch_size=stage.batch_size, seed=seed
    )
    schedule = CosineLRScheduler(
        optimizer, t_initial=epochs * len(order), warmup_t=min(len(order), epochs * len(order) // 2),
        warmup_lr_init=body / 100, t_in_epochs=False,
    )  # fmt: skip
    family, found = family_of(model), []
    for epoch in range(epochs):
        order.epoch = epoch
        seed_everything(seed * 1000 + epoch)
        model.train()
        losses = []
        for step, batch in enumerate(loader):
            schedule.step_update(epoch * len(order) + step)
            images = family.prepare(batch["views"][begin.preprocessing.view_key], begin.preprocessing)[0]
            loss = F.cross_entropy(model(images), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), stage.clip or float("inf"))
            optimizer.step()
            losses.append(float(loss.detach()))
        seen = predict_model(model, dataset, "validation", begin.preprocessing)
        found.append(top_k(seen.labels, seen.logits, 1))
        Log().say(f"timm · epoch {epoch + 1}/{epochs} · loss {np.mean(losses):.3f} · validation {found[-1]:.3f}")
    return found


if __name__ == "__main__":
    main()
