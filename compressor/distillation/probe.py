"""A fresh head for trained weights: fitted on the body's stored answers, before the body moves, or instead of it.

A head of noise sends noise through the body: what the weights know is lost in the first steps. Linear probing then
fine-tuning (Kumar et al. 2022) starts from the best head that the untouched body allows; it costs a few forwards
over the training samples and no backward at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from compressor.artifact.preprocessing import Preprocessing
from compressor.data.dataset import Dataset
from compressor.modalities import UNLABELLED
from compressor.models.family import StateDict, family_of
from compressor.models.weights import head_names
from compressor.progress import Progress

MOST_ROWS = 60_000
"""Embeddings that are held in memory; of more samples, a spread of them."""
PENALTIES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)
"""Ridge penalties on weights for standardised embeddings, strongest first: each fit starts from the one before."""
STEPS = 40  # of L-BFGS for each penalty
BATCH = 64
STATISTICS = 32 * BATCH
"""Samples that renewed normalisation statistics are averaged over."""


@dataclass(frozen=True, kw_only=True)
class Probed:
    """A fitted head, which is in the model already."""

    top1: float
    """On validation, a fraction."""
    nll: float
    """On validation, nats."""
    penalty: float
    """The ridge penalty that validation chose."""
    renewed: bool
    """Whether the normalisation statistics of these data were kept instead of those that came with the weights."""


def fit_head(
    model: nn.Module,
    dataset: Dataset,
    preprocessing: Preprocessing,
    *,
    device: torch.device,
    batches: bool,
    label: str,
    progress: Progress,
) -> Probed | None:
    """Fits the model's linear head on the training samples' embeddings, in place; None where it has no such head.

    Batch normalisation's running statistics belong to the data and the size that the weights were trained with.
    A body that will learn by `batches` normalises by them, so the head is fitted to statistics of these samples. For
    one that keeps its statistics both kinds are tried, and validation decides (Li et al. 2016, AdaBN).
    """
    model.to(device).eval()
    head = linear_head(model, preprocessing)
    if head is None:
        return None
    has = bool(normalised(model))
    ways = [False, True] if has and not batches else [has]
    best: Probed | None = None
    kept: StateDict = {}
    for renewed in ways:
        if renewed:
            renew_statistics(model, _inputs(model, dataset, "train", preprocessing, device, STATISTICS))
        found = Probed(renewed=renewed, **_fit(model, head, dataset, preprocessing, device, label, progress))
        if best is None or found.nll < best.nll:
            best, kept = found, deepcopy(model.state_dict())
    model.load_state_dict(kept)
    return best


def normalised(model: nn.Module) -> list[_BatchNorm]:
    """Its batch normalisations with running statistics."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]


@torch.no_grad()
def renew_statistics(model: nn.Module, batches: Iterable[tuple[tuple[Tensor, ...], Tensor]]) -> None:
    """Gives batch normalisation the plain average of these batches' statistics."""
    norms = normalised(model)
    model.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's spelling of a plain average
        norm.train()
    for prepared, _ in batches:
        family_of(model).forward(model, prepared)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


def linear_head(model: nn.Module, preprocessing: Preprocessing) -> nn.Linear | None:
    """The head, where it is one linear layer on the embedding; that is asked of the model, not of its name."""
    names = head_names(model)
    owners = {name.rpartition(".")[0] for name in names}
    if len(owners) != 1:
        return None
    head = model.get_submodule(owners.pop())
    if not isinstance(head, nn.Linear):
        return None
    family = family_of(model)
    device = head.weight.device
    with torch.no_grad():
        given = tuple(tensor.to(device) for tensor in family.example(preprocessing, 2))
        seen = family.forward(model.eval(), given, embedding=True)
        if seen.embedding is None or seen.embedding.shape[-1] != head.in_features:
            return None
        same = torch.allclose(head(seen.embedding), seen.logits, rtol=1e-3, atol=1e-4)
    return head if same else None


@torch.no_grad()
def _fit(
    model: nn.Module,
    head: nn.Linear,
    dataset: Dataset,
    preprocessing: Preprocessing,
    device: torch.device,
    label: str,
    progress: Progress,
) -> dict[str, float]:
    """Puts the head that is best on validation into the model; its `top1`, `nll` and `penalty`."""
    sets = []
    for split in ("train", "validation"):
        features, labels = [], []
        with progress.bar(f"{label}: embeddings of {split}", len(dataset.splits[split])) as bar:
            for prepared, own in _inputs(model, dataset, split, preprocessing, device, MOST_ROWS // dataset.rows):
                seen = family_of(model).forward(model, prepared, embedding=True).embedding
                assert seen is not None
                features.append(seen.float()[own != UNLABELLED])
                labels.append(own[own != UNLABELLED])
                bar.advance(len(own) // dataset.rows)
        sets += [torch.cat(features), torch.cat(labels)]
    return _ridge(head, *sets)


def _ridge(head: nn.Linear, x: Tensor, y: Tensor, held: Tensor, held_labels: Tensor) -> dict[str, float]:
    """Multinomial logistic regression by L-BFGS along the path of penalties; validation's NLL chooses."""
    mean, std = x.mean(0), x.std(0).clamp_min(1e-6)
    for features in (x, held):  # in place: they are as large as anything here
        features.sub_(mean).div_(std)
    weight = torch.zeros(head.out_features, x.shape[1], device=x.device, requires_grad=True)
    bias = torch.zeros(head.out_features, device=x.device, requires_grad=True)
    best: dict[str, float] = {}
    kept = (weight.detach(), bias.detach())
    for penalty in PENALTIES:
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

        def loss(penalty: float = penalty, optimizer: torch.optim.Optimizer = optimizer) -> Tensor:
            optimizer.zero_grad()
            value = F.cross_entropy(F.linear(x, weight, bias), y) + penalty / 2 * weight.square().sum()
            value.backward()
            return value

        optimizer.step(loss)
        with torch.no_grad():
            logits = F.linear(held, weight, bias)
            nll = float(F.cross_entropy(logits, held_labels))
            if best and nll >= best["nll"]:
                break  # weaker ones overfit more
            top1 = float((logits.argmax(1) == held_labels).float().mean())
            best = {"nll": nll, "top1": top1, "penalty": penalty}
            kept = (weight.detach().clone(), bias.detach().clone())
    with torch.no_grad():
        head.weight.copy_(kept[0] / std)
        if head.bias is not None:
            head.bias.copy_(kept[1] - (kept[0] * mean / std).sum(1))
    return best


def _inputs(
    model: nn.Module, dataset: Dataset, split: str, preprocessing: Preprocessing, device: torch.device, most: int
) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
    """At most `most` samples of a split as evaluation sees them, prepared, with their rows' labels."""
    chosen = dataset.only(split, dataset.spread(split, most, "probe"))
    for part, inputs in chosen.inputs(split, preprocessing, BATCH):
        given = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
        labels = torch.from_numpy(dataset.labels[part].reshape(-1)).to(device)
        yield family_of(model).prepare(given, preprocessing), labels
