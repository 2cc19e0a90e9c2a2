"""HTML pages that need nothing else: no script, no address, and whatever others call themselves is text. Pure."""

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence
from typing import NewType

from learnae.basics.peer_names import harmless

Html = NewType("Html", str)
LINES = 8  # that a chart tells apart, by colour and by dashes
_STYLE = """\
:root{color-scheme:light dark;--ink:#222;--faint:#666;--rule:#ddd;--paper:#fff;--l0:#1f6fb4;--l1:#c0392b;--l2:#23803c;
--l3:#8e44ad;--l4:#b9770e;--l5:#117a8b;--l6:#a0306a;--l7:#555}
@media(prefers-color-scheme:dark){:root{--ink:#ddd;--faint:#999;--rule:#444;--paper:#161616;--l0:#6db3f2;--l1:#ff8a7a;
--l2:#6fcf87;--l3:#d39df0;--l4:#f0b860;--l5:#6fd3e3;--l6:#f29ac4;--l7:#aaa}}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:var(--ink);
background:var(--paper);overflow-wrap:anywhere}
.wide{overflow-x:auto}table{border-collapse:collapse}caption{text-align:left;font-style:italic;padding:.5rem 0}
td,th{padding:.2rem .9rem .2rem 0;text-align:left;border-bottom:1px solid var(--rule);white-space:nowrap}
.n{text-align:right}img{max-width:100%;background:#fff}dt{font-weight:600}dd{margin:0 0 .5rem}
figure{margin:1rem 0}figcaption{font-style:italic}svg{width:100%;max-width:38rem;height:auto}
svg text{font:14px system-ui,sans-serif;fill:var(--faint)}svg .grid{stroke:var(--rule)}
svg polyline{fill:none;stroke-width:2}ul.key{list-style:none;padding:0;margin:0}ul.key svg{width:3rem;height:.7rem}
.l0{stroke:var(--l0)}.l1{stroke:var(--l1)}.l2{stroke:var(--l2)}.l3{stroke:var(--l3)}.l4{stroke:var(--l4)}
.l5{stroke:var(--l5)}.l6{stroke:var(--l6)}.l7{stroke:var(--l7)}
@media(max-width:30rem){svg text{font-size:20px}}
"""
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; "
    "img-src data:; base-uri 'none'; form-action 'none'"
)


def text(value: object) -> Html:
    """Return a value as text, whatever is in it.

    >>> text("<b> & \\u202e\\"x\\"")
    '&lt;b&gt; &amp; \\ufffd&quot;x&quot;'
    """
    return Html(html.escape(harmless(str(value))))


def paragraph(value: object) -> Html:
    """Return a paragraph of text."""
    return Html(f"<p>{text(value)}</p>")


def heading(value: object) -> Html:
    """Return the heading of a part."""
    return Html(f"<h2>{text(value)}</h2>")


def fields(pairs: Iterable[tuple[str, object]]) -> Html:
    """Return named values."""
    return Html("<dl>" + "".join(f"<dt>{text(name)}<dd>{text(value)}" for name, value in pairs) + "</dl>")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Html:
    """Return a table; columns whose names have > before them are aligned to the right. It scrolls where it is wide."""
    sides = [' class="n"' if column.startswith(">") else "" for column in columns]
    head = "".join(
        f'<th scope="col"{side}>{text(name.removeprefix(">"))}' for name, side in zip(columns, sides, strict=True)
    )
    lines = "\n".join(
        "<tr>" + "".join(f"<td{side}><bdi>{text(cell)}</bdi>" for cell, side in zip(row, sides, strict=True))
        for row in rows
    )
    caption = f"<caption>{text(title)}</caption>" if title else ""
    return Html(f'<div class="wide"><table>{caption}<thead><tr>{head}<tbody>\n{lines}</table></div>')


def image(data: bytes, kind: str, told: str) -> Html:
    """Return a picture of a ``kind`` such as png, and what it shows."""
    return Html(f'<img alt="{text(told)}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">')


def page(title: str, parts: Iterable[Html]) -> str:
    """Return a whole page that loads and sends nothing, readable by day and by night, and on a phone."""
    body = "\n".join(parts)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="referrer" content="no-referrer">
<title>{text(title)}</title><style>{_STYLE}</style></head>
<body><h1>{text(title)}</h1>
{body}
</body></html>
"""
