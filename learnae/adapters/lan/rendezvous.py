"""The two sides of a code that is read aloud, over TCP on one network: before each message its length (2 bytes)."""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from learnae.adapters.lan.beacons import SWARM_BYTES, Beacon
from learnae.adapters.lan.discovery import BROWSE_SECONDS, BeaconService, browse
from learnae.adapters.lan.mdns import MdnsOffer
from learnae.adapters.lan.neighbours import Neighbour, Neighbours
from learnae.adapters.token_bucket import TokenBucket
from learnae.errors import ConfigurationError, LearnaeError, PeerError, TransportError
from learnae.membership.codes.invite_code import InviteCode
from learnae.membership.codes.spoken_code import MAX_MESSAGE_BYTES, TRIES, Acceptance, Offer, OfferSession, SpokenCode
from learnae.protocol.identity import Identity

_log = logging.getLogger(__name__)

OFFER_SECONDS = 600.0
_CONNECTION_SECONDS = 10.0  # from the first byte to the last
_CONNECT_SECONDS = 3.0
_MAX_CONNECTIONS, _MAX_OF_ADDRESS = 8, 2  # at once
_SESSIONS_A_SECOND, _SESSIONS_AT_ONCE = 2.0, 16  # each costs some 15 ms
_LENGTH_BYTES = 2
_MAX_TRIED = 8  # connections of one search
_LOOK_SECONDS = 1.0  # for numbers that are taken
_TICK_SECONDS = 0.5


def offer_code(
    code: InviteCode,
    identity: Identity,
    on_offer: Callable[[SpokenCode, int], None],
    spoken: SpokenCode | None = None,
    seconds: float = OFFER_SECONDS,
    is_stopped: Callable[[], bool] = lambda: False,
) -> bool:
    """Offer ``code`` on this network until a joiner has it: True; after ``seconds``, or when stopped: False.

    ``on_offer`` is called once with what to read aloud and the TCP port. Raises ConfigurationError after three wrong
    tries, TransportError if no port can be opened.
    """
    spoken = spoken or SpokenCode.random(browse(_LOOK_SECONDS, mdns=False).numbers())
    offer = Offer(spoken, code, identity.author)
    with OfferServer(offer) as server:
        # the swarm's name stays out of it: it is inside the code
        beacon = Beacon(bytes(SWARM_BYTES), identity.author, server.port, spoken.number)
        datagram = beacon.to_bytes(identity)
        with BeaconService(lambda: [datagram]), MdnsOffer(beacon):
            on_offer(spoken, server.port)
            end = time.monotonic() + seconds
            while not offer.is_over and time.monotonic() < end and not is_stopped():
                server.serve(min(_TICK_SECONDS, end - time.monotonic()))
    if offer.tries_left == 0 and not offer.is_given:
        raise ConfigurationError(f"{TRIES} wrong tries at the offer {spoken.number}: it is over", "make another one")
    return offer.is_given


def accept_code(
    spoken: SpokenCode,
    address: tuple[str, int] | None = None,
    seconds: float = BROWSE_SECONDS,
    name: bytes = b"",
) -> InviteCode:
    """Find the offer on this network within ``seconds``, or at ``address`` (host, port), and return its code.

    ``name`` is the joiner's own key, if it has one. Raises ConfigurationError if the words are wrong or the offer is
    over, TransportError if there is no such offer here, or none that answers as it should.
    """
    if address:
        return _accept_from(*address, Acceptance(spoken, name))
    search = _Search(spoken.number, time.monotonic() + seconds)
    while candidate := search.next():
        try:
            return _accept_from(candidate.address, candidate.port, Acceptance(spoken, name))
        except (PeerError, TransportError, ConfigurationError) as error:
            _log.info("%s port %d: %s", candidate.address, candidate.port, error)
            search.failed(candidate, error)
    raise search.error()


class _Search:
    """Candidates for one offer, an address at a time, so that one that lies about many does not hide another.

    Each that answers gets one guess at the words, and costs the true offer one try if they are wrong: no peer is asked
    twice, not at another of its addresses either. What mDNS says is not signed: it comes last.
    """

    def __init__(self, number: int, end: float) -> None:
        self._number, self._end = number, end
        self._heard = Neighbours()
        self._errors: list[LearnaeError] = []
        self._connections = Counter[str]()
        self._tried = set[Neighbour]()
        self._guessed = set[bytes]()

    def next(self) -> Neighbour | None:
        """Return the next one to try, None for none in time."""
        if sum(self._connections.values()) >= _MAX_TRIED or len(self._guessed) >= TRIES:
            return None
        if not self._new_addresses() and (left := self._end - time.monotonic()) > 0:
            browse(left, self._heard, is_found=lambda _: self._new_addresses())
        found = self._candidates("beacon") or self._candidates("mdns")
        if not found:
            return None
        candidate = min(found, key=lambda each: self._connections[each.address])
        self._connections[candidate.address] += 1
        self._tried.add(candidate)
        return candidate

    def failed(self, candidate: Neighbour, error: LearnaeError) -> None:
        """Note why; a connection that failed has learned nothing of the words."""
        self._errors.append(error)
        if not isinstance(error, TransportError):
            self._guessed.add(candidate.peer)

    def error(self) -> LearnaeError:
        """Return what to say: first what the reader can mend."""
        for error in self._errors:
            if isinstance(error, ConfigurationError):
                return error
        if self._errors:
            return TransportError(f"the offer {self._number} does not answer: {self._errors[0]}", "try again")
        remedy = "are both machines in one network, without client isolation? Else use the long code, LRN1…"
        return TransportError(f"no offer {self._number} on this network", remedy)

    def _new_addresses(self) -> bool:
        """Return True if there is a candidate at an address that has not been tried: others can wait."""
        return not {each.address for each in self._candidates("beacon")} <= self._connections.keys()

    def _candidates(self, way: str) -> list[Neighbour]:
        known = self._heard.known(number=self._number)
        return [
            each for each in known if each.way == way and each not in self._tried and each.peer not in self._guessed
        ]


