"""The pages say what is: decisions are indexed, links lead somewhere, layers and errors are those of the code."""

import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("learnae", "agent", "trainer_node", "firmware_bridge")
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
         *sorted((ROOT / "docs").rglob("*.md"))]  # fmt: skip
DECISIONS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
HEADINGS = ["Context", "Decision", "Consequences"]


def test_every_decision_has_the_template_and_is_in_the_index_as_it_is() -> None:
    rows = []
    for path in DECISIONS:
        title, _, status, date = path.read_text().splitlines()[:4]
        assert re.fullmatch(r"- Date: 20\d\d-\d\d-\d\d", date), path
        assert re.findall(r"^## (.*)", path.read_text(), re.MULTILINE) == HEADINGS, path
        number, _, name = title.removeprefix("# ").partition(". ")
        assert int(number) == int(path.name[:4])
        rows.append(f"| {number} | [{name}]({path.name}) | {status.removeprefix('- Status: ')} |")
    index = (ROOT / "docs" / "adr" / "README.md").read_text().splitlines()
    assert [line.rsplit("|", 3)[0] + "|" for line in index if re.match(r"\| \d", line)] == rows


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_of_a_page_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)", text):
        found = page.parent / target if target else page
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)", found.read_text(), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
    for path in re.findall(r"`((?:learnae|agent|trainer_node|firmware_bridge|tests|bench)/[\w/.]*(?:\.py|/))`", text):
        assert "NAME" in path or (ROOT / path).exists(), path


def test_layers_in_the_picture_are_the_contracts() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / "setup.cfg")
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    for block, section in (("roles", "roles"), ("learnae", "library")):
        (drawn,) = re.findall(rf"^{block}\n((?:  .*\n)+)", text, re.MULTILINE)
        layers = [line.strip().partition("  ")[0] for line in drawn.splitlines()]
        assert layers == contracts[f"importlinter:contract:{section}"]["layers"].split("\n")[1:]


def test_every_error_is_explained() -> None:
    known = {"LearnaeError"}
    classes = re.findall(r"^class (\w+)\((\w+)\)", "\n".join(path.read_text() for path in SOURCES), re.MULTILINE)
    while found := {name for name, base in classes if base in known} - known:
        known |= found
    assert known <= set(re.findall(r"`(\w+)`", (ROOT / "docs" / "errors.md").read_text()))


UNPUBLISHED = re.compile(
    r"pip install '?learnae(?:\[[\w, -]+\])?['\s`]"
)  # no registry has it: the name may be taken there


def test_pages_install_from_a_checkout_or_a_wheel() -> None:
    assert [page for page in PAGES if UNPUBLISHED.search(page.read_text())] == []


def test_error_texts_install_from_a_checkout_or_a_wheel() -> None:
    assert [path for path in SOURCES if UNPUBLISHED.search(path.read_text())] == []
