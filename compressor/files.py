"""Files that are written whole or not at all and read with one sentence on what is wrong; what runs share."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from compressor.errors import CompressorError

if TYPE_CHECKING:  # `compress --help` imports this module, and need not pay for pydantic
    from pydantic import BaseModel

LARGEST_JSON = 200_000_000
"""Bytes; a benchmark of many rows with all its samples takes a few million."""

Model = TypeVar("Model", bound="BaseModel")

UNFINISHED = ".unfinished-"
"""Begins the names of files that are being written."""


def cache_dir() -> Path:
    """`$COMPRESS_CACHE`, or `~/.cache/compressor`: what runs share."""
    return Path(os.environ.get("COMPRESS_CACHE") or Path.home() / ".cache" / "compressor")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well; else nothing changes.

    The folder is made where it is missing. A reader sees the old file or the whole new one; so does one after a
    power cut, since what was written is synced before it is renamed. The temporary name keeps the suffix: writers
    that add their own (numpy) or choose by it write where they are told.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{UNFINISHED}{path.stem}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("r+b") as file:  # Windows syncs only what may be written
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        _sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sync(folder: Path) -> None:
    """Makes a rename last through a power cut, where folders can be synced (not on Windows)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Removes what killed processes were writing in `folder` and below; nobody else may be writing there."""
    for left in folder.rglob(f"{UNFINISHED}*"):
        left.unlink(missing_ok=True)


def inside(folder: Path, name: str) -> Path | None:
    """The file that a document in `folder` names; None where that lies, by name or by a link, outside the folder."""
    try:
        path = (folder / name).resolve()
    except (OSError, ValueError):  # a circle of links, or what no path can hold
        return None
    return path if path.is_relative_to(folder.resolve()) else None


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all; parts of file names that are no UTF-8 are written out (`\\udce9`)."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, whole or not at all. NaN and infinity become null."""
    write_text(path, json.dumps(finite(value), indent=2) + "\n")


def read_json(path: Path) -> Any:
    """A JSON file's content. Raises CompressorError where it is missing, damaged or endless."""
    try:
        if path.exists() and not path.is_file():
            raise CompressorError(f"{path} can't be read: it is no file")  # a folder, or a device without an end
        if path.stat().st_size > LARGEST_JSON:
            raise CompressorError(f"{path} is larger than {LARGEST_JSON / 1e6:.0f} MB: this is none of our documents")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CompressorError(f"{path} can't be read: {error.strerror or error}") from error
    except ValueError as error:
        raise CompressorError(f"{path} is damaged: {error}") from error
    except RecursionError as error:
        raise CompressorError(f"{path} is damaged: nested too deep") from error


def read_document(path: Path, model: type[Model]) -> Model:
    """A JSON file as its model. Raises CompressorError, with the first thing that is wrong, where it is none."""
    return checked(read_json(path), model, path)


def read_documents(path: Path, model: type[Model]) -> list[Model]:
    """A JSON file that lists such documents. Raises CompressorError as `read_document`."""
    found = read_json(path)
    if not isinstance(found, list):
        raise CompressorError(f"{path} is damaged: it holds no list")
    return [checked(entry, model, path) for entry in found]


def read_lines(path: Path, model: type[Model]) -> list[Model]:
    """A file with one such document per line; nothing where it is missing. Raises CompressorError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return [checked(json.loads(line), model, path) for line in lines]
    except ValueError as error:
        raise CompressorError(f"{path} is damaged: {error}") from error


def checked(value: Any, model: type[Model], source: Path | str) -> Model:
    """`value` as a document. Raises CompressorError in one sentence that names `source`."""
    from pydantic import ValidationError

    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise CompressorError(f"{source} is damaged: {where}: {first['msg']}") from error


def finite(value: Any) -> Any:
    """`value` with every number that JSON can't hold (NaN, infinity) replaced by None, and documents as mappings."""
    as_dict = getattr(value, "as_dict", None)
    if as_dict is not None:
        value = as_dict()
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
