"""What a recipe says about evaluation."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class EvaluationConfig(BaseModel):
    """What the report measures beyond the test split as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shift: bool = False
    """Teacher, student and baseline under damage too, each kind at three strengths: for images as many passes over
    test as `compress evaluate --shift` makes."""
