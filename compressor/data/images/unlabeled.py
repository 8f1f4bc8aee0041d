"""Images without labels, to which only a teacher speaks: pseudo-labelling with soft targets."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from compressor.artifact.images import images_in, open_image
from compressor.data.dataset import Dataset, stratified
from compressor.data.images import unchanged
from compressor.data.images.folder import head
from compressor.errors import DataError
from compressor.files import cache_dir, write_json
from compressor.modalities import UNLABELLED
from compressor.progress import Progress, track


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
    paths = images_in(folder)
    content, unreadable, held_out = _inspect(dataset, folder, paths, progress)
    paths = [p for p in paths if p not in unreadable | held_out]
    if not paths:
        raise DataError(
            f"no usable image below '{folder}' (from --unlabeled): {len(unreadable)} can't be read, "
            f"{len(held_out)} are validation or test images"
        )
    notes = [f"{len(paths)} unlabelled images: only the teacher speaks to them"]
    if held_out:
        notes.append(f"{len(held_out)} of the unlabelled images are validation or test images: left out")
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
        ids=dataset.ids + [f"unlabeled-{content}/{p.relative_to(folder).as_posix()}" for p in paths],
        labels=np.concatenate([dataset.labels, labels]),
        read=read,
        splits=dataset.splits | {"unlabeled": chosen},
        unlabeled_content=content,
        notes=dataset.notes + notes,
        unreadable=dataset.unreadable + sorted(str(p) for p in unreadable),
    )


def _inspect(dataset: Dataset, folder: Path, paths: list[Path], progress: Progress) -> tuple[str, set[Path], set[Path]]:
    """The images' fingerprint, which can't be read, and which show a held-out image; remembered per fingerprint."""
    digest = hashlib.blake2b(digest_size=8)
    with ThreadPoolExecutor() as pool:
        for path, start in zip(paths, pool.map(head, paths, chunksize=64), strict=True):
            digest.update(start + path.relative_to(folder).as_posix().encode() + b"\0")
    content = digest.hexdigest()
    memory = cache_dir() / "inspected" / f"{content}-{dataset.fingerprint}.json"
    if not memory.is_file():
        held = [int(i) for split in ("validation", "test") for i in dataset.splits[split]]
        with ThreadPoolExecutor() as pool:
            forbidden = set(pool.map(lambda i: _pixels(dataset.read(i)), held))
            found = track(progress, pool.map(_shown, paths, chunksize=16), label="checking images", total=len(paths))
            shown = list(found)
        write_json(memory, {
            "unreadable": [i for i, pixels in enumerate(shown) if pixels is None],
            "held_out": [i for i, pixels in enumerate(shown) if pixels in forbidden],
        })  # fmt: skip
    known = json.loads(memory.read_text())
    return content, {paths[i] for i in known["unreadable"]}, {paths[i] for i in known["held_out"]}


def _shown(path: Path) -> bytes | None:
    try:
        return _pixels(open_image(path))
    except OSError:
        return None


def _pixels(image: Image.Image) -> bytes:
    return hashlib.blake2b(image.tobytes() + repr(image.size).encode(), digest_size=16).digest()
