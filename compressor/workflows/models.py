"""`models`: teachers and students that can be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from compressor.errors import UsageError
from compressor.options import within
from compressor.packages import require
from compressor.reporting.screen import Block, Shown, Table
from compressor.section import LARGEST_IMAGE
from compressor.seeds import leaves_no_trace


@dataclass(frozen=True, kw_only=True)
class ModelsResult(Shown):
    """Models and what they cost."""

    document: list[dict[str, Any]]
    """Of each `name`, `short` names, `params`, `macs` (None where the size does not fit)."""
    size: int
    """Input size that MACs are counted at, pixels."""
    more: int
    """How many else there are."""

    def blocks(self) -> list[Block]:
        """A line per model."""
        header = ("model", "short names", "parameters", f"MACs at {self.size} px")
        lines = [
            (r["name"], ", ".join(r["short"]), f"{r['params'] / 1e6:.2f} M",
             "–" if r["macs"] is None else f"{r['macs'] / 1e9:.2f} G")
            for r in self.document
        ]  # fmt: skip
        rest = [f"… and {self.more} more; --limit {self.more + len(lines)} shows all"] if self.more else []
        return [Table(header, lines), *rest]


@leaves_no_trace
def list_models(pattern: str = "", *, limit: int = 25, size: int = 224) -> ModelsResult:
    """Teachers and students that can be used, with parameters and MACs.

    Args:
        pattern: part of a name, or a pattern with `*`; empty: the usual ones.
        limit: at most this many, measured one by one.
        size: input size for counting MACs, pixels.

    Raises:
        UsageError: no model matches, or a number is out of its range.
    """
    within("limit", limit, 1, 10_000)
    within("size", size, 1, LARGEST_IMAGE)
    require("torch", "timm")
    from compressor.models.timm import names
    from compressor.models.timm.build import cost_of

    found = sorted(set(names.SHORT.values())) if not pattern else names.listing(pattern)
    if not found:
        raise UsageError(
            f"no model matches '{pattern}'; try a family: resnet, mobilenet, efficientnet, convnext, vit.\n"
            "Encoders of texts are a folder in Hugging Face's format, layers:N of their teacher, or bert_tiny … bert_base."
        )
    short: dict[str, list[str]] = {}
    for alias, name in names.SHORT.items():
        short.setdefault(name, []).append(alias)
    rows = []
    for name in found[:limit]:
        params, macs = cost_of(name, size)
        rows.append({"name": name, "short": short.get(name, []), "params": params, "macs": macs})
    return ModelsResult(document=rows, size=size, more=max(0, len(found) - limit))
