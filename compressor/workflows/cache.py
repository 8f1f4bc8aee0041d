"""`cache`: what runs share (stored targets, decoded data), listed and removed. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compressor.data import shards
from compressor.errors import CompressorError, UsageError
from compressor.files import cache_dir, read_json
from compressor.reporting.screen import Block, Shown, Table

KINDS = {
    "targets": "a teacher's answers",
    "decoded": "decoded data",
    "assistants": "a trained assistant",
    "models": "a model with random weights, to be timed",
    "screened": "what a candidate for the student costs here",
}
"""Folder of the cache → what lies there."""


@dataclass(frozen=True, kw_only=True)
class StoresResult(Shown):
    """Stores in the cache, or those that were removed from it."""

    document: list[dict[str, Any]]
    """Of each `name`, `kind`, `what`, `bytes`, `last_used`."""

    def blocks(self) -> list[Block]:
        """A line per store, and how much they take."""
        rows = self.document
        header = ("name", "kind", "what", "size", "last used")
        lines = [(r["name"], r["kind"], r["what"], f"{r['bytes'] / 1e6:.1f} MB", r["last_used"]) for r in rows]
        return [Table(header, lines), f"{self.megabytes:.1f} MB in {cache_dir()}"]

    @property
    def megabytes(self) -> float:
        """All together."""
        return float(sum(row["bytes"] for row in self.document) / 1e6)


def stores() -> StoresResult:
    """What runs share under `$COMPRESS_CACHE`: stored targets, decoded data, assistants; the last used first."""
    return StoresResult(document=_listed())


def _listed() -> list[dict[str, Any]]:
    """Every store in the cache: `name`, `kind`, `what`, `bytes`, `last_used`; the latest first."""
    found = []
    for kind, usual in KINDS.items():
        here = (cache_dir() / kind).glob("*.onnx" if kind == "models" else "*/")
        for folder in (path for path in here if not path.is_symlink()):
            about = folder / "about.json"
            what = _described(about) if about.is_file() else usual
            used = datetime.fromtimestamp(shards.last_use(folder), UTC).isoformat(timespec="seconds")
            size = shards.used(folder)
            found.append({"name": folder.name, "kind": kind, "what": what, "bytes": size, "last_used": used})
    return sorted(found, key=lambda row: row["last_used"], reverse=True)


def _described(about: Path) -> str:
    """What `about.json` says of a store; one that is damaged can still be listed and removed."""
    try:
        note = read_json(about)
        seen = f", {note['views']} views of {note['rows']} samples" if "views" in note else ""
        return f"{note['label']}{seen}"
    except (CompressorError, LookupError, TypeError):
        return "about.json is damaged"


def remove_stores(names: str | Sequence[str] = (), *, everything: bool = False) -> StoresResult:
    """Removes stores by name, by the start of a name or by kind (`screened`), or all; gives what is gone.

    Raises:
        UsageError: nothing was named, a name fits no store, or a store is being filled.
    """
    here = _listed()
    names = [names] if isinstance(names, str) else list(names)
    if not names and not everything:
        raise UsageError("name what to remove (`compress cache ls` lists it), or give --all")
    if any(not name.strip() for name in names):
        raise UsageError("an empty name would mean every store: is a variable unset? Give --all if you mean it")
    for name in names:
        if not any(_named(row, name) for row in here):
            raise UsageError(f"no store '{name}' in {cache_dir()}; `compress cache ls` lists what there is")
    chosen = [row for row in here if everything or any(_named(row, n) for n in names)]
    for row in chosen:
        if not shards.remove_unless_busy(cache_dir() / row["kind"] / row["name"]):
            raise UsageError(f"store '{row['name']}' is being filled by another process; wait for it or stop it")
    return StoresResult(document=chosen)


def _named(row: dict[str, Any], name: str) -> bool:
    return bool(row["name"].startswith(name)) or row["kind"] == name
