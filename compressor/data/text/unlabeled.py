"""Texts without labels, to which only a teacher speaks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from compressor.data.dataset import Dataset
from compressor.data.prints import Prints
from compressor.data.splits import stratified
from compressor.data.text.columns import Columns, columns_of
from compressor.data.text.files import SUFFIXES, WHOLE, fits
from compressor.data.text.read import Gathered, Thing, fingerprint, guessed, parts_of, prints_of
from compressor.data.text.setup import TextSetup
from compressor.errors import DataError
from compressor.modalities import UNLABELLED
from compressor.progress import Progress


def add_unlabeled(dataset: Dataset, place: Path, progress: Progress) -> Dataset:
    """The dataset with the texts of `place` as its split `unlabeled`, their labels being −1.

    `place` is a .txt file (a text per line), a folder of these, or a file as `data.source` takes. Texts that stand in
    validation or test are left out, as are repeated ones; `data.limit` holds for them too.

    Raises:
        DataError: no such place, or no usable text in it.
    """
    setup: TextSetup = dataset.setup
    got = Gathered()
    paths = list(_files(place.expanduser()))
    fits(paths)
    progress.say(f"reading unlabelled texts: {place.name}")
    for path in paths:
        _gather(got, path, place.expanduser(), setup)
    assert dataset.prints is not None
    exact = prints_of(got.texts)
    held = np.concatenate([dataset.shown("validation"), dataset.shown("test")])
    seen = np.isin(exact, held)
    first = np.zeros(len(exact), dtype=bool)
    first[np.unique(exact, return_index=True)[1]] = True
    used = np.flatnonzero(first & ~seen)
    if not len(used):
        raise DataError(
            f"no usable text in '{place}' (from --unlabeled): of {len(got.texts)} texts "
            f"{int(seen.sum())} are validation or test texts"
        )
    texts: list[Thing] = [got.texts[i] for i in used]
    notes = [f"{len(texts)} unlabelled texts: only the teacher speaks to them"]
    if seen.any():
        notes.append(f"{seen.sum()} of the unlabelled texts are validation or test texts: left out")
    if twice := int((~first & ~seen).sum()):
        notes.append(f"{twice} of the unlabelled texts are there before: left out")
    notes += [f"of the unlabelled texts: {entry}" for entry in got.tally.unused()]
    known, before = len(dataset.labels), dataset.read
    labels = np.full(len(texts), UNLABELLED, dtype=np.int64)
    chosen = np.arange(known, known + len(texts))
    if dataset.config.limit is not None:
        chosen = chosen[stratified(labels, dataset.config.limit, dataset.seed, "limit", "unlabeled")]
    content = fingerprint(part for text in texts for part in parts_of(text))
    return replace(
        dataset,
        ids=dataset.ids + [f"unlabeled-{content}/{got.ids[i]}" for i in used],
        labels=np.concatenate([dataset.labels, labels]),
        read=lambda i: before(i) if i < known else texts[i - known],
        splits=dataset.splits | {"unlabeled": chosen},
        unlabeled_content=content,
        notes=dataset.notes + notes,
        prints=Prints(exact=np.concatenate([dataset.prints.exact, exact[used]])),
    )


def _files(place: Path) -> Iterator[Path]:
    if place.is_dir():
        found = sorted(p for p in place.rglob("*.txt") if p.is_file())
    else:
        found = [place] if place.is_file() and place.suffix.lower() in (".txt", *SUFFIXES) else []
    if not found:
        raise DataError(
            f"no texts at '{place}' (from --unlabeled or data.unlabeled): give a .txt file with a text per line, "
            f"a folder of these, or a file of texts ({', '.join(SUFFIXES)})"
        )
    yield from found


def _gather(got: Gathered, path: Path, root: Path, setup: TextSetup) -> None:
    options = setup.options

    def find(first: list[dict[str, object]]) -> Columns:
        if path.suffix.lower() == ".txt":
            return Columns(text="text")
        return columns_of(path, first, options, labelled=False)

    columns, stream = guessed(path, find)
    if (columns.pair is not None) != setup.pair:
        raise DataError(
            f"{path} (from --unlabeled) has {'pairs' if columns.pair else 'single texts'}, "
            f"where the data have {'pairs' if setup.pair else 'single texts'}"
        )
    name = path.name if root == path else path.relative_to(root).as_posix()
    for record in stream:
        if record.damage is None:
            got.take(f"{name}:{record.place}", record.values, columns, WHOLE)
        else:
            got.tally.add(record.damage, f"{name}:{record.place}")
