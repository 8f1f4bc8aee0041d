"""The one training loop: teachers, assistants, students and baselines all pass through `fit`."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from compressor import interrupt
from compressor.data.dataset import Dataset
from compressor.data.loaders import Batch, EpochOrder
from compressor.distillation.guides import Several
from compressor.distillation.history import History
from compressor.distillation.job import Fitted, Job
from compressor.distillation.probe import normalised
from compressor.distillation.state import Parts, Progressed, Saves
from compressor.distillation.step import Running, prepare, step
from compressor.distillation.trouble import (
    MOST_SKIPPED,
    NotFiniteError,
    OutOfMemoryError,
    halved,
    memory_watched,
    not_finite,
    translated,
)
from compressor.errors import CompressorError
from compressor.evaluation.metrics import nll, top_k
from compressor.evaluation.predictions import Batches
from compressor.evaluation.torch_predictor import predict_model
from compressor.models.checkpoint import save_tensors
from compressor.models.weights import head_names
from compressor.progress import Bar, Progress
from compressor.seeds import derive_seed, seed_everything

KEPT_BYTES = 64_000_000
"""Bytes of validation inputs that are held in memory instead of being read anew every epoch."""
LOOK_EVERY = 50
"""Steps after which a GPU is waited for, to see whether its losses were finite; a CPU is asked after each."""


def fit(
    model: nn.Module,
    dataset: Dataset,
    job: Job,
    *,
    folder: Path,
    accelerator: Accelerator,
    progress: Progress,
    watch: Callable[[dict[str, Any]], None] | None = None,
) -> Fitted:
    """Trains `model` in place; the metrics of each epoch go to `folder/metrics.jsonl`, and to `watch`.

    A save found in `folder/state` is continued from, in the middle of an epoch too. Views and order depend on
    (seed, epoch), what a model draws on (seed, step), so a continued training equals an uninterrupted one.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; the state is saved.
        CompressorError: the loss is again and again not finite, there is no memory for a few samples, the disk is
            full, a loader process died, or data changed meanwhile. The last save is kept.
    """
    run, loader, order = prepare(model, dataset, job, accelerator)
    modules: dict[str, nn.Module] = {"model": model, "objective": run.objective}
    modules |= {name: module for name, module in (("ema", run.ema), ("best", run.best)) if module is not None}
    parts = Parts(modules=modules, optimizer=run.optimizer, scaler=run.scaler)
    saves = Saves(folder / "state", parts, job.config.save, progress.say)
    training = _Training(run, dataset, loader, order, saves, folder)
    with interrupt.heeded():
        training.begin(watch)
        with progress.bar(job.label, job.epochs * len(order)) as bar, translated(job.label):
            bar.skip(training.at.step)
            training.to_the_end(progress, bar, watch)
    training.say_what_is_kept(progress)
    final = run.best or (run.ema.module if run.ema else None)
    if final is not None:
        model.load_state_dict(final.state_dict())  # type: ignore[union-attr]
    seconds, seen = training.at.seconds, job.epochs * len(order) * order.batch_size
    return Fitted(model=model.eval(), seconds=seconds, samples_per_second=seen / seconds if seconds else 0.0)


class _Training:
    """A training on its way: what `fit` does, step by step, and back to the last save where that has to be."""

    def __init__(
        self, run: Running, dataset: Dataset, loader: Iterable[Any], order: EpochOrder, saves: Saves, folder: Path
    ) -> None:
        self.run, self.job, self.dataset, self.loader, self.order = run, run.job, dataset, loader, order
        self.device = run.accelerator.device
        self.saves = saves
        self.history = History(folder / "metrics.jsonl", surest=dataset.tokens)
        self.at = Progressed()
        self.sums: dict[str, Tensor] = {}
        """Loss and terms over the steps of this epoch."""
        self.bad = torch.tensor(-1, device=self.device)
        """The first step that was not finite, if any; a GPU's answer is waited for now and then."""
        self.torn = False
        """In the middle of a step: what there is now can't be saved."""
        self.saved = (-1, -1)
        self.validation: Batches | None = None
        """The validation split's inputs, where they are held in memory."""

    def begin(self, watch: Callable[[dict[str, Any]], None] | None) -> None:
        """Takes up the last save; a training without one begins with one, so that there is always a way back."""
        found = self.saves.load()
        self._take(found or Progressed(begun=dict(self.job.begun), micro_batch=self.job.config.micro_batch))
        self.validation = self.dataset.kept("validation", self.job.preprocessing, KEPT_BYTES)
        if found is None:
            if self.run.best is not None and self.job.finetuning and not self.job.fresh_head:
                self.at.start = self._validate()
            self._save()
        for record in self.history.records:
            if watch is not None:
                watch(record)

    def to_the_end(self, progress: Progress, bar: Bar, watch: Callable[[dict[str, Any]], None] | None) -> None:
        """Trains what is left; goes back to the last save where a step can't be used, and leaves one on a stop."""
        try:
            while len(self.history.records) < self.job.epochs:
                try:
                    record = self._epoch(bar)
                except (NotFiniteError, OutOfMemoryError) as trouble:
                    self._go_back(trouble, progress)
                    continue
                progress.say(_line(self.job, record, tokens=self.dataset.tokens))
                if watch is not None:
                    watch(record)
        except BaseException:
            try:
                if not self.torn and self.saved != (self.at.step, len(self.history.records)):
                    self._save()
            except CompressorError as error:  # why it stops is the news; the save before this one is still there
                progress.say(str(error))
            raise

    def _epoch(self, bar: Bar) -> dict[str, Any]:
        """What is left of an epoch, and what came of all of it."""
        run, job, at, steps = self.run, self.job, self.at, len(self.order)
        epoch = len(self.history.records)
        if at.step < (epoch + 1) * steps:
            self._train(epoch, bar)
        left_out = sum(epoch * steps <= step < (epoch + 1) * steps for step in at.skipped)
        means = {name: float(value) / max(1, steps - left_out) for name, value in self.sums.items()}
        record = {
            "epoch": epoch + 1,
            "loss": means.pop("loss", None),
            "terms": means,
            "lr": run.optimizer.param_groups[0]["lr"],
            "seconds": at.epoch_seconds,
            "data_wait_share": at.waited / at.epoch_seconds if at.epoch_seconds else 0.0,
        } | self._validate()
        if epoch + 1 in job.stones:
            save_tensors(job.stones[epoch + 1], dict(run.averaged.state_dict()))
        with interrupt.held():
            self.history.add(record)
            if run.best is not None and self.history.best is record and self._better_than_the_start(record):
                run.best.load_state_dict(run.averaged.state_dict())
            self.sums, at.epoch_seconds, at.waited = {}, 0.0, 0.0
        return record

    def _validate(self) -> dict[str, float]:
        preprocessing = self.job.preprocessing
        seen = predict_model(
            self.run.averaged, self.dataset, "validation", preprocessing, device=self.device, batches=self.validation
        )
        return {
            "validation_top1": top_k(seen.labels, seen.logits, 1),
            "validation_nll": nll(seen.labels, seen.logits),
        }

    def _better_than_the_start(self, record: dict[str, Any]) -> bool:
        return not self.at.start or self.history.rank(record) < self.history.rank(self.at.start)

    def say_what_is_kept(self, progress: Progress) -> None:
        """Where training made trained weights no better: `run.best` is then what they were."""
        if self.history.records and not self._better_than_the_start(self.history.best):
            kept = _shown(self.at.start, tokens=self.dataset.tokens)
            progress.say(
                f"{self.job.label}: no epoch is better on validation than the weights that it began with ({kept}), "
                "which are kept"
            )

    def _train(self, epoch: int, bar: Bar) -> None:
        job, at, order = self.job, self.at, self.order
        order.epoch, order.first = epoch, at.step - epoch * len(order)
        if isinstance(job.teacher, Several):
            job.teacher.reach(epoch / job.epochs)
        _set_modes(self.run, epoch)
        mark = time.monotonic()
        for batch in self.loader:
            at.waited += time.monotonic() - mark
            with interrupt.held():
                self.torn = True
                if at.step not in at.skipped:
                    self._one(batch)
                at.step += 1
                last, due = at.step == (epoch + 1) * len(order), self.saves.due(at.step)
                if last or due or self.device.type == "cpu" or at.step % LOOK_EVERY == 0:
                    self._look()
                took = time.monotonic() - mark
                at.seconds, at.epoch_seconds = at.seconds + took, at.epoch_seconds + took
                self.torn = False
            bar.advance(note=f"epoch {epoch + 1}/{job.epochs}")
            if due:
                self._save()
            mark = time.monotonic()

    def _one(self, batch: Batch) -> None:
        """A step. What the model draws depends on its number alone: there is no random state to be saved."""
        job, number = self.job, self.at.step
        seed_everything(derive_seed(job.seed, "step", number))
        with memory_watched():
            found, whole = step(self.run, batch, number, progress=number / (job.epochs * len(self.order)))
        for name, value in found.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.bad = torch.where(whole | (self.bad >= 0), self.bad, number)

    def _look(self) -> None:
        if (bad := int(self.bad)) >= 0:
            raise NotFiniteError(bad)

    def _save(self) -> None:
        if int(self.bad) >= 0:
            return  # weights that are no numbers are no state to go back to
        self.at.records = self.history.records
        self.at.sums = {name: float(value) for name, value in self.sums.items()}
        self.saves.save(self.at)
        self.saved = (self.at.step, len(self.history.records))

    def _take(self, found: Progressed) -> None:
        self.at, self.torn = found, False
        self.history.reset(found.records)
        self.sums = {name: torch.tensor(value, device=self.device) for name, value in found.sums.items()}
        self.bad = torch.tensor(-1, device=self.device)
        self.run.micro_batch = found.micro_batch

    def _go_back(self, trouble: NotFiniteError | OutOfMemoryError, progress: Progress) -> None:
        """To the last save, with the step left out or in smaller parts; says so. Raises CompressorError at the bounds."""
        job, skipped, micro, size = self.job, self.at.skipped, self.at.micro_batch, self.order.batch_size
        if isinstance(trouble, NotFiniteError):
            self.order.epoch, batch = divmod(trouble.step, len(self.order))
            names = [self.dataset.ids[i] for i in self.order.samples(batch)]
            if len(skipped) == MOST_SKIPPED:
                raise not_finite(job.label, self.order.epoch, names)
            skipped = [*skipped, trouble.step]
            progress.say(f"{job.label}: step {trouble.step + 1} is not finite and left out ({', '.join(names[:3])} …)")
        else:
            micro = halved(micro or size, job.label, trouble)
            progress.say(
                f"{job.label}: out of memory; goes on with {micro} samples at a time and {size} per step as before "
                "(batch normalisation, and terms that compare samples, see fewer now)"
            )
            if job.settle is not None:
                job.settle(micro)
        self.run.optimizer.zero_grad(set_to_none=True)
        found = self.saves.load()
        if found is None:
            raise CompressorError(f"{job.label}: no save is left to go back to; start it anew") from trouble
        found.skipped, found.micro_batch = skipped, micro
        self._take(found)


