"""Plots as static SVG: no script, sharp in print, a few KB each. Text takes the page's colour, so dark pages work.

Coordinates are CSS units in a box `WIDTH` wide; on a phone the box shrinks to about three quarters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 480, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 12, 46
Place = Callable[[float, float], tuple[float, float]]
"""Values on both axes → coordinates."""

_MIDDLE = 'text-anchor="middle"'


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What a side of the plot shows, from `low` to `high`, linear or logarithmic."""

    label: str
    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value lies between `low` (0) and `high` (1)."""
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return (value - low) / (high - low)


@dataclass(frozen=True, kw_only=True)
class Series:
    """A line through points, marks on them, or both. Values are in the axes' units."""

    label: str
    points: Sequence[tuple[float, float]]
    color: str
    line: bool = True
    dash: str = ""
    """SVG's dash pattern, so that lines differ without colour."""
    faint: bool = False
    """Whether it stands behind the others: pale, without marks."""
    marks: bool = False
    labels: bool = False
    """Whether the label stands beside the first point."""
    whiskers: Sequence[tuple[float, float, float, float]] = ()
    """Per point the interval's left, right, bottom and top."""


def around(values: Sequence[float], label: str, *, log: bool = False, floor: float | None = None) -> Axis:
    """An axis that holds all values with a margin; `floor` bounds it below."""
    low, high = min(values), max(values)
    if log:
        room = max((high / low) ** 0.08, 1.1)
        return Axis(label=label, low=low / room, high=high * room, log=True)
    room = max((high - low) * 0.08, abs(high) * 0.01, 1e-9)
    bottom = low - room if floor is None else max(floor, low - room)
    return Axis(label=label, low=bottom, high=high + room)


def ticks(axis: Axis, wanted: int = 5) -> list[float]:
    """Round values inside the axis: steps of 1, 2 or 5 × 10ⁿ; on a logarithmic axis those values themselves."""
    if axis.log:
        powers = range(math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high)) + 1)
        steps = (1, 2, 5) if axis.high / axis.low < 200 else (1,)
        found = [step * 10.0**power for power in powers for step in steps]
        inside = [v for v in found if axis.low <= v <= axis.high]
        return inside if len(inside) > 1 else ticks(Axis(label="", low=axis.low, high=axis.high), wanted)
    rough = (axis.high - axis.low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough)
    first = math.ceil(axis.low / step - 1e-9)
    return [i * step for i in range(first, math.floor(axis.high / step + 1e-9) + 1)]


def plot(name: str, description: str, series: Sequence[Series], x: Axis, y: Axis, *, diagonal: bool = False) -> str:
    """An `<svg>` of all series, with axes and grid; `diagonal` draws y = x."""

    def at(px: float, py: float) -> tuple[float, float]:
        return (
            _LEFT + x.share(px) * (WIDTH - _LEFT - _RIGHT),
            HEIGHT - _BOTTOM - y.share(py) * (HEIGHT - _TOP - _BOTTOM),
        )

    parts = [*_frame(x, y, at)]
    if diagonal:
        (x1, y1), (x2, y2) = at(0, 0), at(1, 1)
        parts.append(f'<path class="ideal" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>')
    for entry in series:
        parts += _drawn(entry, at)
    return _svg(name, description, HEIGHT, parts)


def _frame(x: Axis, y: Axis, place: Place) -> list[str]:
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    parts = []
    for value in ticks(x):
        px = place(value, y.low)[0]
        parts.append(f'<path class="grid" d="M{px:.1f} {_TOP}V{bottom}"/>')
        parts.append(f'<text x="{px:.1f}" y="{bottom + 16}" {_MIDDLE}>{value:.4g}</text>')
    for value in ticks(y):
        py = place(x.low, value)[1]
        parts.append(f'<path class="grid" d="M{_LEFT} {py:.1f}H{right}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{py + 4:.1f}" text-anchor="end">{value:.4g}</text>')
    parts.append(f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>')
    parts.append(f'<text x="{(_LEFT + right) / 2}" y="{HEIGHT - 8}" {_MIDDLE}>{escape(x.label)}</text>')
    middle = (_TOP + bottom) / 2
    parts.append(f'<text x="14" y="{middle}" {_MIDDLE} transform="rotate(-90 14 {middle})">{escape(y.label)}</text>')
    return parts


def _drawn(entry: Series, place: Place) -> list[str]:
    places = [place(*point) for point in entry.points]
    color = f'stroke="{entry.color}"'
    parts = []
    if entry.line and len(places) > 1:
        path = "M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in places)
        dash = f' stroke-dasharray="{entry.dash}"' if entry.dash else ""
        pale = ' stroke-opacity="0.35"' if entry.faint else ""
        parts.append(f'<path class="line" d="{path}" {color}{dash}{pale}/>')
    for (px, py), (left, right, bottom, top) in zip(places, entry.whiskers, strict=False):
        (x1, y1), (x2, y2) = place(left, bottom), place(right, top)
        parts.append(f'<path class="whisker" d="M{x1:.1f} {py:.1f}H{x2:.1f}M{px:.1f} {y1:.1f}V{y2:.1f}" {color}/>')
    if entry.marks or len(places) == 1:
        mark = f'r="4" fill="{entry.color}"' + (' fill-opacity="0.35"' if entry.faint else "")
        parts += [f'<circle class="mark" cx="{px:.1f}" cy="{py:.1f}" {mark}/>' for px, py in places]
    if entry.labels and places:
        px, py = places[0]
        end = px > WIDTH * 0.6
        # Left points get theirs below, right ones above: a line that rises to the right crosses neither.
        side = f'x="{px - 8:.1f}" text-anchor="end"' if end else f'x="{px + 8:.1f}"'
        parts.append(f'<text {side} y="{py - 7 if end else py + 17:.1f}">{escape(entry.label)}</text>')
    return parts


def heatmap(
    name: str, description: str, rows: Sequence[str], columns: Sequence[str], counts: Sequence[Sequence[int]]
) -> str:
    """An `<svg>` of counts; a cell is as dark as its share of its row. Rows are true classes, columns the answers."""
    left, top, side = 104, 84, min(46, (WIDTH - 104 - _RIGHT) // max(len(columns), 1))
    height = top + side * len(rows) + 10
    parts = []
    for j, label in enumerate(columns):
        px, py = left + side * (j + 0.5), top - 8
        parts.append(f'<text transform="translate({px:.1f} {py}) rotate(-50)">{escape(_short(label))}</text>')
    for i, label in enumerate(rows):
        py = top + side * i
        parts.append(
            f'<text x="{left - 8}" y="{py + side / 2 + 4:.1f}" text-anchor="end">{escape(_short(label))}</text>'
        )
        whole = max(sum(counts[i]), 1)
        for j, count in enumerate(counts[i]):
            share = count / whole
            ink = ' class="onink"' if share > 0.5 else ""
            right = ' class="cell right"' if rows[i] == columns[j] else ' class="cell"'
            px = left + side * j
            parts.append(
                f'<rect{right} x="{px}" y="{py}" width="{side - 2}" height="{side - 2}" fill-opacity="{share:.3f}"/>'
            )
            parts.append(f'<text{ink} x="{px + side / 2 - 1:.1f}" y="{py + side / 2 + 4:.1f}" {_MIDDLE}>{count}</text>')
    return _svg(name, description, height, parts)


def _short(label: str) -> str:
    return label if len(label) <= 14 else label[:13] + "…"


def _svg(name: str, description: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg id="{escape(name)}" class="plot" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(description, quote=True)}">' + "".join(parts) + "</svg>"
    )
