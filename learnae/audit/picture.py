"""A picture of what attacks reach, without protection and as a machine is configured: bars, as SVG. Pure."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from learnae.audit.trial import AUC, ERROR, Tried

_WIDTH, _LEFT, _ROW, _TOP = 760, 330, 64, 56
_BARE, _GUARDED = "#c44e52", "#1f77b4"


def success(kind: str, value: float | None) -> float:
    """Return how far an attack gets: 0, no better than a guess, to 1.

    >>> success(AUC, 0.5), success(AUC, 1.0), success(ERROR, 0.25), success(ERROR, None)
    (0.0, 1.0, 0.75, 0.0)
    """
    if value is None:
        return 0.0
    if kind == AUC:
        return max(0.0, 2 * value - 1)
    return max(0.0, 1 - value) if kind == ERROR else min(1.0, value)


def draw(title: str, tried: Sequence[Tried]) -> str:
    """Return the SVG."""
    height = _TOP + _ROW * len(tried) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="system-ui,sans-serif"'
        f' font-size="13"><rect width="100%" height="100%" fill="white"/>',
        f'<text x="16" y="24" font-size="16">{escape(title)}</text>',
        f'<text x="16" y="42" fill="{_BARE}">without protection</text>'
        f'<text x="150" y="42" fill="{_GUARDED}">as configured here</text>',
    ]
    for number, each in enumerate(tried):
        top = _TOP + _ROW * number
        parts.append(f'<text x="16" y="{top + 18}">{escape(each.attack)}</text>')
        parts.append(f'<text x="16" y="{top + 36}" fill="#777">{escape(each.kind)}</text>')
        for line, (value, colour) in enumerate(((each.bare, _BARE), (each.guarded, _GUARDED))):
            width = round(success(each.kind, value) * (_WIDTH - _LEFT - 90))
            y = top + 6 + 20 * line
            said = "nothing" if value is None else f"{value:.3g}"
            parts.append(f'<rect x="{_LEFT}" y="{y}" width="{max(width, 1)}" height="14" fill="{colour}"/>')
            parts.append(f'<text x="{_LEFT + width + 8}" y="{y + 12}">{said}</text>')
    parts.append(f'<text x="{_LEFT}" y="{height - 10}" fill="#777">no better than a guess … certain</text></svg>')
    return "\n".join(parts) + "\n"
