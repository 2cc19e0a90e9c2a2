"""Charts of lines over time, as SVG inside a page. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from learnae.reports.page import LINES, Html, text

_WIDTH, _HEIGHT = 480, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 10, 8, 40
_MOST_POINTS = 400  # of a line: more than a screen tells apart
_DASHES = ("", "6 3", "2 3", "9 3 2 3", "12 4", "4 4", "1 4", "8 2 2 2 2 2")
_UNITS = (("days", 86_400), ("hours", 3600), ("minutes", 60), ("seconds", 1))
_LEAST_OF_UNIT = 3  # less than three minutes are told in seconds, and so on
_STEPS = (1, 2, 5, 10)


@dataclass(frozen=True, slots=True)
class Line:
    """Values by time, Unix milliseconds, ascending."""

    name: str
    points: Sequence[tuple[int, float]]


def chart(title: str, lines: Sequence[Line], may_be_log: bool = False) -> Html:
    """Return a chart of the first LINES lines that have points, and their key; nothing without any.

    The axis is logarithmic where it ``may_be_log`` and values are far apart and all above zero.
    """
    drawn = [line for line in lines if line.points][:LINES]
    if not drawn:
        return Html("")
    times = [time for line in drawn for time, _ in line.points]
    values = [value for line in drawn for _, value in line.points]
    begin, span = min(times), max(max(times) - min(times), 1) / 1000
    is_log = may_be_log and min(values) > 0 and max(values) / min(values) > 20
    low, high = _range(min(values), max(values), is_log)
    unit, length = next((unit for unit in _UNITS if span > _LEAST_OF_UNIT * unit[1]), _UNITS[-1])

    def across(seconds: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * seconds / span

    def down(value: float) -> float:
        share = (_scaled(value, is_log) - low) / (high - low)
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - share)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text(title)}">']
    for value in _ticks(low, high, is_log):
        y = f"{down(value):.1f}"
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y}" dy="5" text-anchor="end">{_short(value)}</text>')
    for count in _ticks(0, span / length, is_log=False):
        parts.append(
            f'<text x="{across(count * length):.1f}" y="{_HEIGHT - 22}" text-anchor="middle">{count:.3g}</text>'
        )
    parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">{unit}</text>')
    for number, line in enumerate(drawn):
        places = " ".join(f"{across((t - begin) / 1000):.1f},{down(value):.1f}" for t, value in _thinned(line.points))
        parts.append(f'<polyline class="l{number}" stroke-dasharray="{_DASHES[number]}" points="{places}"/>')
    return Html(f"<figure><figcaption>{text(title)}</figcaption>{''.join(parts)}</svg>{_key(drawn)}</figure>")


def _key(lines: Sequence[Line]) -> str:
    """Return which line is whose, and what it ends at."""
    entries = "".join(
        f'<li><svg viewBox="0 0 48 10" aria-hidden="true"><polyline class="l{number}" '
        f'stroke-dasharray="{_DASHES[number]}" points="0,5 48,5"/></svg> <bdi>{text(line.name)}</bdi>: '
        f"{_short(line.points[-1][1])}"
        for number, line in enumerate(lines)
    )
    return f'<ul class="key">{entries}</ul>'


def _thinned(points: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
    """Return at most some hundred points, the first and the last among them."""
    stride = math.ceil(len(points) / _MOST_POINTS)
    thinned = list(points[::stride])
    if thinned[-1] != points[-1]:
        thinned.append(points[-1])
    return thinned if len(thinned) > 1 else thinned * 2


def _scaled(value: float, is_log: bool) -> float:
    return math.log10(value) if is_log else value


def _short(value: float) -> str:
    """Return a number in few characters.

    >>> [_short(value) for value in (0.25, 1.0, 12_345, 2e9)]
    ['0.25', '1', '12.3k', '2G']
    """
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _range(low: float, high: float, is_log: bool) -> tuple[float, float]:
    """Return where the axis begins and ends, scaled."""
    low, high = _scaled(low, is_log), _scaled(high, is_log)
    room = (high - low) * 0.05 or abs(high) * 0.05 or 0.05
    return low - room, high + room


def _ticks(low: float, high: float, is_log: bool) -> list[float]:
    """Return round numbers between two scaled ones.

    >>> _ticks(0, 1, False), _ticks(-2, 0, True)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.01, 0.1, 1.0])
    """
    if is_log:
        return [10.0**power for power in range(math.ceil(low), math.floor(high) + 1)]
    size = 10.0 ** math.floor(math.log10((high - low) / 5))
    step = next(step for step in (each * size for each in _STEPS) if (high - low) / step <= 6)
    return [round(count * step, 12) for count in range(math.ceil(low / step), math.floor(high / step) + 1)]
