"""A dataset: named classes, samples with stable ids, and three splits that never overlap. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compressor.artifact.preprocessing import Preprocessing, to_pixels
from compressor.data.config import AugmentConfig, DataConfig
from compressor.errors import DataError
from compressor.seeds import derive_seed

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a kind of data delivers: every sample with its label, and splits where it has its own.

    `fixed` maps a split's name to the indices it owns; splits that are missing there are drawn from
    `train` (or, with no fixed split at all, from everything).
    """

    name: str
    classes: list[str]
    ids: list[str]
    labels: NDArray[np.int64]
    read: Callable[[int], Image.Image]
    content: str
    fixed: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    image_size: int = 224
    epochs: int = 30
    """What `stage.epochs: auto` means for this data."""
    teacher_epochs: int = 30
    """What `teacher.epochs: null` means for this data, when the teacher has to be trained here."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    unreadable: list[str] = field(default_factory=list)
    in_memory: bool = False
    """Whether `read` costs nothing: such images are not stored decoded."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Samples and their splits, ready for use. `read(i)` gives sample i as an RGB image."""

    name: str
    classes: list[str]
    ids: list[str]
    labels: NDArray[np.int64]
    read: Callable[[int], Image.Image]
    splits: dict[str, NDArray[np.int64]]
    """Sorted indices of `train`, `validation`, `test`, of `all` labelled samples, and of `unlabeled` ones if any."""
    content: str
    """Fingerprint of the images alone."""
    split_fingerprint: str
    """Fingerprint of who is in which split, before `limit`."""
    seed: int
    image_size: int
    epochs: int
    teacher_epochs: int
    augment: AugmentConfig
    config: DataConfig
    notes: list[str]
    unreadable: list[str]
    in_memory: bool
    read_for_views: Callable[[int], Image.Image]
    """Sample → RGB image that training views are made from; may be smaller than what `read` gives."""
    decoded_side: int | None = None
    """Short side of stored decoded images, pixels; None where views are made from the originals."""
    unlabeled_content: str | None = None
    """Fingerprint of the unlabelled images; None without any."""

    @property
    def fingerprint(self) -> str:
        """Changes when an image, a split or the limit does."""
        unlabeled = [self.unlabeled_content] if self.unlabeled_content else []
        return _hash([self.content, self.split_fingerprint, str(self.config.limit), *unlabeled])

    @property
    def view_fingerprint(self) -> str:
        """Changes when the pixels that a view is made from do, the images being the same."""
        return f"{self.config.interpolation}:{self.decoded_side or 'original'}"

    def split_otherwise(self, card: dict[str, Any]) -> bool:
        """Whether what has this `card` was trained on these very images, but split in another way."""
        return card.get("content") == self.content and card.get("split") != self.split_fingerprint

    def card(self) -> dict[str, str | int | float]:
        """What a checkpoint remembers of the data it was trained on; enough to draw the same splits again."""
        return {
            "name": self.name,
            "content": self.content,
            "split": self.split_fingerprint,
            "fingerprint": self.fingerprint,
            "seed": self.seed,
            "validation": self.config.validation,
            "test": self.config.test,
        }

    def with_unlabeled(self, chosen: NDArray[np.int64] | None = None) -> Dataset:
        """The training split with unlabelled samples in it: all of them, or those `chosen`; they follow the others."""
        if "unlabeled" not in self.splits:
            return self
        added = self.splits["unlabeled"] if chosen is None else chosen
        return replace(self, splits=self.splits | {"train": np.concatenate([self.splits["train"], added])})

    def pixels(
        self, split: str, preprocessing: Preprocessing, batch_size: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """The split in order, as evaluation sees it: (indices, (batch, size, size, 3) uint8)."""
        indices = self.splits[split]
        for start in range(0, len(indices), batch_size):
            part = indices[start : start + batch_size]
            yield part, np.stack([to_pixels(self.read(int(i)), preprocessing) for i in part])

    def kept(
        self, split: str, preprocessing: Preprocessing, most: int
    ) -> list[tuple[NDArray[np.int64], NDArray[np.uint8]]] | None:
        """The split's pixels in batches of 64, where they take at most `most` bytes; None where they take more."""
        size = len(self.splits[split]) * preprocessing.size**2 * 3
        return list(self.pixels(split, preprocessing, 64)) if size <= most else None


def build(source: Source, config: DataConfig) -> Dataset:
    """Splits a source, applies the limit, and fingerprints the outcome.

    Raises:
        DataError: too few images for three splits.
    """
    splits = split(source.labels, source.fixed, config)
    held = {name: [source.ids[i] for i in indices] for name, indices in splits.items()}
    split_fingerprint = _hash([f"{name}:{i}" for name in SPLITS for i in held[name]])
    if config.limit is not None:
        splits = {
            name: indices[stratified(source.labels[indices], config.limit, config.seed, "limit", name)]
            for name, indices in splits.items()
        }
    return Dataset(
        name=source.name,
        classes=source.classes,
        ids=source.ids,
        labels=source.labels,
        read=source.read,
        splits=splits | {"all": np.arange(len(source.labels))},
        content=source.content,
        split_fingerprint=split_fingerprint,
        seed=config.seed,
        image_size=source.image_size if config.image_size == "auto" else config.image_size,
        epochs=source.epochs,
        teacher_epochs=source.teacher_epochs,
        augment=source.augment if config.augment == "auto" else config.augment,
        config=config,
        notes=source.notes,
        unreadable=source.unreadable,
        in_memory=source.in_memory,
        read_for_views=source.read,
    )


def split(
    labels: NDArray[np.int64], fixed: dict[str, NDArray[np.int64]], config: DataConfig
) -> dict[str, NDArray[np.int64]]:
    """Three disjoint, sorted index arrays; what `fixed` does not give is drawn stratified by `data.seed`."""
    rest = fixed.get("train", np.arange(len(labels)))
    splits: dict[str, NDArray[np.int64]] = {n: fixed[n] for n in ("test", "validation") if n in fixed}
    for name, share in (("test", config.test), ("validation", config.validation)):
        if name in splits:
            continue
        whole = len(fixed["train"]) if fixed else len(labels)
        # Of few images a class each split still gets one of every class.
        taken = stratified(labels[rest], max(round(whole * share), len(set(labels[rest]))), config.seed, name)
        splits[name] = rest[taken]
        rest = np.delete(rest, taken)
    splits["train"] = rest
    for name in SPLITS:
        missing = set(labels.tolist()) - set(labels[splits[name]].tolist())
        if missing:
            raise DataError(
                f"too few images to split: {name} gets none of {len(missing)} class(es).\n"
                f"Each class needs at least 3 images ({len(labels)} images in all), "
                "or give the splits as folders train/, val/ and test/."
            )
    return {name: np.sort(splits[name]) for name in SPLITS}


def stratified(labels: NDArray[np.int64], count: int, seed: int, *salt: str) -> NDArray[np.int64]:
    """Positions of `count` samples with the classes' shares kept, at least one each; sorted.

    A smaller count is always a subset of a larger one: samples are ranked once, per class, by seed.
    """
    if count >= len(labels):
        return np.arange(len(labels))
    ranks = np.empty(len(labels))
    for c in np.unique(labels):
        members = np.flatnonzero(labels == c)
        order = np.random.default_rng(derive_seed(seed, *salt, int(c))).permutation(len(members))
        # The k-th of n members stands at (k + ½) / n: cutting all classes at one height keeps shares.
        ranks[members[order]] = (np.arange(len(members)) + 0.5) / len(members)
        ranks[members[order[0]]] = 0.0
    return np.sort(np.argsort(ranks, kind="stable")[:count])


def _hash(parts: Sequence[str]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()
