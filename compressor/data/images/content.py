"""What image files hold: read and decoded once, and remembered while path, size and time of change stay the same.

`$COMPRESS_CACHE/inspected/<folder>.npz`: a row per file. A pass that is stopped goes on where it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from compressor.artifact.images import READER, ROOM, open_image
from compressor.data.images.index import ABSENT
from compressor.files import cache_dir, replacing
from compressor.progress import Progress

VERSION = 1
"""Counted up when a print is made in another way."""
OK, DAMAGED, BROKEN = 1, 2, 3
"""`state` of a row: usable; no image; a link to nowhere, or a file that can't be opened."""
STATES = {DAMAGED: "damaged", BROKEN: "broken link or unreadable file"}

ROW = np.dtype([
    ("size", "<i8"), ("time", "<i8"),  # bytes, nanoseconds since 1970
    ("digest", "<u8"),  # of the whole file
    ("head", "<u8"),  # of its size and its first 64 KiB, as fingerprints had it until version 0.1
    ("exact", "<u8"), ("near", "<u8"),  # see `data.prints`
    ("width", "<i4"), ("height", "<i4"),
    ("state", "u1"),  # 0 before it was looked at
])  # fmt: skip
Rows = NDArray[np.void]

_HEAD = 64 * 1024
_CHUNK = 1024  # files between two looks at the clock
_SAVE_SECONDS = 30.0
_JUST_NOW = 50_000_000  # nanoseconds: a file may change again within one tick of the file system's clock
_WHOLE = 64 << 20  # bytes up to which a file is read at once


def inspect(
    root: Path, names: Sequence[str], sizes: NDArray[np.int64], times: NDArray[np.int64], progress: Progress
) -> Rows:
    """A row for each file; only those that are new or have changed are read.

    Args:
        root: the folder.
        names: of its files, relative to it.
        sizes, times: of the files, as they were listed.
    """
    place = _place(root)
    rows = _known(place, names, sizes, times)
    todo = np.flatnonzero(rows["state"] == 0)
    if not len(todo):
        return rows
    seen: dict[int, int] = {int(d): i for i, d in enumerate(rows["digest"]) if rows["state"][i] in (OK, DAMAGED)}

    def look(index: int) -> None:
        rows[index] = _row(root / names[index], int(sizes[index]), int(times[index]), rows, seen)
        seen.setdefault(int(rows["digest"][index]), index)

    saved = time.monotonic()
    try:
        with progress.bar("checking images", len(todo)) as bar:
            for start in range(0, len(todo), _CHUNK):
                for _ in ROOM.work(look, todo[start : start + _CHUNK].tolist()):
                    bar.advance()
                if time.monotonic() - saved > _SAVE_SECONDS:
                    _save(place, names, rows)
                    saved = time.monotonic()
    finally:
        _save(place, names, rows)
    return rows


def fingerprints(names: Sequence[str], rows: Rows) -> tuple[str, str]:
    """Of the files' names and all their bytes; and as it was until version 0.1, when it covered the first 64 KiB."""
    there = rows[rows["state"] != BROKEN]
    spelled = b"".join(name.encode(errors="surrogateescape") + b"\0" for name in names)
    return _hex(there["digest"].tobytes(), spelled), _hex(there["head"].tobytes(), spelled)


def exact_print(image: Image.Image) -> int:
    """Equal for images of the very same pixels, whatever their files are."""
    return _number(image.tobytes() + repr(image.size).encode())


def near_print(image: Image.Image) -> int:
    """dHash: whether each of 8 × 8 places is brighter than its right neighbour; survives scaling and compression."""
    small = image.resize((9, 8), Image.Resampling.BILINEAR, reducing_gap=2.0).convert("L")
    grey = np.asarray(small, dtype=np.int16)
    return int(np.packbits(grey[:, :-1] > grey[:, 1:]).view("<u8")[0])


def _row(path: Path, size: int, changed: int, rows: Rows, seen: dict[int, int]) -> tuple[int, ...]:
    """What a file holds; nothing is decoded where a file of the same bytes was."""
    if size == ABSENT:
        return size, changed, 0, 0, 0, 0, 0, 0, BROKEN
    try:
        digest, head, data = _bytes(path)
    except OSError:
        return size, changed, 0, 0, 0, 0, 0, 0, BROKEN
    twin = seen.get(digest)
    if twin is not None and rows["state"][twin]:
        known = rows[twin]
        return (size, changed, digest, head, *(known[k].item() for k in ("exact", "near", "width", "height", "state")))
    try:
        image = open_image(path if data is None else data)
    except OSError:
        return size, changed, digest, head, 0, 0, 0, 0, DAMAGED
    return size, changed, digest, head, exact_print(image), near_print(image), image.width, image.height, OK


def _bytes(path: Path) -> tuple[int, int, bytes | None]:
    """Digests of a file and of its beginning, and its bytes where they are few enough to be kept."""
    size = path.stat().st_size
    if size <= _WHOLE:
        data = path.read_bytes()
        end = str(len(data)).encode()
        return _number(data + end), _number(data[:_HEAD] + end), data
    whole = hashlib.blake2b(digest_size=8)
    with path.open("rb") as file:
        start = file.read(_HEAD)
        whole.update(start)
        while part := file.read(1 << 20):
            whole.update(part)
    whole.update(str(size).encode())
    return int.from_bytes(whole.digest(), "little"), _number(start + str(size).encode()), None


def _number(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _hex(*parts: bytes) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _place(root: Path) -> Path:
    about = f"{root.absolute()}\0{VERSION}\0{READER}\0{PIL.__version__}"
    return cache_dir() / "inspected" / f"{_hex(about.encode(errors='surrogateescape'))}.npz"


def _known(place: Path, names: Sequence[str], sizes: NDArray[np.int64], times: NDArray[np.int64]) -> Rows:
    """Rows for these files, empty but for what was remembered of files that have not changed since."""
    rows = np.zeros(len(names), dtype=ROW)
    try:
        with place.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            old, before = stored["rows"], stored["names"].tobytes()
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return rows
    if old.dtype != ROW:
        return rows
    if before == _blob(names):
        found = np.arange(len(names))
    else:
        at = {name: i for i, name in enumerate(before.decode(errors="surrogateescape").split("\0"))}
        found = np.array([at.get(name, -1) for name in names], dtype=np.int64)
    found = np.where(found < len(old), found, -1)
    same = found >= 0
    same[same] &= (old["size"][found[same]] == sizes[same]) & (old["time"][found[same]] == times[same])
    rows[same] = old[found[same]]
    return rows


def _save(place: Path, names: Sequence[str], rows: Rows) -> None:
    """A device without a home to write to looks again the next time."""
    kept = rows.copy()
    kept["state"][kept["time"] > time.time_ns() - _JUST_NOW] = 0
    with contextlib.suppress(OSError), replacing(place) as temporary:
        np.savez(temporary, rows=kept, names=np.frombuffer(_blob(names), dtype=np.uint8))


def _blob(names: Sequence[str]) -> bytes:
    return "\0".join(names).encode(errors="surrogateescape")