def _accept_from(host: str, port: int, acceptance: Acceptance) -> InviteCode:
    try:
        with socket.create_connection((host, port), timeout=_CONNECT_SECONDS) as connection:
            end = time.monotonic() + _CONNECTION_SECONDS
            message = acceptance.greeting()
            while True:
                connection.sendall(len(message).to_bytes(_LENGTH_BYTES) + message)
                if acceptance.code is not None:
                    return acceptance.code
                message = acceptance.receive(_read(connection, end))
    except OSError as error:
        raise TransportError(f"{host} port {port} does not answer: {error.strerror or error}") from error


def _read(connection: socket.socket, end: float) -> bytes:
    size = int.from_bytes(_read_exactly(connection, _LENGTH_BYTES, end))
    if not 1 <= size <= MAX_MESSAGE_BYTES:
        raise PeerError(f"a message of {size} bytes where a spoken code's are expected")
    return _read_exactly(connection, size, end)


def _read_exactly(connection: socket.socket, size: int, end: float) -> bytes:
    data = b""
    while len(data) < size:
        left = end - time.monotonic()
        if left <= 0:
            raise TransportError("the other side is too slow", "try again")
        connection.settimeout(left)
        if not (part := connection.recv(size - len(data))):
            raise TransportError("the other side ended the connection", "try again")
        data += part
    return data


def _listen(port: int) -> socket.socket:
    """Listen on all interfaces, to IPv6 and IPv4; to IPv4 alone where the system has no IPv6."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("::", port), family=socket.AF_INET6, backlog=8, dualstack_ipv6=True)
    return socket.create_server(("0.0.0.0", port), backlog=8)  # noqa: S104 - of one network


@dataclass(eq=False)
class _Connection:
    socket: socket.socket
    address: str
    end: float  # on the monotonic clock
    session: OfferSession
    data: bytearray = field(default_factory=bytearray)


class OfferServer:
    """Answers joiners of one offer on a ``port`` of all interfaces, a few at a time, each for a few seconds."""

    def __init__(self, offer: Offer, port: int = 0) -> None:
        self._offer = offer
        self._sessions = TokenBucket(_SESSIONS_AT_ONCE, _SESSIONS_A_SECOND)
        self._selector = selectors.DefaultSelector()
        self._connections: set[_Connection] = set()
        try:
            self._listener = _listen(port)
        except OSError as error:
            self._selector.close()
            raise TransportError(f"no TCP port for an offer: {error.strerror or error}") from error
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> OfferServer:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in list(self._connections):
            self._end(connection)
        self._listener.close()
        self._selector.close()

    def serve(self, timeout: float) -> None:
        """Answer what has come; wait for it at most ``timeout`` seconds."""
        for key, _ in self._selector.select(max(0.0, timeout)):
            if key.data is None:
                self._accept()
            else:
                self._read(key.data)
        for connection in [each for each in self._connections if each.end < time.monotonic()]:
            self._end(connection)

    def _accept(self) -> None:
        try:
            found, sender = self._listener.accept()
        except OSError:  # it has gone meanwhile
            return
        of_address = sum(each.address == sender[0] for each in self._connections)
        is_full = len(self._connections) >= _MAX_CONNECTIONS or of_address >= _MAX_OF_ADDRESS
        if is_full or not self._sessions.take():
            found.close()
            return
        found.setblocking(False)
        end = time.monotonic() + _CONNECTION_SECONDS
        connection = _Connection(found, sender[0], end, OfferSession(self._offer))
        self._connections.add(connection)
        self._selector.register(found, selectors.EVENT_READ, connection)

    def _read(self, connection: _Connection) -> None:
        try:
            part = connection.socket.recv(MAX_MESSAGE_BYTES)
            connection.data += part
            is_over = not part or self._answer(connection)
        except BlockingIOError:
            return
        except (OSError, PeerError) as error:
            _log.info("%s: %s", connection.address, error)
            is_over = True
        if is_over:
            self._end(connection)

    def _answer(self, connection: _Connection) -> bool:
        """Answer what is complete; return True when the session is over."""
        data = connection.data
        while len(data) >= _LENGTH_BYTES and not connection.session.is_over:
            size = int.from_bytes(data[:_LENGTH_BYTES])
            if not 1 <= size <= MAX_MESSAGE_BYTES:
                raise PeerError(f"a message of {size} bytes where a spoken code's are expected")
            if len(data) < _LENGTH_BYTES + size:
                return False
            message = bytes(data[_LENGTH_BYTES : _LENGTH_BYTES + size])
            del data[: _LENGTH_BYTES + size]
            if answer := connection.session.receive(message):
                connection.socket.sendall(len(answer).to_bytes(_LENGTH_BYTES) + answer)  # less than a socket takes
        return connection.session.is_over

    def _end(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection.socket)
        connection.socket.close()
