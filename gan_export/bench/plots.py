"""Plots as SVG text: black on white, told apart by letters and not by colours, readable at 400 pixels wide.

All are WIDTH units wide, so that at 400 pixels a unit is a pixel and the smallest text is 10 pixels high.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gan_export.escape import Html, Text, html, html_text

WIDTH = 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 22, 36
_FONT = html('font-family="sans-serif" font-size="10.5"')
_APART = 13  # between the centres of two letters
LETTERS = "abcdefghijklmnopqrstuvwxyz"

_Mark = tuple[float, float, str]  # where, and the letter
_Placed = tuple[tuple[float, float], str]


@dataclass(frozen=True, slots=True)
class Curve:
    """Points (x, y) with y's interval (low, high) beneath a letter."""

    letter: str
    points: tuple[tuple[float, float], ...]
    intervals: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Strip:
    """A distribution: five ascending values, the percentiles 1, 25, 50, 75 and 99."""

    label: str
    values: tuple[float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class _Axis:
    """A logarithmic axis from `low` to `high` onto units `begin` to `end`."""

    low: float
    high: float
    begin: float
    end: float

    def at(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.begin + share * (self.end - self.begin)

    def ticks(self) -> list[float]:
        """1, 2, 5 times the powers of ten inside; powers alone where those are many."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        steps: tuple[int, ...] = (1,) if last - first > 4 else (1, 2, 5)
        found = [m * 10.0**e for e in range(first, last + 1) for m in steps]
        return [t for t in found if self.low <= t <= self.high]


def lines(
    curves: Sequence[Curve],
    x_title: str,
    y_title: str,
    *,
    x_ticks: Sequence[float] = (),
    roofs: Sequence[tuple[str, Sequence[tuple[float, float]]]] = (),
    legend: Sequence[str] = (),
    height: int = 280,
) -> Text[Html]:
    """Curves on two logarithmic axes; a roof is a dashed line with its name; a legend stands at the top right."""
    roofed = [p for _, points in roofs for p in points]
    xs = [x for c in curves for x, _ in c.points] + [x for x, _ in roofed]
    ys = [y for c in curves for _, y in c.points] + [v for c in curves for i in c.intervals for v in i]
    ys += [y for _, y in roofed]
    if not xs or not ys:
        return html("")
    across = _Axis(*_padded(min(xs), max(xs), 1.35), _LEFT, WIDTH - _RIGHT)
    up = _Axis(*_padded(min(ys), max(ys), 1.25), height - _BOTTOM, _TOP)
    parts = _frame(across, up, (x_title, y_title), x_ticks or across.ticks())
    names = []
    for name, points in roofs:
        path = html(" ").join(html("{x:.1f},{y:.1f}", x=across.at(x), y=up.at(y)) for x, y in points)
        parts.append(
            html(
                '<polyline points="{path}" fill="none" stroke="#000" stroke-width="1.2" stroke-dasharray="5 3"/>',
                path=path,
            )
        )
        (x, y), (end, top) = points[0], points[-1]
        steep = _text(across.at(x) + 14, up.at(y) + 2, name, "start")
        names.append(steep if top > y else _text(across.at(end), up.at(top) - 5, name, "end"))
    for curve in curves:
        path = html(" ").join(html("{x:.1f},{y:.1f}", x=across.at(x), y=up.at(y)) for x, y in curve.points)
        parts.append(html('<polyline points="{path}" fill="none" stroke="#888" stroke-width="0.8"/>', path=path))
        for (x, _), (low, high) in zip(curve.points, curve.intervals, strict=False):
            at = across.at(x)
            parts.append(
                html(
                    '<path d="M{at:.1f} {low:.1f}V{high:.1f}" stroke="#000" stroke-width="1"/>',
                    at=at,
                    high=up.at(high),
                    low=up.at(low),
                )
            )
    sparse: list[_Mark] = []
    dense: list[_Mark] = []
    for curve in curves:
        kept = _thinned([(across.at(x), up.at(y)) for x, y in curve.points])
        (sparse if len(kept) == len(curve.points) else dense).extend((x, y, curve.letter) for x, y in kept)
    for (x, y), letter in _where_free(dense, _spread(sparse)):
        parts.append(
            html('<circle cx="{x:.1f}" cy="{y:.1f}" r="6.5" fill="#fff" stroke="#000" stroke-width="0.8"/>', x=x, y=y)
        )
        parts.append(_text(x, y + 3.5, letter, "middle"))
    names += [_text(WIDTH - _RIGHT, _TOP + 12 + 14 * i, text, "end") for i, text in enumerate(legend)]
    parts.append(html('<g stroke="#fff" stroke-width="3" paint-order="stroke">{names}</g>', names=html("").join(names)))
    return _svg(parts, height, f"{y_title} against {x_title}")


def strips(rows: Sequence[Strip], x_title: str) -> Text[Html]:
    """A row each, its name above it: a line from percentile 1 to 99, a box from 25 to 75, a bar at the median."""
    if not rows:
        return html("")
    step = 36
    height = _TOP + step * len(rows) + _BOTTOM
    values = [v for r in rows for v in r.values]
    across = _Axis(*_padded(min(values), max(values), 1.1), 14, WIDTH - _RIGHT)
    base = height - _BOTTOM
    parts = []
    for tick in across.ticks():
        x = across.at(tick)
        parts.append(
            html(
                '<path d="M{x:.1f} {top}V{base}" stroke="#ccc" stroke-width="0.7"/>',
                base=base,
                top=_TOP - 12,
                x=x,
            )
        )
        parts.append(_text(x, base + 13, _number(tick), "middle"))
    parts.append(_text(WIDTH / 2, base + 29, x_title, "middle"))
    for i, row in enumerate(rows):
        y = _TOP + step * i + 18
        low, quarter, middle, three, high = (across.at(v) for v in row.values)
        parts.append(_text(14, y - 11, row.label, "start"))
        parts.append(
            html('<path d="M{low:.1f} {y}H{high:.1f}" stroke="#000" stroke-width="1"/>', high=high, low=low, y=y)
        )
        box = html(
            'x="{quarter:.1f}" y="{top}" width="{width:.1f}" height="10"',
            quarter=quarter,
            width=max(1.0, three - quarter),
            top=y - 5,
        )
        parts.append(html('<rect {box} fill="#ddd" stroke="#000" stroke-width="0.8"/>', box=box))
        parts.append(
            html(
                '<path d="M{middle:.1f} {top}V{end}" stroke="#000" stroke-width="2.2"/>',
                middle=middle,
                top=y - 7,
                end=y + 7,
            )
        )
    return _svg(parts, height, x_title)


def _frame(across: _Axis, up: _Axis, titles: tuple[str, str], x_ticks: Sequence[float]) -> list[Text[Html]]:
    base = up.begin
    x_title, y_title = titles
    parts = [
        html(
            '<path d="M{_LEFT} {_TOP}V{base}H{right}" fill="none" stroke="#000"/>',
            _LEFT=_LEFT,
            _TOP=_TOP,
            base=base,
            right=WIDTH - _RIGHT,
        )
    ]
    for tick in x_ticks:
        x = across.at(tick)
        parts.append(
            html('<path d="M{x:.1f} {base}v4" stroke="#000"/>', base=base, x=x)
            + _text(x, base + 15, _number(tick), "middle")
        )
    for tick in up.ticks():
        y = up.at(tick)
        grid = html(
            '<path d="M{_LEFT} {y:.1f}H{right}" stroke="#ddd" stroke-width="0.7"/>',
            _LEFT=_LEFT,
            right=WIDTH - _RIGHT,
            y=y,
        )
        parts.append(grid + _text(_LEFT - 5, y + 3.5, _number(tick), "end"))
    parts.append(_text((_LEFT + WIDTH - _RIGHT) / 2, base + 30, x_title, "middle"))
    parts.append(_text(4, 12, y_title, "start"))
    return parts


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that are a letter's width from the last one kept: a curve of many points is told by some of them."""
    kept: list[tuple[float, float]] = []
    for point in points:
        if not kept or math.dist(kept[-1], point) >= _APART:
            kept.append(point)
    return kept


def _spread(marks: Sequence[_Mark]) -> list[_Placed]:
    """Letters that would lie on each other are moved sideways, to where there is room; lines and intervals stay."""
    placed: list[_Placed] = []
    for x, y, letter in sorted(marks, key=lambda m: (m[0], m[1])):
        sideways = (x + sign * _APART * n for n in range(WIDTH // _APART) for sign in (1, -1))
        free = (at for at in sideways if _LEFT <= at <= WIDTH - 8 and _is_free(at, y, placed))
        placed.append(((next(free, x), y), letter))
    return placed


def _where_free(marks: Sequence[_Mark], placed: list[_Placed]) -> list[_Placed]:
    """`placed` with the letters of curves of many points: those that have room on their line, and each one's first."""
    placed, shown = list(placed), set[str]()
    for x, y, letter in sorted(marks, key=lambda m: (m[0], m[1])):
        if letter not in shown or _is_free(x, y, placed):
            placed.append(((x, y), letter))
            shown.add(letter)
    return placed


def _is_free(x: float, y: float, placed: Sequence[_Placed]) -> bool:
    return not any(abs(x - px) < _APART and abs(y - py) < _APART for (px, py), _ in placed)


def _padded(low: float, high: float, factor: float) -> tuple[float, float]:
    return low / factor, high * factor


def _number(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _text(x: float, y: float, text: str, anchor: str) -> Text[Html]:
    return html(
        '<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {font}>{text}</text>',
        font=_FONT,
        anchor=html_text(anchor),
        text=html_text(text),
        x=x,
        y=y,
    )


def _svg(parts: Sequence[Text[Html]], height: int, label: str) -> Text[Html]:
    head = html(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"', WIDTH=WIDTH, height=height
    )
    return html(
        '{head} aria-label="{label}">{parts}</svg>', head=head, label=html_text(label), parts=html("").join(parts)
    )
