"""Which files of a folder are images of which class and split, and why the others are not used. Opens no file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressor.artifact.images import SUFFIXES
from compressor.artifact.metadata import showable
from compressor.data.groups import METADATA
from compressor.data.tally import NAMED, Tally
from compressor.errors import DataError

SPLIT_NAMES = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip

ABSENT = -1
"""Size of what a link to nowhere points to."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The image files of a folder, a row each, in the order of splits, classes and names."""

    root: Path
    names: list[str] = field(default_factory=list)
    """Relative to the root, with `/`."""
    sizes: NDArray[np.int64]
    """Bytes; `ABSENT` for a link to nowhere."""
    times: NDArray[np.int64]
    """When each was changed, nanoseconds since 1970."""
    labels: NDArray[np.int64]
    """Numbers of the classes."""
    owners: NDArray[np.int8]
    """Numbers of the splits, as `splits` lists them."""
    splits: list[str]
    """`all` alone where class folders lie in the root."""
    folders: list[str]
    """The splits' folders, relative to the root."""
    classes: list[str]
    tally: Tally
    notes: list[str]


File = tuple[str, int, int]
"""(name, bytes, nanoseconds since 1970)."""


def list_folder(root: Path) -> Listing:
    """A labelled folder's images.

    Raises:
        DataError: no class folders, an empty one, fewer than two classes, splits whose classes differ, or a layout that
            may mean two things.
    """
    tally = Tally()
    layout, notes = _layout(root, tally)
    classes = _classes(layout)
    files: list[File] = []
    labels: list[int] = []
    owners: list[int] = []
    for owner, (split, folder) in enumerate(layout.items()):
        if split != "all":
            _loose(folder, root, tally)
        for label, name in enumerate(classes):
            before = len(files)
            prefix = (folder / name).relative_to(root).as_posix()
            files += sorted(files_below(folder / name, prefix, tally), key=as_path)
            labels += [label] * (len(files) - before)
            owners += [owner] * (len(files) - before)
            if len(files) == before:
                raise DataError(
                    f"class folder {folder / name} has no images ({', '.join(sorted(SUFFIXES))}).\n"
                    "Fill it, or remove it from every split."
                )
    return Listing(
        root=root, names=[f[0] for f in files],
        sizes=np.array([f[1] for f in files], dtype=np.int64), times=np.array([f[2] for f in files], dtype=np.int64),
        labels=np.array(labels, dtype=np.int64), owners=np.array(owners, dtype=np.int8), splits=list(layout),
        folders=[f.relative_to(root).as_posix() for f in layout.values() if f != root],
        classes=classes, tally=tally, notes=notes,
    )  # fmt: skip


def files_below(folder: Path, prefix: str, tally: Tally) -> Iterator[File]:
    """The image files at any depth of a folder, in no order; what is not used is counted.

    Args:
        folder: where to look. Links to folders in it are not followed: they may lead round, or to another class.
        prefix: the folder's name in the names of its files.
    """
    waiting = [(str(folder), prefix)]
    while waiting:
        directory, inside = waiting.pop()
        try:
            entries = os.scandir(directory)
        except OSError:
            tally.add("in a folder that can't be read", inside)
            continue
        with entries:
            for entry in entries:
                name = f"{inside}/{entry.name}" if inside else entry.name
                if entry.name.startswith("."):
                    if entry.is_dir(follow_symlinks=False):
                        tally.add_folder("hidden", Path(entry.path), name)
                    else:
                        tally.add("hidden", name)
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, name))
                elif (found := _file(entry, name, tally)) is not None:
                    yield found


def _file(entry: os.DirEntry[str], name: str, tally: Tally) -> File | None:
    suffix = os.path.splitext(entry.name)[1].lower()
    if entry.is_dir():
        tally.add("link to a folder", name)
    elif suffix not in SUFFIXES:
        plain = suffix[1:].isascii() and suffix[1:].isalnum() and len(suffix) <= 12
        tally.add(f"unsupported type {suffix}" if plain else "unsupported type", name)
    else:
        try:
            found = entry.stat()
        except OSError:
            return name, ABSENT, 0
        if entry.is_file():
            return name, found.st_size, found.st_mtime_ns
        tally.add("no regular file", name)  # to open a pipe would wait for ever
    return None


