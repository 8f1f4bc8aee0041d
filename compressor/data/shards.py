"""Files that are whole or not there: raw arrays with a checksum at their end, written once, memory-mapped.

What the stores of targets and of decoded data are made of. No torch.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from compressor.errors import CompressorError
from compressor.files import replacing
from compressor.packages import require

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
    """The array, memory-mapped and read-only. Check `valid` first."""
    return np.memmap(path, dtype=dtype, mode="r", shape=shape)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder's lock; a second process waits. The lock goes with the process that holds it."""
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        yield


def used(folder: Path) -> int:
    """Bytes of the files in `folder`, or of the file that it is."""
    if folder.is_file():
        return folder.stat().st_size
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def make_room(root: Path, keep: Path, needed: int, limit: int) -> None:
    """Removes the least recently used stores in `root` until `needed` bytes more fit into `limit`.

    `keep` is never removed, nor is a store whose lock is held.

    Raises:
        CompressorError: it can't fit, or the disk has not that much left.
    """
    if needed > limit:
        raise CompressorError(f"{needed / 1e9:.2f} GB are needed and the limit is {limit / 1e9:.2f} GB")
    stores = [p for p in root.iterdir() if p.is_dir()] if root.is_dir() else []
    sizes = {p: used(p) for p in stores}
    for victim in sorted((p for p in stores if p != keep), key=last_use):
        if sum(sizes.values()) + needed <= limit:
            break
        if remove_unless_busy(victim):
            del sizes[victim]
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    if free < needed * 1.05:
        raise CompressorError(f"{needed / 1e9:.2f} GB are needed and {free / 1e9:.2f} GB are free on {root}")


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
    require("filelock")
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder / "lock", timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
    except Timeout:
        return False
    return not folder.exists()
