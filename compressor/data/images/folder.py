"""Image folders: `train/` with `val/` and/or `test/`, or class folders that are split by `data.seed`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressor.data.config import AugmentConfig, DataConfig
from compressor.data.dataset import Source
from compressor.data.groups import read_groups
from compressor.data.images import content, unchanged
from compressor.data.images.index import Listing, list_folder
from compressor.data.images.setup import settle
from compressor.data.prints import Prints
from compressor.errors import DataError
from compressor.progress import Progress
from compressor.text import line


def read_folder(config: DataConfig, progress: Progress) -> Source:
    """An image folder as a source; every image that is new or has changed is opened once, unreadable ones are left out.

    Raises:
        DataError: no such folder, a layout that is none or may mean two things (see `list_folder`),
            more unreadable images than `data.max_unreadable`, or a damaged metadata.csv.
    """
    root = Path(config.source).expanduser()
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataError(
            f"data folder '{config.source}' {what} (from --data or data.source).\n"
            "Give `digits`, a folder with one sub-folder of images per class, or texts "
            "(a .csv, .tsv, .jsonl or .json file, or a folder with train and test of these)."
        )
    found = list_folder(root)
    groups, remarks = read_groups(root, found.names, found.folders)
    rows = content.inspect(root, found.names, found.sizes, found.times, progress)
    fingerprint, before = content.fingerprints(found.names, rows)
    good = rows["state"] == content.OK
    bad = _unreadable(found, rows, config)
    ids = [name for name, ok in zip(found.names, good.tolist(), strict=True) if ok]
    owners, rows = found.owners[good], rows[good]
    fixed = {name: np.flatnonzero(owners == number) for number, name in enumerate(found.splits) if name != "all"}

    sizes = np.stack([rows["width"], rows["height"]], axis=1)
    return Source(
        name=line(root.absolute().name),  # it travels in exported files, as UTF-8
        classes=found.classes,
        ids=ids,
        labels=found.labels[good],
        read=unchanged.reader([root / i for i in ids]),
        content=fingerprint,
        formerly=before,
        files=True,
        fixed=fixed,
        notes=found.notes + remarks,
        groups={name: [v for v, ok in zip(values, good, strict=True) if ok] for name, values in groups.items()},
        unreadable=bad,
        unused=found.tally.unused(),
        prints=Prints(exact=rows["exact"].copy(), near=rows["near"].copy(), sizes=sizes),
        setup=settle(config, size=_image_size(sizes), augment=AugmentConfig()),
    )


def _image_size(sizes: NDArray[np.int32]) -> int:
    """The models' input for these images: their usual short side in steps of 32, from 32 to 224 pixels."""
    sides = sizes[:: max(1, len(sizes) // 64)].min(axis=1)
    return int(min(224, max(32, float(np.median(sides)) // 32 * 32)))


def _unreadable(found: Listing, rows: content.Rows, config: DataConfig) -> list[str]:
    """The images that can't be read, sorted, and counted by reason. Raises DataError where they are too many."""
    bad = []
    for state, reason in content.STATES.items():
        names = [found.names[i] for i in np.flatnonzero(rows["state"] == state)]
        if names:
            found.tally.add(reason, *names[:5], count=len(names))
        bad += names
    if len(bad) > config.max_unreadable * len(rows) or len(bad) == len(rows):
        named = ", ".join(sorted(bad)[:5]) + (" …" if len(bad) > 5 else "")
        raise DataError(
            f"{len(bad)} of {len(rows)} images can't be read: {named}.\n"
            f"That is more than data.max_unreadable = {config.max_unreadable:g} allows; "
            "repair or remove them, or raise the limit."
        )
    return sorted(bad)