def step_seconds(
    model: nn.Module, dataset: Dataset, job: Job, accelerator: Accelerator, *, steps: int = 4, least: float = 0.0
) -> tuple[float, int]:
    """Seconds of a step (the median of `steps` real ones and of `least` seconds after a first), and steps an epoch.

    Moves the model's weights.
    """
    run, loader, order = prepare(model, dataset, job, accelerator)
    run.student.train()
    times: list[float] = []
    mark = time.monotonic()
    for position, batch in enumerate(itertools.chain.from_iterable(itertools.repeat(loader))):
        float(step(run, batch, position, progress=0.0)[0]["loss"])  # waits for the device
        times.append(time.monotonic() - mark)
        mark = time.monotonic()
        if position >= steps and sum(times[1:]) >= least:
            break
    return statistics.median(times[1:]), len(order)


def estimate_seconds(model: nn.Module, dataset: Dataset, job: Job, accelerator: Accelerator) -> float:
    """Seconds that `fit` would take, from a few real steps; moves the model's weights."""
    taken, steps = step_seconds(model, dataset, job, accelerator)
    # A sample that is only looked at costs a third of one that is trained on.
    validation = len(dataset.splits["validation"]) / len(dataset.splits["train"]) * steps * taken / 3
    return job.epochs * (steps * taken + validation)


