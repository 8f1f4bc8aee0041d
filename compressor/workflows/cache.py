"""`cache`: what runs share (stored targets, decoded data), listed and removed. No torch."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from compressor.data import shards
from compressor.errors import UsageError
from compressor.files import cache_dir


def stores() -> list[dict[str, Any]]:
    """Every store in the cache: `name`, `kind`, `what`, `bytes`, `last_used`; the latest first."""
    found = []
    for kind in ("targets", "decoded"):
        for folder in (cache_dir() / kind).glob("*/"):
            about = folder / "about.json"
            note = json.loads(about.read_text()) if about.is_file() else {}
            what = f"{note['label']}, {note['views']} views of {note['rows']} samples" if note else "decoded images"
            used = datetime.fromtimestamp(shards.last_use(folder), UTC).isoformat(timespec="seconds")
            size = shards.used(folder)
            found.append({"name": folder.name, "kind": kind, "what": what, "bytes": size, "last_used": used})
    return sorted(found, key=lambda row: row["last_used"], reverse=True)


def remove_stores(names: list[str], *, everything: bool) -> list[dict[str, Any]]:
    """Removes stores by name or by the start of a name; gives what is gone.

    Raises:
        UsageError: nothing was named, a name fits no store, or a store is being filled.
    """
    here = stores()
    if not names and not everything:
        raise UsageError("name what to remove (`compress cache ls` lists it), or give --all")
    for name in names:
        if not any(row["name"].startswith(name) for row in here):
            raise UsageError(f"no store '{name}' in {cache_dir()}; `compress cache ls` lists what there is")
    chosen = [row for row in here if everything or any(row["name"].startswith(n) for n in names)]
    for row in chosen:
        if not shards.remove_unless_busy(cache_dir() / row["kind"] / row["name"]):
            raise UsageError(f"store '{row['name']}' is being filled by another process; wait for it or stop it")
    return chosen
