"""The pages as a site: it builds, all links lead somewhere, and no page asks another origin for anything."""

import os
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from programs import Finished, finish

ROOT = Path(__file__).parents[3]
CONTENT = "Content-Security-Policy"
LOADED = {"src", "srcset", "data", "poster", "action", "formaction", "background"}  # what a browser asks for by itself
IN_STYLES = re.compile(r"""(?:url\(\s*|@import\s+)["']?(?:[a-z]+:)?//""")

pytestmark = pytest.mark.modules("mkdocs", "material")


class Page(HTMLParser):
    """What a browser loads with a page, without a click, and what may it load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.policies: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.loaded += [value for name, value in values.items() if name in LOADED or (name, tag) == ("href", "link")]
        if values.get("http-equiv") == CONTENT:
            self.policies.append(values["content"])


def build(root: Path, site: Path) -> Finished:
    variables = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    config = root / "scripts" / "site" / "mkdocs.yml"
    return finish(
        sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", config, "--site-dir", site, env=variables
    )


def test_the_site_builds_with_every_page_and_asks_no_other_origin(tmp_path: Path) -> None:
    done = build(ROOT, tmp_path)
    assert done.returncode == 0, done.stderr

    sources = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    built = {path.relative_to(tmp_path).with_suffix("") for path in tmp_path.rglob("*.html")}
    unlike = {Path("README"), Path("adr/README"), Path("vectors/README"), Path("adr/template")}
    assert sources - unlike | {Path("index"), Path("contents"), Path("adr/index"), Path("vectors/index")} <= built
    for path in tmp_path.rglob("*.html"):
        page = Page(path.read_text())
        assert [place for place in page.loaded if re.match("(?:[a-z]+:)?//", place)] == [], path
        assert page.policies == ["default-src 'self' file: data: 'unsafe-inline'"], path
    styles = [path for end in ("css", "html", "svg") for path in tmp_path.rglob(f"*.{end}")]
    assert [path for path in styles if IN_STYLES.search(path.read_text())] == []


def test_a_link_or_an_anchor_that_leads_nowhere_and_a_page_without_a_place_fail(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    shutil.copytree(ROOT / "scripts" / "site", tmp_path / "scripts" / "site")
    (docs / "adr").mkdir(parents=True)
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/adr/README.md"):
        (tmp_path / name).write_text("# Page\n\n[all](docs/README.md)\n" if name == "README.md" else "# Page\n")
    rows = "| [one.md](one.md), [c](../CONTRIBUTING.md), [s](../SECURITY.md) | [x](../hooks.py) |\n"
    (docs / "README.md").write_text(f"# All\n\n| to use it | |\n| --- | --- |\n{rows}")
    (tmp_path / "hooks.py").touch()
    (docs / "one.md").write_text("# One\n\n[up](../README.md#page) [one](#one) `[not](a-link.md)`\n")
    assert build(tmp_path, tmp_path / "site").returncode == 0
    assert 'href="index.html#page"' in (tmp_path / "site" / "one.html").read_text()

    with (docs / "one.md").open("a") as file:
        file.write("[a](away.md) [b](#none) [c](../README.md#none) [d](../away.py) [e](/etc/passwd)\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode
    for said in ("'away.md'", "'#none'", "'index.md#none'", "'../away.py'", "'/etc/passwd'"):
        assert said in done.stderr
    (docs / "two.md").touch()
    assert "docs/README.md does not name two.md: add a row" in build(tmp_path, tmp_path / "site").stderr
