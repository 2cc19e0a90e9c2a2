"""Where a peer of this machine answers others: what its status says, if it is true."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from learnae.adapters.http.serving.server import free_place, place_of
from learnae.adapters.lan.own_addresses import own_addresses
from learnae.config.sections import AUTO, LanSection
from learnae.errors import ConfigurationError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.runtime.admission import serving
from learnae.runtime.admission.serving import served_addresses
from learnae.system.paths import STATUS_FILE, peer_directory

SWARM = Cid.of(DAG_CBOR, b"swarm")


def show(name: str, links: object, swarm: Cid = SWARM) -> None:
    directory = peer_directory(name)
    directory.mkdir(parents=True)
    (directory / STATUS_FILE).write_text(json.dumps({"swarm": str(swarm), "connections": links}))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path))


def serving_at(place: str) -> dict[str, str]:
    return {"http server": f"serving at {place}: 0 connections, 0 answers"}


def test_only_what_listens_for_others_of_this_swarm_counts() -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener, socket.create_server(("127.0.0.1", 0)) as inner:
        port = listener.getsockname()[1]
        show("another", serving_at(f"0.0.0.0:{port}"), Cid.of(DAG_CBOR, b"another"))
        show("inner", serving_at(f"127.0.0.1:{inner.getsockname()[1]}"))
        show("away", {"http server": f"away: cannot serve at 0.0.0.0:{port}: Address in use"})
        show("broken", ["http server"])
        show("killed", serving_at("0.0.0.0:9"))
        for section in (LanSection(), LanSection(serve="127.0.0.1:8733")):
            assert served_addresses(SWARM, section) == []
        show("right", serving_at(f"0.0.0.0:{port}"))
        found = served_addresses(SWARM, LanSection())
        assert found == [f"http://{each}:{port}" for each in own_addresses() if ":" not in each]


def test_a_peer_that_is_to_serve_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_START_SECONDS", 0.0)
    with pytest.raises(ConfigurationError, match=r"lan\.serve is 'auto', and no peer of this machine serves"):
        served_addresses(SWARM, LanSection(serve=AUTO))


def test_addresses_of_this_machine_are_those_that_others_can_use() -> None:
    for address in own_addresses():
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        assert not address.startswith(("127.", "fe80", "::1"))
        with socket.socket(family) as probe:
            probe.bind((address, 0))


def test_each_peer_of_a_machine_gets_a_port_of_its_own() -> None:
    host, port = free_place()
    with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
        assert free_place()[1] > port


@pytest.mark.parametrize(
    ("state", "place"),
    [
        ("serving at [::]:8733: 3 connections, 5 answers", ("::", 8733)),
        ("serving at 192.0.2.1:80: 0 connections, 0 answers", ("192.0.2.1", 80)),
        ("away: cannot serve at [::]:8733: Permission denied", None),
        ("", None),
    ],
)
def test_what_a_server_says_of_its_place_is_read_back(state: str, place: tuple[str, int] | None) -> None:
    assert place_of(state) == place
