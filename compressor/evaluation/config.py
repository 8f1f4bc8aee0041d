"""What a recipe says about evaluation."""

from __future__ import annotations

from compressor.section import Section


class EvaluationConfig(Section):
    """What the report measures beyond the test split as it is."""

    shift: bool = False
    """Teacher, student and baseline under damage too, each kind at three strengths: for images as many passes over
    test as `compress evaluate --shift` makes."""
