"""Image folders: `train/` with `val/` and/or `test/`, or class folders that are split by `data.seed`."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image

from compressor.artifact.images import READER, ROOM, SUFFIXES, image_size, images_in, open_image
from compressor.artifact.metadata import showable
from compressor.data.config import AugmentConfig, DataConfig
from compressor.data.dataset import Source
from compressor.data.groups import read_groups
from compressor.data.images.setup import settle
from compressor.errors import DataError
from compressor.files import cache_dir, write_json
from compressor.progress import Progress, track
from compressor.text import as_bytes, line

_SPLIT_NAMES = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip

_HEAD = 64 * 1024  # bytes of each file that go into the fingerprint, beside its path and size


def read_folder(config: DataConfig, progress: Progress) -> Source:
    """An image folder as a source; every image is opened once, and unreadable ones are left out.

    Raises:
        DataError: no such folder, no class folders, an empty class folder, fewer than two classes,
            splits whose classes differ, more unreadable images than `data.max_unreadable`, or a damaged metadata.csv.
    """
    root = Path(config.source).expanduser()
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataError(
            f"data folder '{config.source}' {what} (from --data or data.source).\n"
            "Give `digits`, or a folder with one sub-folder of images per class."
        )
    layout, notes = _layout(root)
    classes = _classes(layout)
    ids, labels, owner = [], [], []
    for name, folder in layout.items():
        for label, class_name in enumerate(classes):
            for path in images_in(folder / class_name):
                ids.append(path.relative_to(root).as_posix())
                labels.append(label)
                owner.append(name)
    groups, remarks = read_groups(root, ids, [f.relative_to(root).as_posix() for f in layout.values() if f != root])
    content, bad = _inspect(root, ids, progress)
    _judge(bad, ids, config)
    groups = {name: [v for i, v in zip(ids, values, strict=True) if i not in bad] for name, values in groups.items()}
    keep = np.array([i not in bad for i in ids])
    ids = [i for i in ids if i not in bad]
    names = np.array(owner)[keep]
    paths = [root / i for i in ids]

    def read(index: int) -> Image.Image:
        try:
            return open_image(paths[index])
        except OSError as error:
            raise DataError(f"image {paths[index]} was readable at the start and is not now: {error}") from error

    fixed = {name: np.flatnonzero(names == name) for name in layout} if set(layout) != {"all"} else {}
    return Source(
        name=line(root.absolute().name),  # it travels in exported files, as UTF-8
        classes=classes,
        ids=ids,
        labels=np.array(labels, dtype=np.int64)[keep],
        read=read,
        content=content,
        fixed=fixed,
        notes=notes + remarks,
        groups=groups,
        unreadable=sorted(bad),
        setup=settle(config, size=_image_size(paths), augment=AugmentConfig()),
    )


def _image_size(paths: list[Path]) -> int:
    """The models' input for these images: their usual short side in steps of 32, from 32 to 224 pixels."""
    sides = []
    for path in paths[:: max(1, len(paths) // 64)]:
        sides.append(min(image_size(path)))
    return int(min(224, max(32, float(np.median(sides)) // 32 * 32)))


def _layout(root: Path) -> tuple[dict[str, Path], list[str]]:
    """Split name → folder; the key `all` when class folders lie in the root."""
    folders = _folders(root)
    named = {_SPLIT_NAMES[f.name.lower()]: f for f in folders if f.name.lower() in _SPLIT_NAMES}
    if "train" not in named:
        if not folders:
            loose = any(images_in(root))
            raise DataError(
                f"no class folders in {root}"
                + (": the images lie loose in it.\n" if loose else ".\n")
                + f"Sort them into one folder per class: {root}/cat/1.jpg, {root}/dog/2.jpg."
            )
        return {"all": root}, []
    notes = []
    if "test" not in named and "validation" in named:
        named["test"] = named.pop("validation")
        notes.append(
            f"no test/ in {root.name}: {named['test'].name}/ is kept for the final report, "
            "and validation is taken from train/"
        )
    return {name: named[name] for name in ("train", "validation", "test") if name in named}, notes


def _classes(layout: dict[str, Path]) -> list[str]:
    first, *others = layout
    classes = [f.name for f in _folders(layout[first])]
    if len(classes) < 2:
        raise DataError(
            f"{layout[first]} has {len(classes)} class folder(s); a classifier needs at least two.\n"
            f"Sort the images into one folder per class below {layout[first]}."
        )
    if odd := [name for name in classes if not showable(name)]:
        raise DataError(
            f"the class folder {odd[0]!r} in {layout[first]} has a character that can't be shown: rename it.\n"
            "Class names travel in the exported file and are printed wherever it is used."
        )
    for other in others:
        here = [f.name for f in _folders(layout[other])]
        if here != classes:
            missing, extra = sorted(set(classes) - set(here)), sorted(set(here) - set(classes))
            detail = "; ".join(
                f"{word} {', '.join(names[:5])}" + (" …" if len(names) > 5 else "")
                for word, names in (("lacks", missing), ("has besides", extra))
                if names
            )
            raise DataError(
                f"the splits' classes differ: {layout[other]} {detail}, compared with {layout[first]}.\n"
                "Every split needs the same class folders."
            )
    for folder in layout.values():
        for name in classes:
            if not images_in(folder / name):
                raise DataError(
                    f"class folder {folder / name} has no images ({', '.join(sorted(SUFFIXES))}).\n"
                    "Fill it, or remove it from every split."
                )
    return classes


def _folders(root: Path) -> list[Path]:
    """Sub-folders by name: Windows would sort paths without their case, and the order is that of the logits."""
    found = (p for p in root.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))
    return sorted(found, key=lambda p: p.name)


def _inspect(root: Path, ids: list[str], progress: Progress) -> tuple[str, set[str]]:
    """The content fingerprint, and the ids of images that can't be read.

    The fingerprint covers path, size and the first 64 KiB of each file. Decoding everything takes a
    while on large folders, so what it found is remembered per fingerprint.
    """
    digest = hashlib.blake2b(digest_size=8)
    for start in ROOM.work(lambda i: head_or_nothing(root / i), ids):
        digest.update(start)
    for i in ids:
        digest.update(as_bytes(i) + b"\0")
    content = digest.hexdigest()
    memory = cache_dir() / "inspected" / f"{content}-{READER}.json"
    if memory.is_file():
        return content, set(json.loads(memory.read_text())["unreadable"])
    readable = ROOM.work(lambda i: _readable(root / i), ids)
    verdicts = list(track(progress, readable, label="checking images", total=len(ids)))
    bad = {i for i, ok in zip(ids, verdicts, strict=True) if not ok}
    with contextlib.suppress(OSError):  # a device without a home to write to looks again the next time
        write_json(memory, {"unreadable": sorted(bad)})
    return content, bad


def head_or_nothing(path: Path) -> bytes:
    """`head`; nothing for a file that can't be read."""
    try:
        return head(path)
    except OSError:  # a link to nowhere, or no permission: unreadable, like a damaged image
        return b""


def head(path: Path) -> bytes:
    """What stands for a file in fingerprints: a hash of its size and its first 64 KiB."""
    with path.open("rb") as file:
        return hashlib.blake2b(file.read(_HEAD) + str(path.stat().st_size).encode(), digest_size=8).digest()


def _readable(path: Path) -> bool:
    try:
        open_image(path)
    except OSError:
        return False
    return True


def _judge(bad: set[str], ids: list[str], config: DataConfig) -> None:
    if len(bad) > config.max_unreadable * len(ids):
        named = ", ".join(sorted(bad)[:5]) + (" …" if len(bad) > 5 else "")
        raise DataError(
            f"{len(bad)} of {len(ids)} images can't be read: {named}.\n"
            f"That is more than data.max_unreadable = {config.max_unreadable:g} allows; "
            "repair or remove them, or raise the limit."
        )
