"""Files that are whole or not there: raw arrays with a checksum at their end, written once, memory-mapped.

What the stores of targets and of decoded data are made of. No torch.
"""

from __future__ import annotations

import hashlib
import shutil
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from compressor import lock
from compressor.errors import CompressorError
from compressor.files import cache_dir, replacing, sweep

_DIGEST = 16  # bytes of blake2b behind the array
_CHUNK = 1 << 22
_CHECKED: set[tuple[str, int, int, int]] = set()
_JUST_NOW = 50_000_000  # nanoseconds: a file may change again within one tick of the file system's clock


def write(path: Path, array: NDArray[np.generic]) -> None:
    """Writes an array and its checksum under a temporary name, then renames.

    Raises:
        OSError: the disk is full, among others; nothing is left behind.
    """
    data = np.ascontiguousarray(array)
    view = data.data.cast("B") if data.size else memoryview(b"")
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(view)
        file.write(hashlib.blake2b(view, digest_size=_DIGEST).digest())


def valid(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> bool:
    """Whether the file is there, has the array's size, and its checksum agrees.

    Reads all of it, but once in a process while its size and time of change stay: every seed and trial asks again.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    try:
        found = path.stat()
        if found.st_size != size + _DIGEST:
            return False
        key = (str(path), found.st_ino, found.st_size, found.st_mtime_ns)
        if key in _CHECKED:
            return True
        digest = hashlib.blake2b(digest_size=_DIGEST)
        with path.open("rb") as file:
            left = size
            while left:
                part = file.read(min(_CHUNK, left))
                if not part:
                    return False
                digest.update(part)
                left -= len(part)
            good = file.read(_DIGEST) == digest.digest()
        if good and found.st_mtime_ns < time.time_ns() - _JUST_NOW:
            _CHECKED.add(key)
        return good
    except OSError:
        return False


def open_array(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[np.generic]:
    """The array, memory-mapped and read-only. Check `valid` first. While it lives its store is not removed for room."""
    array = np.memmap(path, dtype=dtype, mode="r", shape=shape)
    _open[path.parent] += 1
    weakref.finalize(array, _open.subtract, [path.parent])
    return array


@contextmanager
def locked(folder: Path, say: Callable[[str], None] | None = None) -> Iterator[None]:
    """Holds the store's lock; a second process waits, and `say` is told for whom. A dead holder's is taken over."""
    with lock.held(folder, f"the store {folder}", waits=say or (lambda _: None)):
        sweep(folder)
        yield


def used(folder: Path) -> int:
    """Bytes of the files in `folder`, or of the file that it is."""
    if folder.is_file():
        return folder.stat().st_size
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def make_room(root: Path, keep: Path, needed: int, limit: int) -> None:
    """Removes the least recently used stores in `root` until `needed` bytes more fit into `limit`, and on the disk.

    `keep` is never removed, nor is a store that this process uses or whose lock is held. For the disk's sake stores of
    the other kind, which lie beside `root`, go as well.

    Raises:
        CompressorError: it can't fit, or the disk has not that much left.
    """
    if needed > limit:
        raise CompressorError(f"{needed / 1e9:.2f} GB are needed and the limit is {limit / 1e9:.2f} GB")
    sizes = {p: used(p) for p in _stores(root)}
    for victim in _removable(root, keep):
        if sum(sizes.values()) + needed <= limit:
            break
        if remove_unless_busy(victim):
            del sizes[victim]
    root.mkdir(parents=True, exist_ok=True)
    wanted = round(needed * 1.05)
    if (free := make_free(root, wanted, keep)) < wanted:
        raise CompressorError(
            f"{needed / 1e9:.2f} GB are needed and {free / 1e9:.2f} GB are free on {root}: "
            f"{(wanted - free) / 1e9:.2f} GB are missing"
        )


def make_free(place: Path, needed: int, keep: Path | None = None) -> int:
    """Removes the least recently used stores until `needed` bytes are free on the disk of `place`; what is free then.

    Nothing is removed where it would not help: stores on another disk, or already room enough.
    """
    beside = [p for kind in ("targets", "decoded") for p in _removable(cache_dir() / kind, keep)]
    victims = [p for p in sorted(beside, key=last_use) if p.stat().st_dev == place.stat().st_dev]
    free = shutil.disk_usage(place).free
    if free >= needed or free + sum(used(p) for p in victims) < needed:
        return free
    for victim in victims:
        remove_unless_busy(victim)
        if shutil.disk_usage(place).free >= needed:
            break
    return shutil.disk_usage(place).free


def _stores(root: Path) -> list[Path]:
    return [p for p in root.iterdir() if p.is_dir()] if root.is_dir() else []


def _removable(root: Path, keep: Path | None) -> list[Path]:
    """Its stores that may go, the least recently used first."""
    return sorted((p for p in _stores(root) if p != keep and not _open[p]), key=last_use)


_open: Counter[Path] = Counter()
"""Arrays that this process has open of each store: what it reads must not go meanwhile."""


def touch(folder: Path) -> None:
    """Notes that a store was used now."""
    (folder / "used").touch()


def last_use(folder: Path) -> float:
    """When a store was last used, seconds since 1970."""
    mark = folder / "used"
    return mark.stat().st_mtime if mark.exists() else folder.stat().st_mtime


def remove_unless_busy(folder: Path) -> bool:
    """Removes a store unless another process holds its lock; returns whether it is gone. A file has no lock."""
    if folder.is_file():
        folder.unlink(missing_ok=True)
        return True
    try:
        with lock.held(folder, f"the store {folder}"):
            shutil.rmtree(folder, ignore_errors=True)
    except lock.HeldError:
        return False
    return not folder.exists()
