"""What a model is, apart from its weights."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from compressor.section import LONGEST


class Architecture(BaseModel):
    """All that is needed to build a model again. Each family has its own, with what it needs besides."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    family: str
    """Its name in `modalities.MODALITIES`."""
    name: str = Field(max_length=LONGEST)
    """The model's name within its family."""
    classes: int = Field(ge=1, le=1_000_000)
    """Logits that it gives."""

    changes: ClassVar[tuple[str, ...]] = ()
    """Fields by which a model differs from the one that its name means."""

    @property
    def copies_teacher(self) -> bool:
        """Whether it starts from a copy of its teacher's layers."""
        return False

    @property
    def knows(self) -> tuple[str, ...]:
        """What the classes of its published head are called, in their order; none where nobody says."""
        return ()

    def with_classes(self, classes: int) -> Architecture:
        """The same with another head."""
        return self.model_copy(update={"classes": classes})

    def described(self) -> dict[str, Any]:
        """What an exported file says of it beside its name."""
        return {key: getattr(self, key) for key in self.changes}