def as_path(file: File) -> str:
    """Sorts as `Path` does: by the parts of a name, not by its characters."""
    return file[0].replace("/", "\0")


def subfolders(root: Path) -> list[Path]:
    """The folders in a folder that may be classes or splits, by name: Windows would sort paths without their case."""
    found = (p for p in root.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))
    return sorted(found, key=lambda p: p.name)


def _layout(root: Path, tally: Tally) -> tuple[dict[str, Path], list[str]]:
    """Split name → folder; the key `all` when class folders lie in the root."""
    folders = subfolders(root)
    _loose(root, root, tally)
    if not folders:
        loose = any(os.path.splitext(p.name)[1].lower() in SUFFIXES for p in root.iterdir())
        raise DataError(
            f"no class folders in {root}"
            + (": the images lie loose in it.\n" if loose else ".\n")
            + f"Sort them into one folder per class: {root}/cat/1.jpg, {root}/dog/2.jpg."
        )
    named = [f for f in folders if f.name.lower() in SPLIT_NAMES]
    splits = [f for f in named if subfolders(f)]
    if not splits:
        return _all_classes(root, folders, named)
    return _splits(root, folders, splits, tally)


def _all_classes(root: Path, folders: list[Path], named: list[Path]) -> tuple[dict[str, Path], list[str]]:
    """Where no folder that is named as a split has class folders in it."""
    spelled = ", ".join(f"{f.name}/" for f in named)
    if named and len(named) == len(folders):
        raise DataError(
            f"{spelled} in {root} hold no class folders.\n"
            f"Sort the images into one folder per class: {named[0]}/cat/1.jpg, {named[0]}/dog/2.jpg."
        )
    return {"all": root}, [f"{spelled} in {root.name} holds images, not class folders: it is a class"] if named else []


def _splits(root: Path, folders: list[Path], splits: list[Path], tally: Tally) -> tuple[dict[str, Path], list[str]]:
    found: dict[str, Path] = {}
    for folder in splits:
        split = SPLIT_NAMES[folder.name.lower()]
        if split in found:
            raise DataError(
                f"{found[split].name}/ and {folder.name}/ in {root} both name the {split} split.\n"
                "Put their images into one of them, or move one elsewhere."
            )
        found[split] = folder
    others = [f for f in folders if f not in splits]
    spelled = ", ".join(f"{f.name}/" for f in others[:NAMED]) + (" …" if len(others) > NAMED else "")
    if "train" not in found:
        names = " and ".join(f"{f.name}/" for f in splits)
        doubt = f", beside {spelled}" if others else ""
        raise DataError(
            f"{names} without train/ in {root}{doubt}: splits or classes?\n"
            "Add train/ with the same class folders, or rename what is a class."
        )
    if others and len(splits) == 1:
        raise DataError(
            f"{splits[0].name}/ in {root} may be a split (it has folders in it) or a class like {spelled}.\n"
            "Rename it where it is a class; where it is the training split, move the others elsewhere."
        )
    for other in others:
        tally.add_folder("in a folder beside the splits", other, other.name)
    notes = []
    if "test" not in found and "validation" in found:
        found["test"] = found.pop("validation")
        notes.append(
            f"no test/ in {root.name}: {found['test'].name}/ is kept for the final report, "
            "and validation is taken from train/"
        )
    return {name: found[name] for name in ("train", "validation", "test") if name in found}, notes


def _loose(folder: Path, root: Path, tally: Tally) -> None:
    """Counts what lies in no class folder."""
    for path in sorted(folder.iterdir()):
        name = path.relative_to(root).as_posix()
        if path.name.startswith("."):
            tally.add_folder("hidden", path, name) if path.is_dir() else tally.add("hidden", name)
        elif path.is_dir():
            if path.name.startswith("__"):
                tally.add_folder("in a folder whose name begins with __", path, name)
        elif path.name != METADATA:
            tally.add("in no class folder", name)


def _classes(layout: dict[str, Path]) -> list[str]:
    first, *others = layout
    classes = [f.name for f in subfolders(layout[first])]
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
        here = [f.name for f in subfolders(layout[other])]
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
    return classes
