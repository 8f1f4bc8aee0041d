"""A dataset: named classes, samples with stable ids, and three splits that never overlap. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.artifact.preprocessing import Inputs, Preprocessing, taken
from compressor.data.config import DataConfig
from compressor.data.encoded import Encoded
from compressor.data.groups import UNKNOWN
from compressor.data.prints import Prints
from compressor.data.splits import SPLITS, complete, split, stratified, without_repeats
from compressor.modalities import DEFAULT
from compressor.progress import Progress
from compressor.runnote import Unused
from compressor.text import as_bytes

HELD = ("validation", "test")
"""Splits that are seen again and again as they are, never varied."""


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
    """(samples,), or (samples, rows) where a sample has several supervised rows."""
    read: Callable[[int], Any]
    content: str
    modality: str = DEFAULT
    setup: Any = None
    """What the modality has settled for these data: its own object, known to its own files alone."""
    fixed: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    epochs: int | None = None
    """What `stage.epochs: auto` means for this data; None: `suggested_epochs`."""
    teacher_epochs: int | None = None
    """What `teacher.epochs: null` means, when the teacher has to be trained here; None: as any other model's."""
    seeds: int = 1
    """What `seeds: auto` means for this data: several where a training takes seconds."""
    unreadable: list[str] = field(default_factory=list)
    unused: list[Unused] = field(default_factory=list)
    """What lies there and is no sample, by reason; unreadable ones among them."""
    prints: Prints | None = None
    """What each sample shows; None where nobody has said how that is compared."""
    files: bool = False
    """Whether a sample has to be opened and decoded each time it is read."""
    formerly: str | None = None
    """What `content` was by the rules of an earlier version, if it was something else: cards may know it."""
    groups: dict[str, list[str]] = field(default_factory=dict)
    """Column of a `metadata.csv` → the group of each sample; see `data.groups`."""
    trained_epochs: int | None = None
    """As `epochs`, for trained weights; None: as many."""
    tokens: bool = False
    """Whether a class is a token: of many thousands, and told by its likelihood rather than by being named first."""
    borders: str | None = None
    """Fingerprint of who is in which split, where samples are cut anew from the content; None: by the samples' ids."""
    cut: str | None = None
    """How samples are cut from the content, where one content may be cut in several ways."""
    batch_size: int | None = None
    """What `stage.batch_size` means where it was left at its default; None: the default."""
    micro_batch: int | None = None
    """Samples whose logits have room in one forward; None: any batch's."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Samples and their splits, ready for use. `read(i)` gives sample i as its modality knows it."""

    name: str
    modality: str
    classes: list[str]
    ids: list[str]
    labels: NDArray[np.int64]
    """(samples,), or (samples, rows) where a sample has several supervised rows."""
    read: Callable[[int], Any]
    splits: dict[str, NDArray[np.int64]]
    """Sorted indices of `train`, `validation`, `test`, of `all` labelled samples, and of `unlabeled` ones if any."""
    content: str
    """Fingerprint of the samples alone."""
    split_fingerprint: str
    """Fingerprint of who is in which split, before `limit`."""
    seed: int
    setup: Any
    """What the modality has settled for these data."""
    epochs: int
    """Suggested for a model from scratch."""
    trained_epochs: int
    """Suggested for trained weights."""
    teacher_epochs: int | None
    """Suggested for a teacher, where that is another number."""
    seeds: int
    config: DataConfig
    notes: list[str]
    unreadable: list[str]
    unused: list[Unused] = field(default_factory=list)
    """What no split holds, by reason."""
    prints: Prints | None = None
    """What each sample shows, labelled or not; None where nobody has said how that is compared."""
    files: bool = False
    """Whether a sample has to be opened and decoded each time it is read."""
    encoded: Encoded | None = None
    """Where validation and test samples are kept as models see them; None reads them each time."""
    formerly: str | None = None
    """What `content` was by the rules of an earlier version."""
    unlabeled_content: str | None = None
    """Fingerprint of the unlabelled samples; None without any."""
    groups: dict[str, list[str]] = field(default_factory=dict)
    """Column → the group of each labelled sample. No part of any fingerprint: nothing is trained on it."""
    tokens: bool = False
    """Whether a class is a token; see `Source`, as for the three below."""
    cut: str | None = None
    batch_size: int | None = None
    micro_batch: int | None = None

    @property
    def rows(self) -> int:
        """Supervised rows per sample: 1, unless a sample has several labels."""
        return 1 if self.labels.ndim == 1 else self.labels.shape[1]

    def row_ids(self, indices: NDArray[np.int64]) -> list[str]:
        """A name for each row of the samples: theirs, numbered where a sample has several rows."""
        if self.rows == 1:
            return [self.ids[i] for i in indices]
        return [f"{self.ids[i]}#{row}" for i in indices for row in range(self.rows)]

    def row_groups(self, row_ids: Sequence[str] | NDArray[np.str_]) -> dict[str, list[str]]:
        """Column → the group of each named row; `unknown` for one that is not in these data."""
        if not self.groups:
            return {}
        index = {name: i // self.rows for i, name in enumerate(self.row_ids(self.splits["all"]))}
        places = [index.get(str(name)) for name in row_ids]
        return {column: [UNKNOWN if i is None else groups[i] for i in places] for column, groups in self.groups.items()}

    @property
    def fingerprint(self) -> str:
        """Changes when a sample, a split or the limit does."""
        return self._fingerprint(self.content)

    def unchanged_since(self, fingerprint: str) -> bool:
        """Whether this is the fingerprint of these data, by today's rules or by those of an earlier version."""
        return fingerprint in {self._fingerprint(content) for content in (self.content, self.formerly) if content}

    def _fingerprint(self, content: str) -> str:
        more = [part for part in (self.unlabeled_content, self.cut) if part]
        return _hash([content, self.split_fingerprint, str(self.config.limit), *more])

    def split_otherwise(self, card: dict[str, Any]) -> bool:
        """Whether what has this `card` was trained on these very samples, but split in another way."""
        return self.known_as(card.get("content")) and card.get("split") != self.split_fingerprint

    def known_as(self, content: str | None) -> bool:
        """Whether this fingerprint is of these very samples."""
        return content is not None and content in (self.content, self.formerly)

    def shown(self, split: str) -> NDArray[np.uint64]:
        """Prints of what a split shows, ascending; empty where nobody has said how that is compared."""
        return np.unique(self.prints.exact[self.splits[split]]) if self.prints else np.zeros(0, np.uint64)

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

    def only(self, split: str, indices: NDArray[np.int64]) -> Dataset:
        """The same with nothing but `indices` in a split."""
        return replace(self, splits=self.splits | {split: indices})

    def spread(self, split: str, count: int, salt: str) -> NDArray[np.int64]:
        """At most `count` samples of a split with the classes' shares kept; the same for the same `salt`."""
        indices = self.splits[split]
        labels = self.labels[indices] if self.rows == 1 else self.labels[indices, 0]
        if self.tokens:
            labels = np.zeros_like(labels)
        return indices[stratified(labels, count, self.seed, salt)]

    def inputs(
        self, split: str, preprocessing: Preprocessing, batch_size: int
    ) -> Iterator[tuple[NDArray[np.int64], Inputs]]:
        """The split in order, as evaluation sees it: (indices, encoded samples) per batch."""
        indices = self.splits[split]
        if self.encoded is not None and split in HELD:
            yield from self.encoded.inputs(
                indices, preprocessing, lambda part: self._encode(part, preprocessing), batch_size
            )
            return
        for start in range(0, len(indices), batch_size):
            part = indices[start : start + batch_size]
            yield part, self._encode(part, preprocessing)

    def some(self, split: str, chosen: NDArray[np.int64], preprocessing: Preprocessing) -> Inputs:
        """A few of a split's samples, encoded, in the split's order."""
        if self.encoded is None or split not in HELD:
            return self._encode(chosen, preprocessing)
        parts = [taken(inputs, np.isin(part, chosen)) for part, inputs in self.inputs(split, preprocessing, 256)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _encode(self, indices: NDArray[np.int64], preprocessing: Preprocessing) -> Inputs:
        return preprocessing.encode([self.read(int(i)) for i in indices])

    def keeping(self, progress: Progress) -> Dataset:
        """The same with validation and test kept on disk as models see them: no file is decoded in every epoch."""
        if not self.files or not self.config.decoded:
            return self
        limit = round(self.config.decoded_limit * 1e9)
        return replace(self, encoded=Encoded(content=self.content, limit=limit, progress=progress))

    def kept(
        self, split: str, preprocessing: Preprocessing, most: int
    ) -> list[tuple[NDArray[np.int64], Inputs]] | None:
        """The split's inputs in batches of 64, where they take at most `most` bytes; None where they take more."""
        _, first = next(self.inputs(split, preprocessing, 1))
        size = len(self.splits[split]) * sum(array.nbytes for array in first.values())
        return list(self.inputs(split, preprocessing, 64)) if size <= most else None


VIEWS = 300_000
"""Views after which a small network gains little more, however few the samples: steps count, not epochs."""


def suggested_epochs(samples: int, *, trained: bool = False) -> int:
    """Epochs that give about `VIEWS` views, 30 to 300; a third of both for weights that are `trained` already."""
    epochs = max(30, min(300, -(-VIEWS // samples)))
    return epochs // 3 if trained else epochs


def build(source: Source, config: DataConfig) -> Dataset:
    """Splits a source, applies the limit, and fingerprints the outcome.

    Raises:
        DataError: too few samples for three splits.
    """
    strata = source.labels if source.labels.ndim == 1 else source.labels[:, 0]
    if source.tokens:  # nobody asks for each of them in every split
        strata = np.zeros_like(strata)
    splits = split(strata, source.fixed, config)
    notes, unused = list(source.notes), list(source.unused)
    if source.prints is not None:
        splits, found, remarks = without_repeats(source.ids, source.labels, source.prints, splits, config)
        notes, unused = notes + remarks, unused + found
        complete(strata, splits, "too few samples, with what two splits show taken out of one")
    held = {name: [source.ids[i] for i in indices] for name, indices in splits.items()}
    split_fingerprint = source.borders or _hash([f"{name}:{i}" for name in SPLITS for i in held[name]])
    if config.limit is not None:
        if config.limit < len(source.classes) and not source.tokens:
            notes.append(
                f"limit {config.limit} is below the {len(source.classes)} classes: "
                f"{config.limit} of them, drawn at random, have a sample in each split"
            )
        splits = {
            name: indices[stratified(strata[indices], config.limit, config.seed, "limit", name)]
            for name, indices in splits.items()
        }
    return Dataset(
        name=source.name,
        modality=source.modality,
        classes=source.classes,
        ids=source.ids,
        labels=source.labels,
        read=source.read,
        splits=splits | {"all": np.arange(len(source.labels))},
        content=source.content,
        split_fingerprint=split_fingerprint,
        seed=config.seed,
        setup=source.setup,
        epochs=source.epochs or suggested_epochs(len(splits["train"])),
        trained_epochs=source.trained_epochs or source.epochs or suggested_epochs(len(splits["train"]), trained=True),
        teacher_epochs=source.teacher_epochs,
        seeds=source.seeds,
        config=config,
        notes=notes,
        unreadable=source.unreadable,
        unused=unused,
        prints=source.prints,
        files=source.files,
        formerly=source.formerly,
        groups=source.groups,
        tokens=source.tokens,
        cut=source.cut,
        batch_size=source.batch_size,
        micro_batch=source.micro_batch,
    )


def _hash(parts: Sequence[str]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(as_bytes(part) + b"\0")
    return digest.hexdigest()
