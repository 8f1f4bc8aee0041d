"""Images without labels, to which only a teacher speaks: pseudo-labelling with soft targets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from compressor.data.dataset import Dataset
from compressor.data.images import content, unchanged
from compressor.data.images.index import as_path, files_below
from compressor.data.prints import Prints
from compressor.data.splits import stratified
from compressor.data.tally import Tally
from compressor.errors import DataError
from compressor.modalities import UNLABELLED
from compressor.progress import Progress


def add_unlabeled(dataset: Dataset, folder: Path, progress: Progress) -> Dataset:
    """The dataset with the images below `folder` as its split `unlabeled`, their labels being −1.

    Images that show the very pixels of a validation or test image are left out, as are unreadable ones;
    `data.limit` holds for them too.

    Raises:
        DataError: no such folder, or no usable image in it.
    """
    folder = folder.expanduser()
    if not folder.is_dir():
        raise DataError(f"folder '{folder}' does not exist (from --unlabeled or data.unlabeled)")
    tally = Tally()
    files = sorted(files_below(folder, "", tally), key=as_path)
    names = [name for name, _, _ in files]
    sizes, times = (np.array([f[k] for f in files], dtype=np.int64) for k in (1, 2))
    rows = content.inspect(folder, names, sizes, times, progress)
    fingerprint = content.fingerprints(names, rows)[0]
    assert dataset.prints is not None
    held = np.concatenate([dataset.shown("validation"), dataset.shown("test")])
    good = rows["state"] == content.OK
    seen = good & np.isin(rows["exact"], held)
    used = np.flatnonzero(good & ~seen)
    unreadable = [names[i] for i in np.flatnonzero(~good)]
    if not len(used):
        raise DataError(
            f"no usable image below '{folder}' (from --unlabeled): {len(unreadable)} can't be read, "
            f"{seen.sum()} are validation or test images"
        )
    for state, reason in content.STATES.items():
        odd = [names[i] for i in np.flatnonzero(rows["state"] == state)]
        if odd:
            tally.add(reason, *odd[:5], count=len(odd))
    paths = [folder / names[i] for i in used]
    notes = [f"{len(paths)} unlabelled images: only the teacher speaks to them"]
    if seen.any():
        notes.append(f"{seen.sum()} of the unlabelled images are validation or test images: left out")
    notes += [f"of the unlabelled files: {entry}" for entry in tally.unused()]
    first = len(dataset.labels)
    labels = np.full(len(paths), UNLABELLED, dtype=np.int64)
    chosen = np.arange(first, first + len(paths))
    if dataset.config.limit is not None:
        chosen = chosen[stratified(labels, dataset.config.limit, dataset.seed, "limit", "unlabeled")]
    own = unchanged.reader(paths)

    def read(index: int) -> Image.Image:
        return dataset.read(index) if index < first else own(index - first)

    return replace(
        dataset,
        # With the content in it, an id tells images of the same name in two folders apart.
        ids=dataset.ids + [f"unlabeled-{fingerprint}/{names[i]}" for i in used],
        labels=np.concatenate([dataset.labels, labels]),
        read=read,
        splits=dataset.splits | {"unlabeled": chosen},
        unlabeled_content=fingerprint,
        notes=dataset.notes + notes,
        prints=Prints(exact=np.concatenate([dataset.prints.exact, rows["exact"][used]])),
        unreadable=dataset.unreadable + [str(folder / name) for name in sorted(unreadable)],
    )
