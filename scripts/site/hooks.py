"""What the site is made of: docs/README.md is its order, the pages of the repository's root are in it, too."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
OF_ROOT = {"README.md": "index.md", **{name: name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")}}
CONTENTS = "contents.md"  # what docs/README.md is there, as index.md is the root's
HEADS = re.compile(r"^\| (to \w+ it) \| \|$", re.MULTILINE)
LINK = re.compile(r"(!?)\[((?:\\.|[^\[\]\\]|\[[^\[\]]*\])*)\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
ELSEWHERE = re.compile("[a-z]+:")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Set the order of the pages: as docs/README.md has them, then the decisions and what changed."""
    text = (ROOT / "docs" / "README.md").read_text()
    parts = HEADS.split(text)[1:]
    config.nav = [{"Learnae": ["index.md", CONTENTS]}]
    named: set[str] = {"index.md"}
    for title, table in zip(parts[::2], parts[1::2], strict=True):
        targets = [target for row in table.splitlines() for _, _, target in LINK.findall(row.split(" | ")[0])]
        pages = [page for page in map(_page_of_contents, targets) if page and page not in named]
        config.nav.append({title.capitalize(): list(dict.fromkeys(pages))})
        named.update(pages)
    decisions = sorted(path.name for path in (ROOT / "docs" / "adr").glob("[0-9]*.md"))
    config.nav.append({"Decisions": ["adr/README.md", *(f"adr/{name}" for name in decisions)]})
    config.nav.append({"What changed": "CHANGELOG.md"})
    absent = (
        {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").glob("*.md")} - named - {"README.md"}
    )
    if absent:
        raise PluginError(
            f"docs/README.md does not name {', '.join(sorted(absent))}: add a row, which gives it its place"
        )
    return config


def _page_of_contents(target: str) -> str | None:
    """Return the page that docs/README.md links to; the decisions have a section of their own."""
    page = _page(posixpath.normpath(posixpath.join("docs", target.partition("#")[0])))
    return None if page and page.startswith("adr/") else page


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root, and take docs/README.md for the contents."""
    readme = files.get_file_from_path("README.md")
    assert readme is not None
    files.remove(readme)
    files.append(File.generated(config, CONTENTS, content=(ROOT / "docs" / "README.md").read_text()))
    for name, page in OF_ROOT.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let links lead to pages of the site; what is only in the repository is named without a link."""
    own = _place(page.file.src_uri)
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[0])
        return f"\0{len(kept) - 1}\0"

    def follow(found: re.Match[str]) -> str:
        mark, text, target = found.groups()
        if ELSEWHERE.match(target) or target.startswith("#"):
            return found[0]
        path, sharp, anchor = target.partition("#")
        place = posixpath.normpath(posixpath.join(posixpath.dirname(own), path))
        is_here = not place.startswith(("/", "..")) and (ROOT / place).exists()
        if not is_here:
            return found[0]  # an error
        to = _page(place)
        if to is None:
            return text
        return f"{mark}[{text}]({posixpath.relpath(to, posixpath.dirname(page.file.src_uri) or '.')}{sharp}{anchor})"

    text = LINK.sub(follow, CODE.sub(keep, markdown))
    return re.sub("\0(\\d+)\0", lambda found: kept[int(found[1])], text)


def _place(page: str) -> str:
    """Return where a page of the site is in the repository."""
    if page == CONTENTS:
        return "docs/README.md"
    return next((name for name, known in OF_ROOT.items() if known == page), f"docs/{page}")


def _page(place: str) -> str | None:
    """Return the page, picture or file of the site that a path of the repository is; None for anything else."""
    if (ROOT / place).is_dir():
        place = f"{place}/README.md"
    if place == "docs/README.md":
        return CONTENTS
    if place in OF_ROOT:
        return OF_ROOT[place]
    is_there = place.startswith("docs/") and (ROOT / place).is_file()
    return place.removeprefix("docs/") if is_there else None
