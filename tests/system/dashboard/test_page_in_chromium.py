"""The page in a real browser: what people see of peers that run, and of everything that peers may say."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import Chromium
from page_parts import HOSTILE, state
from paged_peers import PagedPeers
from pages import PageServer

from learnae.dashboard.board import Point
from learnae.dashboard.writes import labels_of

pytestmark = pytest.mark.engine("chromium")

AXE = Path(__file__).parents[2] / "data/axe/axe.min.js"
WIDTHS = (320, 375, 600, 768, 901, 1280, 1920)
LIVE = "document.getElementById('link').classList.contains('live')"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with Chromium() as found:
        yield found


@pytest.fixture
def browser(chromium: Chromium) -> Chromium:
    chromium.console.clear()
    chromium.asked.clear()
    chromium.resize(1280)
    return chromium


def seen(browser: Chromium, where: str) -> str:
    found: str = browser.run(f"document.querySelector({json.dumps(where)}).innerText")
    return found


def assert_nothing_runs_but_the_page(browser: Chromium, port: int) -> None:
    assert browser.console == []
    assert {url.split("/")[2] for url in browser.asked if not url.startswith("data:")} == {f"127.0.0.1:{port}"}
    assert browser.run("document.images.length") == 1
    assert browser.run("document.scripts.length") == 2


def test_peers_that_run_are_seen_as_they_go_on(
    browser: Chromium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path))
    with PagedPeers(tmp_path, "pump", HOSTILE[0], HOSTILE[1]) as peers:
        browser.open(peers.url())
        browser.wait(LIVE)
        assert browser.run("location.search") == ""  # the token is in no history
        browser.wait("document.getElementById('sentence').textContent.startsWith('learning: ')")
        steps = "document.querySelectorAll('.tiles .figure')[3].textContent"
        before = browser.run(steps)
        browser.wait(f"{steps} !== {json.dumps(before)}")
        browser.wait("document.querySelectorAll('#peers tbody tr').length === 3")
        browser.wait("document.querySelectorAll('#plot-lineage circle').length > 2")
        browser.wait("!!document.querySelector('#plot-loss canvas')")
        shown = seen(browser, "#peers tbody")
        assert HOSTILE[0] in shown
        assert HOSTILE[1] in shown
        assert_nothing_runs_but_the_page(browser, peers.page.port)
        peers.page.close()
        browser.wait("document.getElementById('link-text').textContent.startsWith('not connected since ')")
        assert browser.run("document.body.classList.contains('stale')")


@pytest.fixture(params=[1000])
def full(browser: Chromium, request: pytest.FixtureRequest) -> Iterator[tuple[Chromium, PageServer, list[Any]]]:
    """A page with all panels, of so many peers, and what was labelled."""
    given: list[Any] = []
    with PageServer(labels_of(lambda *label: given.append(label)), **state(request.param)) as page:
        now = page.parts["now"]["time"]
        for age in range(60, 0, -1):
            page.board.history.note(Point(now - 1000 * age, 0.9 - age / 200, 1 / (61 - age), 0.93, 0.95))
        browser.open(f"http://{page.host}/?t={page.token()}")
        browser.wait(LIVE)
        yield browser, page, given


@pytest.mark.parametrize("full", [12], indirect=True)
def test_it_fits_every_screen_and_everyone_can_use_it(full: tuple[Chromium, PageServer, list[Any]]) -> None:
    browser, page, _ = full
    browser.run("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    for width in WIDTHS:
        browser.resize(width)
        assert browser.run("document.documentElement.scrollWidth") <= width, width
    browser.run(AXE.read_text() + "; 0")
    for width, dark in ((1280, False), (375, True)):
        browser.resize(width, dark=dark)
        found = browser.run("axe.run().then(result => result.violations)")
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert not serious, [(each["id"], [node["html"][:200] for node in each["nodes"][:3]]) for each in serious]
    assert_nothing_runs_but_the_page(browser, page.server.port)


def test_a_thousand_peers_are_found_and_the_page_can_be_used_by_keys(
    full: tuple[Chromium, PageServer, list[Any]],
) -> None:
    browser, page, given = full
    assert browser.run("document.querySelectorAll('#peers tbody tr').length") == 50
    assert seen(browser, "#peer-count") == "50 of 1000"
    browser.run("document.getElementById('peer-filter').focus()")
    browser.call("Input.insertText", text="board-777")
    browser.wait("document.querySelectorAll('#peers tbody tr').length === 1")
    assert "board-777" in seen(browser, "#peers tbody")
    browser.run("document.querySelectorAll('#label-buttons button')[2].click()")
    browser.wait("document.getElementById('label-said').textContent.includes('readings are')")
    assert given == [(HOSTILE[0], None)]
    assert HOSTILE[0] in seen(browser, "#label-said")
    browser.run("document.getElementById('invite-open').click()")
    browser.run("document.querySelector('#invite-form button').click()")
    browser.wait("document.getElementById('invite-error').textContent.includes('does not do that')")
    browser.console = [line for line in browser.console if "/api/invite" not in line]  # the browser's own word on 404
    assert_nothing_runs_but_the_page(browser, page.server.port)
