"""Kubo's RPC: addresses and credentials; servers that are no Kubo, or one that is broken or hostile."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from socketserver import StreamRequestHandler
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest
from daemon import free_port
from hostile_http import HostileServer, endless, hostile_server, says, silence
from hypothesis import example, given
from hypothesis import strategies as st
from programs import wait_for

from learnae.config.sections import IpfsSection
from learnae.errors import BlockMissingError, ConfigurationError, TransportError
from learnae.ipld.cid import MAX_BLOCK_BYTES, RAW, Cid

pytestmark = pytest.mark.modules("ipfshttpclient")
CID = Cid.of(RAW, b"weights")


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with hostile_server(says(b'{"Version": "9"}')) as found:
        yield found


@pytest.fixture
def rpc(server: HostileServer):
    from learnae.adapters.ipfs.rpc import KuboRpc

    made = KuboRpc(server.api)
    yield made
    made.close()


@pytest.fixture
def kubo(rpc):
    from learnae.adapters.ipfs.exchange import Acquaintances, KuboExchange

    return KuboExchange(rpc, "learnae test", 60, Acquaintances(rpc, [], 1))


# -- addresses and credentials


@pytest.mark.parametrize(
    "api", ["/ip4/1.2.3.4/udp/3", "/ip4/300.1.1.1/tcp/1", "/ip4/127.0.0.1", "/unix/", "/unix/x/", "/", "/x"]
)
def test_an_address_that_is_none_is_refused_with_an_example(api: str) -> None:
    from learnae.adapters.ipfs.rpc import KuboRpc

    with pytest.raises(ConfigurationError, match="use a multiaddress such as"):
        KuboRpc(api)


@pytest.mark.parametrize(
    ("secret", "header"), [("bearer:abc", "Bearer abc"), ("basic:me:pass:word", "Basic bWU6cGFzczp3b3Jk")]
)
def test_the_credential_goes_along(server: HostileServer, tmp_path: Path, secret: str, header: str) -> None:
    from learnae.adapters.ipfs.rpc import KuboRpc

    seen = []

    def answer(request) -> None:
        seen.append((request.command, request.headers["Authorization"]))
        says(b"{}")(request)

    server.answer = answer
    (tmp_path / "token").write_text(secret + "\n")
    rpc = KuboRpc.from_section(IpfsSection(api=server.api, token_file=str(tmp_path / "token")))
    rpc.ask("version", seconds=60)
    rpc.close()
    assert seen == [("POST", header)]


@pytest.mark.parametrize("secret", ["abc", "", "token:abc"])
def test_a_file_that_holds_no_credential_is_refused_without_showing_it(tmp_path: Path, secret: str) -> None:
    from learnae.adapters.ipfs.rpc import KuboRpc

    (tmp_path / "token").write_text(secret)
    with pytest.raises(ConfigurationError, match="token") as caught:
        KuboRpc.from_section(IpfsSection(api="/ip4/127.0.0.1/tcp/5001", token_file=str(tmp_path / "token")))
    assert "abc" not in str(caught.value)


@pytest.mark.parametrize(
    ("api", "is_sent"),
    [
        ("/ip4/192.0.2.7/tcp/5001", False),
        ("/dns/kubo.example/tcp/5001", False),
        ("/ip4/127.0.0.1/tcp/5001", True),
        ("/unix/run/ipfs/api.sock", True),
        ("/dns/kubo.example/tcp/443/https", True),
    ],
)
def test_a_credential_is_never_sent_in_the_clear(tmp_path: Path, api: str, is_sent: bool) -> None:
    from learnae.adapters.ipfs.rpc import KuboRpc

    (tmp_path / "token").write_text("bearer:abc")
    section = IpfsSection(api=api, token_file=str(tmp_path / "token"))
    if is_sent:
        KuboRpc.from_section(section).close()
    else:
        with pytest.raises(ConfigurationError, match="unencrypted"):
            KuboRpc.from_section(section)


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=20)


@given(NAMES.filter(lambda name: name not in (".", "..")))
@example("Run")
@example("my run+%41%2Fñ\n")
def test_a_socket_is_opened_by_its_path_as_it_is_written(name: str) -> None:
    from learnae.adapters.ipfs.rpc import KuboRpc

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"Version":"9"}')

    with TemporaryDirectory(dir="/tmp") as directory:
        path = f"{directory}/{name}"
        with UnixServer(path, Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            rpc = KuboRpc(f"/unix{path}")
            assert rpc.ask("version", seconds=60) == {"Version": "9"}
            rpc.close()
            server.shutdown()
            thread.join()


def test_why_a_socket_cannot_be_opened_is_said_with_what_helps(tmp_path: Path) -> None:
    from learnae.adapters.ipfs.rpc import KuboRpc

    with pytest.raises(ConfigurationError, match=r"108 bytes.*107"):
        KuboRpc("/unix/" + "x" * 107)
    for path, words in [(tmp_path / "Gone.sock", "No such file.*start it"), (tmp_path / "a" / "b", "No such file")]:
        with pytest.raises(TransportError, match=words):
            KuboRpc(f"/unix{path}").ask("version", seconds=60)
    with pytest.raises(TransportError, match=r"cannot be reached: .*; check the host's name in ipfs\.api"):
        KuboRpc("/dns/nobody.invalid/tcp/5001").ask("version", seconds=60)


def test_a_credential_that_does_not_do_is_not_asked_for_again(server: HostileServer) -> None:
    from learnae.adapters.ipfs.rpc import KuboRpc

    server.answer = says(b"403 - Forbidden", 403)
    with pytest.raises(TransportError, match=r"does not let us in; set ipfs\.token_file"):
        KuboRpc(server.api).ask("pubsub/ls", seconds=60)
    with pytest.raises(TransportError, match=r"does not let us in; .*API\.Authorizations.*/api/v0/pubsub/ls"):
        KuboRpc(server.api, {"Authorization": "Bearer x"}).ask("pubsub/ls", seconds=60)


@pytest.mark.parametrize(
    ("version", "is_enough"),
    [
        ("0.29.0", True),
        ("0.29.0-rc2", True),
        ("0.100.0", True),
        ("1.0", True),
        ("0.4.23", False),
        ("0.7.0", False),
        ("0.28.9-dev/abc", False),
        ("devel", False),
        ("", False),
    ],
)
def test_a_daemon_that_is_too_old_is_not_used(server: HostileServer, kubo, version: str, is_enough: bool) -> None:
    server.answer = lambda request: says(b'{"Version": "%s"}' % version.encode() if "version" in request.path else b"")(
        request
    )
    if is_enough:
        assert kubo.rpc.version(60) == version
        assert kubo.lacking(list) == []
    else:
        for call in (lambda: kubo.rpc.version(60), lambda: kubo.lacking(list)):
            with pytest.raises(TransportError, match=r"too old; install 0\.29 or newer"):
                call()


# -- servers that are not what they should be


def test_nobody_there(kubo) -> None:
    from learnae.adapters.ipfs.rpc import KuboRpc

    with pytest.raises(TransportError, match="cannot be reached; start it: ipfs daemon"):
        KuboRpc(f"/ip4/127.0.0.1/tcp/{free_port()}").ask("version", seconds=60)


@pytest.mark.parametrize(
    ("said", "suffix", "words"),
    [
        (b"", "", "hangs up; .*Addresses.API"),
        (b"SSH-2.0-OpenSSH\r\n", "", "is no Kubo; check ipfs.api"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "/https", "no TLS is spoken there; leave out /https"),
    ],
)
def test_what_does_not_speak_its_language_is_named_with_the_remedy(said: bytes, suffix: str, words: str) -> None:
    from learnae.adapters.ipfs.rpc import KuboRpc

    def answer(link: socket.socket) -> None:
        with link:
            link.recv(1 << 16)
            link.sendall(said)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: answer(server.accept()[0]), daemon=True).start()
        rpc = KuboRpc(f"/ip4/127.0.0.1/tcp/{server.getsockname()[1]}{suffix}")
        with pytest.raises(TransportError, match=words):
            rpc.ask("version", seconds=60)
        rpc.close()


@pytest.mark.parametrize(
    ("status", "words"), [(403, "does not let us in"), (401, "token_file"), (404, "no Kubo"), (302, "no Kubo")]
)
def test_what_is_no_kubo_is_named(server: HostileServer, kubo, status: int, words: str) -> None:
    server.answer = says(b"<html>", status, Location="http://elsewhere.invalid/")
    for call in (lambda: kubo.fetch(CID), lambda: kubo.offer(CID, b"weights"), lambda: kubo.lacking(list)):
        with pytest.raises(TransportError, match=words) as caught:
            call()
        assert not isinstance(caught.value, BlockMissingError)


def test_an_error_of_kubo_is_a_missing_block(server: HostileServer, kubo) -> None:
    server.answer = says(b'{"Message": "context deadline exceeded", "Code": 0, "Type": "error"}', 500)
    with pytest.raises(BlockMissingError, match="deadline exceeded"):
        kubo.fetch(CID)


def test_noise_instead_of_json(server: HostileServer, kubo) -> None:
    server.answer = says(b"\xff\x00 not json")
    with pytest.raises(TransportError, match="no Kubo"):
        kubo.offer(CID, b"weights")
    assert kubo.pins() == {}  # lines that mean nothing are passed over


@pytest.mark.parametrize("line", [b"null", b"7", b"[]", b'{"Cid": 3}', b'{"Cid": "Qm"}', b"{" * 5000, b'"\\ud800"'])
def test_pins_that_are_none_are_passed_over(server: HostileServer, kubo, line: bytes) -> None:
    good = b'{"Cid": "%s", "Name": "learnae test"}' % str(CID).encode()
    server.answer = says(line + b"\n" + good + b"\n")
    assert kubo.pins() == {CID: "learnae test"}


def test_an_endless_block_is_cut(server: HostileServer, kubo) -> None:
    server.answer = endless(b"x" * 65536, server.over)
    assert len(kubo.fetch(CID)) == MAX_BLOCK_BYTES + 1


def test_an_endless_line_is_passed_over(server: HostileServer, rpc) -> None:
    chunks = iter([b"one\n", *[b"x" * 65536] * 20, b"\ntwo\nthr", b"ee\n"])

    def answer(request) -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for chunk in chunks:
            request.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        server.over.wait()

    server.answer = answer
    assert list(islice(rpc.lines("pubsub/sub", silence=20), 3)) == [b"one", b"two", b"three"]


def test_one_that_hangs_costs_its_timeout(server: HostileServer, rpc) -> None:
    from learnae.adapters.ipfs.exchange import Acquaintances, KuboExchange, KuboWaits

    kubo = KuboExchange(rpc, "learnae test", 60, Acquaintances(rpc, [], 1), KuboWaits(first=0.1, grace=0.1))
    server.answer = silence(server.over)
    with pytest.raises(TransportError, match="does not answer") as caught:
        kubo.fetch(CID)
    assert caught.type is TransportError


def test_one_that_drips_costs_its_timeout(server: HostileServer, rpc, monkeypatch: pytest.MonkeyPatch) -> None:
    from learnae.adapters.ipfs import rpc as kubo_rpc

    monkeypatch.setattr(kubo_rpc, "time", SimpleNamespace(monotonic=count(0, 25).__next__))  # each byte takes as long
    server.answer = endless(b"x", server.over, pause=0.01)
    with pytest.raises(TransportError, match="takes more than 60 s"):
        rpc.call("block/get", seconds=60)


def test_closing_ends_calls_under_way(server: HostileServer) -> None:
    from learnae.adapters.ipfs.rpc import KuboRpc

    rpc = KuboRpc(server.api)
    server.answer = lambda request: (silence if "one" in request.path else _started)(server.over)(request)
    ended = []

    def call(name: str) -> None:
        try:
            rpc.call(name, seconds=600)
        except TransportError as error:
            ended.append(str(error))

    threads = [threading.Thread(target=call, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(server.asked) == 2, "both requests")
    rpc.close()
    for thread in threads:
        thread.join(60)
    assert ended == [f"the link to Kubo at {server.api} is closed"] * 2
    with pytest.raises(TransportError, match="closed"):
        rpc.ask("version", seconds=60)


def test_closing_ends_a_call_that_is_only_beginning(server: HostileServer) -> None:
    from learnae.adapters.ipfs.rpc import KuboRpc

    rpc = KuboRpc(server.api)
    server.answer = silence(server.over)
    ended, http = [], rpc._http

    def held_up(*arguments, **options):
        rpc.close()  # by another thread
        return http._request(*arguments, **options)

    def call() -> None:
        try:
            rpc.call("one", seconds=600)
        except TransportError as error:
            ended.append(str(error))

    rpc._http = SimpleNamespace(_request=held_up)
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(60)
    assert ended == [f"the link to Kubo at {server.api} is closed"]


def test_a_socket_that_is_opened_while_others_are_cut_is_cut_too(rpc, monkeypatch: pytest.MonkeyPatch) -> None:
    from learnae.adapters.ipfs import rpc as kubo_rpc

    cut, late = [], socket.socket()
    opening = threading.Thread(target=lambda: rpc._note(late))

    def slowly(each: socket.socket) -> None:
        cut.append(each)
        if len(cut) == 1:
            opening.start()
            opening.join(0.2)

    monkeypatch.setattr(kubo_rpc, "_cut", slowly)
    first = [socket.socket() for _ in range(3)]
    for each in first:
        rpc._note(each)
    rpc.close()
    opening.join()
    assert set(cut) == {*first, late}
    for each in cut:
        each.close()


def _started(over: threading.Event):
    return endless(b"x", over, pause=0.01)
