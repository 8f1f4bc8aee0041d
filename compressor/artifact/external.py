"""Whether an ONNX file points to data outside its own folder; read from its bytes, before anything opens it.

Needs no `onnx` package. onnxruntime 1.31 refuses such paths by itself; older ones, which the device may have, follow
them.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from compressor.errors import ArtifactError

# Field numbers of onnx.proto, as far as a tensor can lie below them: message → {field: message}.
_BELOW = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_DEEPEST = 64


def check(path: Path) -> None:
    """Raises ArtifactError when the file names external data that does not lie in its folder."""
    folder = path.resolve().parent
    for location in named(path):
        if "\0" in location or Path(location).is_absolute() or not (folder / location).resolve().is_relative_to(folder):
            raise ArtifactError(
                f"{path} keeps weights in '{_shown(location)}', outside its own folder; it was not opened.\n"
                "Files made by `compress export` are whole; don't use one that is not from someone you trust."
            )


def named(path: Path) -> list[str]:
    """The files that it says its weights lie in, as it spells them. Raises ArtifactError where it is no ONNX file."""
    if not path.stat().st_size:
        raise ArtifactError(f"{path} is empty: it is no ONNX file")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:  # stepping over the weights: to look for a word in them would read them all
            return sorted(set(_locations(data, 0, len(data), "model", 0)))
        except (IndexError, ValueError, UnicodeDecodeError) as error:
            raise ArtifactError(f"{path} can't be read as ONNX: {error}") from error


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:200]


def _locations(data: mmap.mmap, start: int, end: int, message: str, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    for number, begin, stop in _fields(data, start, end):
        below = _BELOW[message].get(number)
        if below == "entry":
            pair = {n: data[b:s].decode() for n, b, s in _fields(data, begin, stop) if n in (1, 2)}
            if pair.get(1) == "location":
                yield pair.get(2, "")
        elif below:
            yield from _locations(data, begin, stop, below, depth + 1)


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(number, begin, end) of each length-delimited field of a message; others are stepped over."""
    at = start
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 2:
            length, at = _varint(data, at)
            if at + length > end:
                raise ValueError("the file is cut off or damaged")
            yield key >> 3, at, at + length
            at += length
        elif kind == 0:
            _, at = _varint(data, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError("it is damaged, or no ONNX file")


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("it is damaged, or no ONNX file")
