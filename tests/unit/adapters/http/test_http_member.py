"""A member's link to one that serves: it is pinned to a key, bounded, and comes back; the other end may lie."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from daemon import HOST, free_port
from hostile_http import HostileServer, endless, hostile_server, says
from lan_rig import LanMember, new_swarm, told
from programs import wait_for

from learnae.adapters.http.certificate import certificate_of, key_of, server_context
from learnae.adapters.http.member import MemberExchange, MemberLink, make_client
from learnae.adapters.http.vector import Vector, tag_of
from learnae.basics.error_log import ErrorLog
from learnae.errors import BlockMissingError, ConfigurationError, TransportError
from learnae.ipld.cid import DAG_CBOR, MAX_BLOCK_BYTES, RAW, Cid
from learnae.protocol.announcements import Announcement, Entry
from learnae.protocol.identity import Identity, peer_name

SWARM = new_swarm()
HEAD = Cid.of(DAG_CBOR, b"head")
NEWS = Announcement((Entry(b"8 bytes!", 7, HEAD, HEAD),))
DATA = b"weights"
CID = Cid.of(RAW, DATA)


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[LanMember]:
    """One that serves nothing."""
    with closing(LanMember(tmp_path / "caller", SWARM, serves=False)) as member:
        yield member


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with hostile_server(says(b"", 304)) as found:
        yield found


def link(caller: LanMember, port: int, key: bytes | None = None, timeout: float = 60.0) -> MemberLink:
    client = make_client(HOST, port, key, is_encrypted=False)
    made = MemberLink(
        client, key, SWARM, str(SWARM), caller.own, caller.gossip, caller.store, caller.errors, caller.spend, timeout
    )
    caller.links.append(made)
    made.start()
    return made


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
def test_blocks_and_announcements_pass_between_members(tmp_path: Path, encrypted: bool) -> None:
    with ExitStack() as stack:
        serving = LanMember(tmp_path / "serving", SWARM, encrypted=encrypted)
        calling = LanMember(tmp_path / "calling", SWARM, serves=False)
        for member in (serving, calling):
            stack.enter_context(closing(member))
        serving.store.put(RAW, DATA)
        reader = stack.enter_context(closing(calling.reader_of(serving)))
        assert reader.fetch(CID) == DATA
        reached = calling.link_to(serving)
        serving.own.say(NEWS)
        wait_for(lambda: told([serving, calling]), "both to hear each other")
        wait_for(lambda: reached.state() == "connected", "its own call, too")
        assert serving.errors.counts == calling.errors.counts == {}


def test_nothing_is_sent_to_another_key_than_the_expected(tmp_path: Path, caller: LanMember) -> None:
    with closing(LanMember(tmp_path / "serving", SWARM, encrypted=True)) as serving:
        serving.store.put(RAW, DATA)
        client = make_client(HOST, serving.port, Identity.generate().author, is_encrypted=True)
        with (
            closing(MemberExchange(client, 60)) as reader,
            pytest.raises(TransportError, match="another key") as caught,
        ):
            reader.fetch(CID)
        assert "lan.peers" in caught.value.remedy
        assert not serving.server._sent


def test_a_certificate_that_holds_the_expected_key_elsewhere_is_not_taken(tmp_path: Path) -> None:
    """The holder of one key shows another's, as a part of a certificate of its own."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    victim, liar = Identity.generate(), Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "learnae")])
    hidden = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), certificate_of(victim))
    when = x509.load_der_x509_certificate(certificate_of(victim))
    forged = (
        x509.CertificateBuilder(name, name, liar.public_key(), 1)
        .not_valid_before(when.not_valid_before_utc)
        .not_valid_after(when.not_valid_after_utc)
        .add_extension(hidden, critical=False)
        .sign(liar, None)
    )
    both = tmp_path / "both.pem"
    key = liar.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    both.write_bytes(forged.public_bytes(Encoding.PEM) + key)
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    with hostile_server(says(DATA), context) as server:
        client = make_client(HOST, server.port, victim.author, is_encrypted=True)
        with closing(MemberExchange(client, 60)) as reader, pytest.raises(TransportError, match="another key"):
            reader.fetch(CID)
        assert server.asked == []


def test_a_certificate_is_as_openssl_reads_it_and_leaves_no_file(tmp_path: Path) -> None:
    from cryptography import x509

    identity = Identity.load_or_create(tmp_path / "key.pem")
    certificate = x509.load_der_x509_certificate(certificate_of(identity))
    certificate.verify_directly_issued_by(certificate)
    assert certificate.public_key().public_bytes_raw() == identity.author  # type: ignore[union-attr]
    server_context(identity, tmp_path / "key.pem")
    assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]


@pytest.mark.parametrize("name", ["", "a", "a" * 51, "a" * 51 + "b", "A" * 52, "1" * 52, peer_name(bytes(32)) + "a"])
def test_what_is_no_peers_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="is no peer's name"):
        key_of(name)


