"""What every JSON document that a run leaves behind has in common. Each room describes its own in `document.py`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A document, or a part of one: frozen, and lenient to what older and newer versions wrote.

    Keys may be added, never renamed: a field that joined later has a default, so that old documents load, and a key
    that this version does not know is passed over.
    """

    model_config = ConfigDict(
        extra="ignore", frozen=True, populate_by_name=True, use_attribute_docstrings=True, protected_namespaces=()
    )

    def as_dict(self) -> dict[str, Any]:
        """What is written: plain mappings and lists, under the keys of the file."""
        return self.model_dump(mode="json", by_alias=True)
