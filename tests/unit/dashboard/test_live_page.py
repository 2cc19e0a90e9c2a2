"""The page of peers that run: what it shows of them."""

import json
import socket
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest
from paged_peers import PagedPeers
from programs import wait_for

from learnae.config.dashboard_section import DashboardSection
from learnae.dashboard.address import FILE, PageAddress
from learnae.dashboard.live import LivePage
from learnae.dashboard.parts import Offers

HOSTILE = "<img src=x>"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path))


def visitor() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))


def test_a_viewer_sees_the_peer_and_the_others(tmp_path: Path) -> None:
    with PagedPeers(tmp_path, "pump", HOSTILE, "pump", classes=("walk",)) as peers:
        browser = visitor()
        assert b"<title>Learnae</title>" in browser.open(peers.url()).read()
        base = f"http://127.0.0.1:{peers.page.port}"

        def state() -> dict[str, Any]:
            found: dict[str, Any] = json.load(browser.open(f"{base}/api/state"))["set"]
            return found

        def rows() -> list[dict[str, Any]]:
            return [row for name, row in state().items() if name.startswith("peers/")]

        wait_for(lambda: sum(row["weight"] is not None for row in rows()) == 3, "all to be merged")
        seen = state()
        assert sorted(row["me"] for row in rows()) == [False, False, True]
        assert {row["name"].partition("#")[0] for row in rows()} == {"pump", HOSTILE}
        assert len({row["name"] for row in rows()}) == 3
        assert sum(row["weight"] for row in rows()) == pytest.approx(1, abs=1e-3)
        assert seen["now"]["text"].startswith("learning: ")
        assert seen["peer"]["classes"] == ["walk"]
        wait_for(lambda: any(len(event) > 2 for event in state()["lineage"]["events"]), "an update that merged another")
        assert len(seen["lineage"]["keys"]) <= 3
        history = json.load(browser.open(f"{base}/api/history?since=0"))
        assert history
        assert "learnae_steps_total" in urllib.request.urlopen(f"{base}/metrics").read().decode()


def test_cookies_outlive_a_restart_and_tokens_do_not(tmp_path: Path) -> None:
    with PagedPeers(tmp_path, "pump") as peers:
        directory = peers.linked[0].workspace.directory
        before = PageAddress.read(directory)
    assert (directory / FILE).stat().st_mode & 0o777 == 0o600
    section = DashboardSection("127.0.0.1:0")
    page = LivePage(section, peers.linked[0], Offers(), {})
    page._start()
    after = PageAddress.read(directory)
    page.close()
    assert before
    assert after
    assert before.key == after.key
    assert before.run != after.run


def test_a_place_that_is_taken_ends_no_peer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, PagedPeers(tmp_path, "pump") as peers:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        page = LivePage(DashboardSection(place), peers.linked[0], Offers(), {})
        for _ in range(2):
            page._try_at = 0.0
            page.serve()
        assert page.port == 0
        assert caplog.text.count(f"no dashboard at {place}") == 1
        page.close()


def test_what_cannot_be_shown_is_counted_and_ends_no_peer(tmp_path: Path) -> None:
    with PagedPeers(tmp_path, "pump") as peers:
        bans = tmp_path / "swarms" / str(peers.linked[0].peer.swarm) / "bans"
        visitor().open(peers.url())
        bans.symlink_to("bans")  # a loop: it cannot be read
        peers.page._board.watch(1)
        wait_for(lambda: "StateError" in peers.linked[0].peer.errors.counts, "it to be counted")
        assert peers.linked[0].peer.steps


def test_a_damaged_address_is_none(tmp_path: Path) -> None:
    (tmp_path / "peer").mkdir(mode=0o700)
    for text in (
        "",
        "{",
        "[]",
        '{"url": "x", "key": "zz", "run": ""}',
        '{"url": "x", "key": "00", "run": "00"}',
        "[" * 4000,
    ):
        (tmp_path / "peer" / FILE).write_text(text)
        assert PageAddress.read(tmp_path / "peer") is None
