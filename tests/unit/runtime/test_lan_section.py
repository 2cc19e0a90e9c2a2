"""From ``[lan]`` to links: what is not said is not served, and an open swarm does not speak in the clear."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from builders import tiny_manifest
from daemon import HOST, free_port
from programs import wait_for

from learnae.adapters.http.certificate import PinnedConnection
from learnae.adapters.http.client import HttpClient
from learnae.adapters.http.member import make_client
from learnae.adapters.http.serving.server import place_of
from learnae.config.sections import (
    AUTO,
    ExchangeSection,
    GatewaySection,
    IotaSection,
    LanSection,
    MemberAddress,
    MqttSection,
    is_own_machine,
)
from learnae.errors import ConfigurationError
from learnae.ipld.cid import RAW, Cid
from learnae.models.passive_learner import PassiveLearner
from learnae.peer.peer import Options
from learnae.protocol.identity import peer_name
from learnae.runtime.link_set import LinkSet
from learnae.runtime.linked_peer import build_peer
from learnae.runtime.links import http as http_module
from learnae.runtime.links.connect import connect
from learnae.runtime.links.http import UPLOADS, check_private, connect_http
from learnae.runtime.workspace import Workspace
from learnae.swarm.directory import create_swarm

PEER = peer_name(bytes(32))


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    found = Workspace(create_swarm(tiny_manifest(), tmp_path / "swarm"), tmp_path / "peer")
    yield found
    found.store.close()
    found.release()


@contextmanager
def connected(workspace: Workspace, section: LanSection, is_sealed: bool = False) -> Iterator[LinkSet]:
    links = connect_http(section, workspace, is_sealed)
    yield links
    links.close()


def test_what_is_answered_counts_as_traffic_of_the_peer(workspace: Workspace) -> None:
    place = f"{HOST}:{free_port()}"
    with connected(workspace, LanSection(serve=place, beacon=False)) as links:
        manifest = workspace.swarm.manifest
        linked = build_peer(workspace, PassiveLearner(manifest.model.count), Options("ann", "trainer", 8), links)
        wait_for(lambda: "serving" in links.status()["http server"], "the server")
        data = b"a block of this swarm"
        cid = workspace.store.put(RAW, data)
        before = linked.peer.traffic.bytes_out
        for path, status in ((f"/ipfs/{cid}?format=raw", 200), (f"/ipfs/{Cid.of(RAW, b'other')}?format=raw", 404)):
            with suppress(HTTPError), urlopen(f"http://{place}{path}") as answer:
                assert (answer.status, answer.read()) == (status, data)
        linked.serve()
        linked.serve()
        assert linked.peer.traffic.bytes_out - before == len(data)


def test_nothing_is_served_and_asked_for_unless_it_is_said(workspace: Workspace) -> None:
    links = connect(workspace, MqttSection(), GatewaySection(), ExchangeSection(), IotaSection(), LanSection())
    assert [dict(links.exchanges), dict(links.gossips), dict(links.states)] == [{}, {}, {}]


@pytest.mark.parametrize(
    ("peers", "found"),
    [
        ("", []),
        (" http://board.local:8733 ", [MemberAddress("board.local", 8733, tls=False)]),
        (
            f"http://[fe80::1%eth0]:1/{PEER} https://192.0.2.7:8733/{PEER}/",
            [MemberAddress("fe80::1%eth0", 1, False, PEER), MemberAddress("192.0.2.7", 8733, True, PEER)],
        ),
    ],
)
def test_addresses_of_members(peers: str, found: list[MemberAddress]) -> None:
    assert LanSection(peers=peers).addresses() == found


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("peers", "board.local:8733", "use http://HOST:PORT"),
        ("peers", "http://board.local", "use http://HOST:PORT"),
        ("peers", "http://me:sesame@board.local:1", "…@board.local:1"),
        ("peers", "http://board.local:1/path", "52 characters"),
        ("peers", f"http://board.local:1/{PEER[:-1]}b", "52 characters"),
        ("peers", "https://board.local:8733", "without the name of the peer"),
        ("peers", "ftp://board.local:1", "use http"),
        ("serve", "8733", "HOST:PORT"),
        ("serve", "0.0.0.0", "HOST:PORT"),
        ("serve", "0.0.0.0:0", "HOST:PORT"),
        ("serve", "http://0.0.0.0:8733", "HOST:PORT"),
        ("serve", "0.0.0.0:8733/x", "HOST:PORT"),
        ("timeout", 0.0, "seconds"),
        ("connections", 0, "from 1 to"),
        ("per_address", 0, "from 1 to"),
        ("bytes_per_second", 0, "from 1024"),
    ],
)
def test_what_is_wrong_is_named_with_the_remedy(key: str, value: object, words: str) -> None:
    with pytest.raises(ConfigurationError, match=f"lan.{key} ") as caught:
        LanSection(**{key: value})  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("localhost", True),
        ("::1", True),
        ("127.evil.example", False),
        ("0.0.0.0", False),
        ("192.168.1.5", False),
    ],
)
def test_only_this_machine_needs_no_encryption_in_an_open_swarm(workspace: Workspace, host: str, own: bool) -> None:
    assert is_own_machine(host) == own
    address = MemberAddress(host, 8733, tls=False)
    check_private(address, is_sealed=True)
    if own:
        check_private(address, is_sealed=False)
        return
    with pytest.raises(ConfigurationError, match="this swarm is open") as caught:
        connect_http(LanSection(peers=f"http://{host}:8733"), workspace)
    assert f"use https://{host}:8733/PEER" in caught.value.remedy


def test_an_open_swarm_is_served_to_others_under_its_servers_key_alone(workspace: Workspace) -> None:
    port = free_port()
    with connected(workspace, LanSection(serve=f"0.0.0.0:{port}")) as links:
        wait_for(lambda: links.status()["http server"].startswith("serving"), "the server")
        pinned = PinnedConnection(HOST, port, workspace.identity.author)
        pinned.connect()
        pinned.request("GET", "/ipfs/bafkqaaa?format=raw", None, {})
        assert pinned.answer(0)[0].status == 200
        assert isinstance(pinned.sock, ssl.SSLSocket)
        pinned.close()


@pytest.mark.parametrize(("host", "sealed"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_what_cannot_be_read_by_others_needs_no_encryption(workspace: Workspace, host: str, sealed: bool) -> None:
    from http.client import HTTPConnection

    port = free_port()
    section = LanSection(serve=f"{host}:{port}", peers=f"http://127.0.0.1:{port}")
    with connected(workspace, section, sealed) as links:
        assert list(links.exchanges) == [f"http 127.0.0.1:{port}", UPLOADS]
        assert list(links.gossips) == ["http"]
        wait_for(lambda: links.status()["http server"].startswith("serving"), "the server")
        plain = HTTPConnection(HOST, port)
        plain.request("GET", "/ipfs/bafkqaaa?format=raw")
        assert plain.getresponse().status == 200
        plain.close()


def test_a_board_that_reads_and_serves_needs_no_heavy_library() -> None:
    heavy = "{'asyncio', 'http.client', 'requests', 'ssl', 'urllib3'}"
    code = f"import sys, learnae.runtime.links.http; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_only_what_is_served_to_others_is_told_to_others(workspace: Workspace) -> None:
    with connected(workspace, LanSection(serve=AUTO), is_sealed=True) as links:
        assert links.status()["beacon"] == "connected"
        wait_for(lambda: links.status()["http server"].startswith("serving"), "the server")
        host, port = place_of(links.status()["http server"]) or ("", 0)
        assert (host, port >= 8733) == (("::" if socket.has_dualstack_ipv6() else "0.0.0.0"), True)
    for section in (
        LanSection(serve=f"127.0.0.1:{free_port()}", peers="http://localhost:1"),
        LanSection(serve=AUTO, beacon=False),
    ):
        with connected(workspace, section, is_sealed=True) as links:
            assert "beacon" not in links.status()


def test_an_address_of_this_machine_stands_for_no_other(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    def note(*arguments: Any) -> HttpClient:
        found.append(arguments[-1])
        return make_client(*arguments)

    monkeypatch.setattr(http_module, "make_client", note)
    section = LanSection(peers=f"http://127.0.0.1:1 https://192.0.2.1:1/{PEER}", beacon=False)
    with connected(workspace, section):
        assert [whereabouts is None for whereabouts in found] == [True, True, False, False]
