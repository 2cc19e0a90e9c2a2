"""What the environment says of the web is nothing to own daemons: no proxy is asked, no password of ``.netrc`` sent."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from authority import Authority
from daemon import free_port
from hostile_http import HostileServer, hostile_server, says
from programs import PATIENCE

from learnae.adapters.iota.node import Node
from learnae.adapters.ipfs.gateway import GatewayExchange
from learnae.config.sections import IotaSection, IpfsSection
from learnae.errors import ConfigurationError, TransportError

INFO = json.dumps(
    {
        "appName": "HORNET",
        "appVersion": "0.5.6",
        "isSynced": True,
        "latestMilestoneIndex": 7,
        "latestSolidSubtangleMilestoneIndex": 7,
        "time": 1,
    }
).encode()


def ask_gateway(server: HostileServer) -> None:
    gateway = GatewayExchange(server.url, PATIENCE, probe_seconds=PATIENCE)
    gateway.lacking(list)
    gateway.close()


def ask_kubo(server: HostileServer) -> None:
    from learnae.adapters.ipfs.rpc import KuboRpc

    rpc = KuboRpc.from_section(IpfsSection(api=server.api))
    rpc.ask("version", seconds=PATIENCE)
    rpc.close()


def ask_iota(server: HostileServer) -> None:
    assert Node.from_section(IotaSection(node=server.url)).info().milestone == 7


@pytest.mark.parametrize(
    "ask", [ask_gateway, pytest.param(ask_kubo, marks=pytest.mark.modules("ipfshttpclient")), ask_iota]
)
def test_own_daemons_are_asked_directly_and_told_no_password(
    ask: Callable[[HostileServer], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []

    def answer(request) -> None:
        told.append([name for name in request.headers if "auth" in name.lower()])
        says(INFO)(request)

    (tmp_path / ".netrc").write_text("default login me password sesame\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "elsewhere.invalid")
    with hostile_server(answer) as server:
        ask(server)
    assert told == [[]]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture
def node(authority: Authority) -> Iterator[HostileServer]:
    with hostile_server(says(INFO), authority.server()) as found:
        yield found


def test_a_node_behind_tls_is_trusted_if_what_signed_it_is(node: HostileServer, authority: Authority) -> None:
    section = IotaSection(node=node.url, ca_file=str(authority.ca_file))
    assert Node.from_section(section).info().milestone == 7
    with pytest.raises(TransportError, match=r"set iota\.ca_file"):
        Node.from_section(IotaSection(node=node.url)).info()
    with pytest.raises(ConfigurationError, match=r"iota\.ca_file"):
        Node.from_section(IotaSection(node=node.url, ca_file=f"{authority.ca_file}.gone"))


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda url: IotaSection(node=url), "iota.node"),
        (lambda url: IpfsSection(gateways=url), "ipfs.gateways"),
    ],
)
def test_a_password_in_an_address_is_refused_and_not_shown(make: Callable[[str], object], key: str) -> None:
    with pytest.raises(ConfigurationError, match=key) as caught:
        make("http://me:sesame@127.0.0.1:14265")
    assert "sesame" not in str(caught.value)
