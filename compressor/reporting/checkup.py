"""What `compress doctor --data` shows."""

from __future__ import annotations

from compressor.data.document import DataReport
from compressor.reporting.screen import Block, Table

MOST = 20
"""Classes that are listed; of more, the smallest are."""
UNEVEN = 3.0
"""Imbalance from which it is worth a line."""


def blocks(found: DataReport) -> list[Block]:
    """The classes and their splits, then a line for all that a person should look at."""
    out: list[Block] = [_headline(found)]
    classes = found.classes
    if len(classes) > MOST:
        classes = sorted(classes, key=lambda c: c.samples)[:MOST]
    lines = [(c.name, str(c.samples), str(c.train), str(c.validation), str(c.test)) for c in classes]
    if len(found.classes) > MOST:
        lines.append((f"… and {len(found.classes) - MOST} larger ones", "", "", "", ""))
    lines.append(
        ("all", str(sum(c.samples for c in found.classes)), str(found.train), str(found.validation), str(found.test))
    )
    out.append(Table(("class", "samples", "train", "validation", "test"), lines))
    if found.imbalance >= UNEVEN:
        most, least = max(found.classes, key=lambda c: c.samples), min(found.classes, key=lambda c: c.samples)
        out.append(
            f"Uneven: {most.name} has {most.samples} samples and {least.name} {least.samples}, "
            f"{found.imbalance:.1f} times as many"
        )
    out += [f"Not used: {entry}" for entry in found.unused]
    out += [
        f"Look alike: {entry.pairs} pair(s) of {entry.splits} ({'; '.join(entry.examples[:3])}). They are kept: "
        "look at them, a copy of a test sample in training makes figures too good"
        for entry in found.look_alikes
    ]
    out += [f"Note: {note}" for note in found.notes]
    out += [f"Problem: {problem}" for problem in found.problems]
    if not found.problems:
        out.append(f"A training can start with these splits (data.seed {found.seed}).")
    return out


def _headline(found: DataReport) -> str:
    text = f"{found.name}: {found.samples} samples in {len(found.classes)} classes"
    if found.words is not None:
        usual, nearly_all, longest = found.words
        return text + f", {usual} words (median), 99 % have at most {nearly_all}, the longest {longest}"
    if found.median is None or found.smallest is None or found.largest is None:
        return text
    low, middle, high = (f"{w} × {h}" for w, h in (found.smallest, found.median, found.largest))
    return text + (f", all {low} pixels" if low == high else f", {low} to {high} pixels, median {middle}")
