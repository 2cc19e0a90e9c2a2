"""A gateway and a daemon's RPC behind TLS: who is trusted, who is not, and that nobody falls back."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from authority import Authority
from hostile_http import HostileServer, hostile_server, says, silence
from programs import PATIENCE, wait_for

from learnae.adapters.block_backoffs import BlockBackoffs
from learnae.adapters.ipfs.gateway import GatewayExchange
from learnae.adapters.tls import RenewedContext
from learnae.config.sections import IpfsSection
from learnae.errors import ConfigurationError, TransportError
from learnae.ipld.cid import RAW, Cid
from learnae.runtime.links.connect import connect_gateways

DATA = b"weights"
CID = Cid.of(RAW, DATA)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("strangers"), "stranger")


@pytest.fixture
def server(authority: Authority) -> Iterator[HostileServer]:
    with hostile_server(says(DATA), authority.server()) as found:
        yield found


Ask = Callable[[IpfsSection], bytes]


def from_gateway(section: IpfsSection) -> bytes:
    (exchange,) = connect_gateways(section).exchanges.values()
    exchange._backoffs = BlockBackoffs(PATIENCE, PATIENCE)  # what is to come does come, however busy the machine is
    try:
        return exchange.fetch(CID)
    finally:
        exchange.close()


def from_daemon(section: IpfsSection) -> bytes:
    from learnae.adapters.ipfs.rpc import KuboRpc

    rpc = KuboRpc.from_section(section)
    try:
        return rpc.call("block/get", str(CID), seconds=PATIENCE)
    finally:
        rpc.close()


both = pytest.mark.parametrize(
    "ask", [from_gateway, pytest.param(from_daemon, marks=pytest.mark.modules("ipfshttpclient"))]
)


def section_of(server: HostileServer, **settings: Any) -> IpfsSection:
    return IpfsSection(api=server.api, gateways=server.url, timeout=PATIENCE, **settings)


@both
def test_who_is_vouched_for_is_trusted(ask: Ask, server: HostileServer, authority: Authority) -> None:
    assert ask(section_of(server, ca_file=str(authority.ca_file))) == DATA


@both
def test_the_credential_of_a_service_may_hold_the_authority(
    ask: Ask, server: HostileServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(authority.ca_file.parent))
    assert ask(section_of(server, ca_file=authority.ca_file.name)) == DATA


@both
def test_what_the_system_trusts_is_trusted(
    ask: Ask, server: HostileServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    assert ask(section_of(server)) == DATA


@both
@pytest.mark.parametrize("trusted", ["stranger", "system"])
def test_a_stranger_is_refused_with_the_remedy_and_told_nothing(
    ask: Ask, server: HostileServer, stranger: Authority, trusted: str, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("bearer:sesame")
    ca_file = str(stranger.ca_file) if trusted == "stranger" else ""
    with pytest.raises(TransportError) as caught:
        ask(section_of(server, ca_file=ca_file, token_file=str(tmp_path / "token")))
    assert "certificate" in caught.value.problem
    assert "set ipfs.ca_file" in caught.value.remedy
    assert server.asked == []


@both
def test_a_certificate_of_another_name_is_refused(ask: Ask, authority: Authority) -> None:
    with hostile_server(says(DATA), authority.server("127.0.0.2")) as server:
        with pytest.raises(TransportError) as caught:
            ask(section_of(server, ca_file=str(authority.ca_file)))
        assert "ipfs.ca_file" in caught.value.remedy
        assert server.asked == []


@both
def test_nobody_falls_back_to_a_server_without_tls(ask: Ask, authority: Authority) -> None:
    with hostile_server(says(DATA)) as server:
        server.has_tls = True  # so it says
        with pytest.raises(TransportError):
            ask(section_of(server, ca_file=str(authority.ca_file)))
        assert server.asked == []


@both
@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_file_without_an_authority_is_refused(
    ask: Ask, server: HostileServer, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "ca.crt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="ca_file"):
        ask(section_of(server, ca_file=str(path)))


def gateway_at(server: HostileServer, ca_file: str) -> tuple[Callable[[], bytes], Callable[[], None]]:
    exchange = GatewayExchange(server.url, 600, ca_file, first_wait=600.0)
    return lambda: exchange.fetch(CID), exchange.close


def daemon_at(server: HostileServer, ca_file: str) -> tuple[Callable[[], bytes], Callable[[], None]]:
    from learnae.adapters.ipfs.rpc import KuboRpc

    rpc = KuboRpc(server.api, ca_file=ca_file)
    return lambda: rpc.call("block/get", str(CID), seconds=600), rpc.close


@pytest.mark.parametrize("link", [gateway_at, pytest.param(daemon_at, marks=pytest.mark.modules("ipfshttpclient"))])
def test_what_hangs_behind_tls_ends_with_its_link(
    link: Callable[..., Any], server: HostileServer, authority: Authority
) -> None:
    server.answer = silence(server.over)
    ask, close = link(server, str(authority.ca_file))
    ended: list[TransportError] = []

    def wait() -> None:
        with pytest.raises(TransportError, match="closed") as caught:
            ask()
        ended.append(caught.value)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    wait_for(lambda: server.asked, "the question")
    close()
    waiting.join(PATIENCE)
    assert ended


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"])
def test_a_broker_is_trusted_by_its_name_only(authority: Authority, address: str) -> None:
    context = RenewedContext(str(authority.ca_file), "", "")
    with (
        hostile_server(says(DATA), authority.server(address)) as server,
        socket.create_connection(("127.0.0.1", server.port), PATIENCE) as made,
        context.wrap_socket(made, server_hostname="127.0.0.1") as wrapped,
    ):
        if address == "127.0.0.1":
            wrapped.do_handshake()
            return
        with pytest.raises(ssl.SSLCertVerificationError, match=r"127\.0\.0\.1"):
            wrapped.do_handshake()
