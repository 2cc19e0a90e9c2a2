"""Pages hold what others call themselves as text, load nothing, and are well-formed whatever they show."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnae.basics.overriding import override
from learnae.reports.chart import Line, chart
from learnae.reports.page import Html, fields, heading, image, page, paragraph, table

HOSTILE = '</title><script>alert(1)</script><img src=x onerror="a()">\u202e&amp;'
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "dl", "dt", "dd", "bdi", "img", "ul", "li"),
    *("div", "table", "caption", "thead", "tbody", "tr", "th", "td"),
    *("figure", "figcaption", "svg", "line", "text", "polyline"),
}


class Seen(HTMLParser):
    """Notes which tags and attributes a page has, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags = set[str]()
        self.attributes = dict[str, set[str]]()
        self.said = ""
        self.feed(text)
        self.close()

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")

    @override
    def handle_data(self, data: str) -> None:
        self.said += data


def whole(name: str) -> str:
    line = Line(name, [(0, 0.5), (60_000, 0.75)])
    parts = [heading(name), paragraph(name), fields([(name, name)]), table(name, [name, f">{name}"], [[name, name]])]
    return page(name, [*parts, chart(name, [line]), image(b"", "png", name)])


@pytest.mark.parametrize("name", [HOSTILE, "<!--", "]]>", "\0", "\ud800", "a" * 500, "'\"><b>"])
def test_names_are_text_and_nothing_is_loaded(name: str) -> None:
    seen = Seen(whole(name))
    assert seen.tags <= TAGS
    assert not {each for each in seen.attributes if each.startswith("on") or each in ("style", "href")}
    assert seen.attributes["src"] == {"data:image/png;base64,"}
    assert "\u202e" not in seen.said


def test_the_policy_lets_the_own_style_through_and_nothing_else() -> None:
    text = page("it", [])
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:;")
    assert "prefers-color-scheme:dark" in style
    assert "width=device-width" in text


NUMBERS = st.floats(-1e300, 1e300) | st.sampled_from([0.0, 1e-300, 5e-324, 1.0])
POINTS = st.lists(st.tuples(st.integers(0, 253_402_300_799_999), NUMBERS), max_size=20)


@given(st.lists(POINTS, max_size=12), st.booleans())
def test_whatever_is_drawn_stays_inside_the_picture(lines: list[list[tuple[int, float]]], may_be_log: bool) -> None:
    drawn = chart("it", [Line(f"peer {n}", sorted(points)) for n, points in enumerate(lines)], may_be_log)
    places = [
        tuple(map(float, place.split(",")))
        for points in re.findall(r'class="l\d" stroke-dasharray="[\d ]*" points="([^"]*)"', drawn)
        for place in points.split()
    ]
    assert ("nan" in drawn, "inf" in drawn) == (False, False)
    assert bool(drawn) == any(lines)
    assert all(0 <= x <= 480 and 0 <= y <= 260 for x, y in places)


def test_a_long_line_is_thinned_and_keeps_its_ends() -> None:
    points = [(1000 * second, float(second % 7)) for second in range(100_000)]
    drawn: Html = chart("it", [Line("long", points)])
    assert len(drawn) < 12_000
    assert "56.0," in drawn
    assert "470.0," in drawn