def signed(wants: tuple[Cid, ...] = (), identity: Identity | None = None, swarm: Cid = SWARM) -> bytes:
    identity = identity or Identity.generate()
    return Vector(identity.author, 7, NEWS, wants).to_bytes(swarm, identity)


@pytest.mark.parametrize(
    ("body", "status", "name"),
    [
        (b"\x00" * 100, 200, "EncodingError"),
        (signed(swarm=Cid.of(DAG_CBOR, b"another")), 200, "SignatureError"),
        (signed(), 200, "EncodingError"),  # of another than the address says
        (signed(), 404, "TransportError"),
        (signed(), 302, "TransportError"),
        (signed(), 500, "TransportError"),
    ],
)
def test_what_a_liar_announces_is_counted_and_not_heard(
    caller: LanMember, server: HostileServer, body: bytes, status: int, name: str
) -> None:
    server.answer = says(body, status, Location="http://elsewhere.invalid/")
    made = link(caller, server.port, Identity.generate().author)
    wait_for(lambda: caller.errors.counts.get(name), "the count")
    assert made.state().startswith("away: ")
    assert list(caller.gossip.heard()) == []


def test_no_more_is_read_than_an_announcement_may_have(caller: LanMember, server: HostileServer) -> None:
    for answer, error in (
        (says(bytes(3 << 20)), "EncodingError"),
        (endless(b"x" * 65536, server.over), "TransportError"),
        (says(b"", 200, X="y" * 20_000), "TransportError"),
    ):
        server.answer = answer
        link(caller, server.port)
        wait_for(lambda error=error: caller.errors.counts.get(error), "the count")
        caller.errors = ErrorLog()


def test_a_member_is_given_only_blocks_of_the_swarm_and_none_over_and_over(
    caller: LanMember, server: HostileServer
) -> None:
    """It wants everything, all the time."""
    caller.store.put(RAW, DATA)
    caller.store.put(RAW, bytes(MAX_BLOCK_BYTES))
    wants = (CID, Cid.of(RAW, b"of another swarm"), Cid.of(RAW, bytes(MAX_BLOCK_BYTES)))
    identity, brought, heard = Identity.generate(), [], []

    def answer(request) -> None:
        if request.command == "PUT":
            brought.append((request.path, len(request.rfile.read(int(request.headers["Content-Length"])))))
            says(b"", 204)(request)
            return
        heard.append(request.command)
        data = Vector(identity.author, len(heard), NEWS, wants).to_bytes(SWARM, identity)
        if request.command == "POST":
            request.rfile.read(int(request.headers["Content-Length"]))
        says(data, ETag=tag_of(data))(request)

    server.answer = answer
    began = time.monotonic()
    link(caller, server.port, identity.author)
    wait_for(lambda: len(heard) > 12, "some rounds")
    assert {path for path, _ in brought} == {f"/ipfs/{wants[0]}", f"/ipfs/{wants[2]}"}
    seconds = time.monotonic() - began
    assert len(brought) <= 2 * (1 + seconds), "each once a second at most, however long this took"


def test_a_member_that_never_waits_is_not_asked_all_the_time(caller: LanMember, server: HostileServer) -> None:
    asked = lambda: sum("wait=" in path for path in server.asked)  # noqa: E731
    began = time.monotonic()
    link(caller, server.port)
    wait_for(lambda: asked() > 2, "some rounds")
    assert asked() <= 2 + (time.monotonic() - began) / 1.0


def test_a_link_comes_back_and_tells_again(tmp_path: Path, caller: LanMember) -> None:
    port = free_port()
    made = link(caller, port)
    wait_for(lambda: made.state().startswith("away: "), "the absence")
    assert caller.errors.counts == {"TransportError": 1}
    caller.own.say(NEWS)
    serving = LanMember(tmp_path / "serving", SWARM, serves=False)
    serving.server._place = (HOST, port)
    with closing(serving):
        serving.server.start()
        wait_for(lambda: told([serving, caller]), "both to hear each other")
        wait_for(lambda: made.state() == "connected", "the state")


def test_a_member_that_has_not_got_a_block_is_still_there(tmp_path: Path, caller: LanMember) -> None:
    with closing(LanMember(tmp_path / "serving", SWARM)) as serving, closing(caller.reader_of(serving)) as reader:
        with pytest.raises(BlockMissingError):
            reader.fetch(CID)
        assert list(reader.lacking(list)) == []


def test_no_proxy_and_no_password_of_the_environment_is_used(
    tmp_path: Path, caller: LanMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text(f"machine {HOST} login me password sesame\n")
    netrc.chmod(0o600)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://{HOST}:{free_port()}")
    monkeypatch.setenv("HOME", str(tmp_path))
    headers: list[dict[str, str]] = []

    def answer(request) -> None:
        headers.append(dict(request.headers))
        says(DATA)(request)

    with (
        hostile_server(answer) as server,
        closing(MemberExchange(make_client(HOST, server.port, None, is_encrypted=False), 60)) as reader,
    ):
        assert reader.fetch(CID) == DATA
    assert not {"Authorization", "Proxy-Authorization", "Cookie"} & set(headers[0])