def head_alone(job: Job) -> int:
    """Epochs in which only a fresh head is trained: never all, where not all were asked for."""
    share = job.config.head_epochs
    return job.epochs if share == 1 else min(math.ceil(job.epochs * share), job.epochs - 1)


def _set_modes(run: Running, epoch: int) -> None:
    """What learns in this epoch, and what counts statistics."""
    job, model = run.job, run.model
    run.student.train()
    if job.finetuning and job.config.optimizer.statistics == "kept":
        for norm in normalised(model):
            norm.eval()
    # With a fresh head on trained weights, the body waits until the head has stopped shouting noise at it.
    frozen = job.only_head or (job.fresh_head and epoch < head_alone(job))
    head = head_names(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in head or not frozen)
    if frozen:
        model.eval()  # what does not learn does not count batches either


def _line(job: Job, record: dict[str, Any], *, tokens: bool) -> str:
    loss = math.nan if record["loss"] is None else record["loss"]
    return (
        f"{job.label} · epoch {record['epoch']}/{job.epochs} · loss {loss:.3f} · "
        f"validation {_shown(record, tokens=tokens)} · {record['seconds']:.1f} s"
    )


def _shown(seen: dict[str, Any], *, tokens: bool) -> str:
    """The figure of validation that people look at."""
    if tokens:
        return f"perplexity {math.exp(min(seen['validation_nll'], 700)):.1f}"
    return f"{seen['validation_top1']:.3f}"
