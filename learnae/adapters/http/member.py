"""One member that serves, as this peer sees it: it reads its blocks, hears its announcements, and brings it its own."""

import logging
import threading
import time
from collections.abc import Callable

from learnae.adapters.http.block_reader import HEADERS, BlockReader, ReaderWaits
from learnae.adapters.http.certificate import PinnedConnection
from learnae.adapters.http.client import USER_AGENT, HttpClient, SilenceError
from learnae.adapters.http.connection import Answer, Connection
from learnae.adapters.http.gossip import HttpGossip
from learnae.adapters.http.own_vector import OwnVector
from learnae.adapters.http.serving.service import MAX_WAIT, vector_path
from learnae.adapters.http.vector import MAX_BYTES, Vector
from learnae.adapters.lan.whereabouts import Whereabouts
from learnae.basics.bounded_dict import BoundedDict
from learnae.basics.error_log import ErrorLog
from learnae.basics.overriding import override
from learnae.errors import BlockMissingError, EncodingError, LearnaeError, PeerError, TransportError
from learnae.ipld.cid import MAX_BLOCK_BYTES, Cid
from learnae.ports import BlockStore
from learnae.protocol.identity import peer_name
from learnae.system.backoff import Backoff

_log = logging.getLogger(__name__)

_FIRST_WAIT = 5.0  # seconds for a block at first: a mebibyte on a slow line
_READERS = 3  # connections at once: a member gives an address eight, and several peers may share one
_CALL_SECONDS = 60.0  # a member is told again after so long, so that it knows that this peer still calls
_LOOK_SECONDS = 2.0  # between two looks at whether it is time to
_PAUSE_SECONDS = 0.05  # between two answers that bring news: a member that always has some is no flood
_NO_NEWS_SECONDS = 1.0  # a member waits for news longer than that, or it is asked more seldom
_RETRY = (1.0, 60.0)
_AGAIN_SECONDS = 1.0  # until a block is brought a second time: both threads hear that it is lacked
_BROUGHT = 1024  # blocks of which that is remembered


def make_client(
    host: str, port: int, key: bytes | None, is_encrypted: bool, whereabouts: Whereabouts | None = None
) -> HttpClient:
    """Return what asks the member at this address: the holder of ``key`` alone, if it is encrypted.

    ``whereabouts`` says where it is by now.
    """
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def connect() -> Connection:
        now = whereabouts.place if whereabouts else (host, port)
        return Connection(*now) if not is_encrypted or key is None else PinnedConnection(*now, key)

    def remedy(error: Exception) -> str:
        if type(error).__name__ == "WrongKeyError":
            return "put the name of the peer that serves there into lan.peers"
        if "WRONG_VERSION_NUMBER" in str(error):
            return "it does not speak TLS: write http:// into lan.peers"
        return "see whether it runs and serves: lan.serve"

    return HttpClient(f"member {place}", connect, remedy)


class MemberExchange(BlockReader):
    """Reads blocks of one member, on a few connections."""

    def __init__(self, client: HttpClient, timeout: float) -> None:
        super().__init__(client, "", HEADERS, ReaderWaits(min(_FIRST_WAIT, timeout), timeout, timeout))
        self._slots = threading.BoundedSemaphore(_READERS)
        self._timeout = timeout

    @override
    def fetch(self, cid: Cid, most: int = MAX_BLOCK_BYTES) -> bytes:
        if not self._slots.acquire(timeout=self._timeout):
            raise BlockMissingError(f"{self.client.name} is busy with other blocks")
        try:
            return super().fetch(cid, most)
        finally:
            self._slots.release()


class MemberLink:
    """Exchanges announcements with one member in two threads: one listens, one tells.

    ``key`` is whose announcements count, None for those of any member. ``meeting`` is the swarm's name there.
    ``spend`` says whether so many bytes may go out now, ``whereabouts`` where the member may be besides.
    """

    def __init__(
        self,
        client: HttpClient,
        key: bytes | None,
        swarm: Cid,
        meeting: str,
        own: OwnVector,
        gossip: HttpGossip,
        store: BlockStore,
        errors: ErrorLog,
        spend: Callable[[int], bool],
        timeout: float,
        whereabouts: Whereabouts | None = None,
    ) -> None:
        self._whereabouts = whereabouts
        self._client, self._key, self._swarm, self._path = client, key, swarm, vector_path(meeting)
        self._own, self._gossip, self._store, self._errors = own, gossip, store, errors
        self._spend, self._timeout = spend, timeout
        self._reason = "connecting"
        self._missed = threading.Event()  # the member may have forgotten what it was told
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._brought = BoundedDict[Cid, float](_BROUGHT)  # time.monotonic
        self._threads = [
            threading.Thread(target=self._keep_on, args=(work,), name=f"{client.name} {number}", daemon=True)
            for number, work in enumerate((self._listen, self._tell))
        ]
        self._tag = self._told = ""
        self._told_at = float("-inf")

    def start(self) -> None:
        """Go on from now; does not wait."""
        for thread in self._threads:
            thread.start()

    def state(self) -> str:
        """Return what the status says of the link."""
        if self._reason or self._whereabouts is None or self._whereabouts.is_home:
            return self._reason or "connected"
        host, port = self._whereabouts.place
        return f"connected at [{host}]:{port}" if ":" in host else f"connected at {host}:{port}"

    def close(self) -> None:
        """End both threads. Idempotent."""
        self._closing.set()
        self._client.close()

    # -- the threads

    def _keep_on(self, work: Callable[[], None]) -> None:
        backoff = Backoff(*_RETRY)
        while not self._closing.is_set():
            place = self._whereabouts.place if self._whereabouts else None
            try:
                work()
                backoff.succeeded()
                self._reason = ""
            except (LearnaeError, SilenceError) as error:
                if self._closing.is_set():
                    return
                self._fail(error)
                if self._whereabouts and place:
                    self._whereabouts.leave(place)
                self._closing.wait(backoff.failed())

    def _fail(self, error: LearnaeError | SilenceError) -> None:
        if isinstance(error, SilenceError):
            error = TransportError(f"{self._client.name} does not answer", "see whether it hangs")
        was_well, self._reason = not self._reason.startswith("away"), f"away: {error.problem}"
        self._tag = ""
        self._missed.set()
        if was_well or isinstance(error, PeerError):
            self._errors.count(error)
            _log.warning("%s; it is tried again", error)

    def _listen(self) -> None:
        """Wait for news of the member, and bring it what it lacks."""
        path, headers = f"{self._path}?wait={MAX_WAIT}", {**USER_AGENT, "If-None-Match": self._tag}
        asked = time.monotonic()
        answer = self._client.ask("GET", path, MAX_WAIT + self._timeout, headers, most=MAX_BYTES)
        if answer.status != 304:
            self._take(answer)
            self._closing.wait(_PAUSE_SECONDS)
        elif time.monotonic() - asked < _NO_NEWS_SECONDS:
            self._closing.wait(_NO_NEWS_SECONDS)

    def _tell(self) -> None:
        """Tell the member what is new here, or that this peer is still here."""
        found = self._own.changed_from(self._told, _LOOK_SECONDS)
        is_due = self._missed.is_set() or time.monotonic() - self._told_at > _CALL_SECONDS
        if self._closing.is_set() or (found is None and not is_due):
            return
        self._missed.clear()
        data, tag = found or self._own.current()
        answer = self._client.ask("POST", self._path, self._timeout, USER_AGENT, data, MAX_BYTES)
        self._take(answer)
        self._told, self._told_at = tag, time.monotonic()

    def _take(self, answer: Answer) -> None:
        """Hear what the member says of itself; raises PeerError or TransportError."""
        if answer.status == 404:
            raise TransportError(f"{self._client.name} does not serve this swarm", "see its lan.serve and its swarm")
        if answer.status != 200:
            raise TransportError(f"{self._client.name} answers with HTTP {answer.status}", "see its log")
        vector = Vector.from_bytes(answer.body, self._swarm)
        if self._key is not None and vector.by != self._key:
            found = peer_name(vector.by)
            raise EncodingError(f"{self._client.name} is peer {found}", "put this name into lan.peers if it is right")
        self._tag = answer.etag
        self._gossip.note(vector)
        for cid in vector.wants:
            self._bring(cid)

    def _bring(self, cid: Cid) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._brought.get(cid, float("-inf")) < _AGAIN_SECONDS:
                return
            self._brought.renew(cid, now)
        try:
            data = self._store.get(cid)
        except (BlockMissingError, PeerError):
            return
        if not self._spend(len(data)):
            return
        answer = self._client.ask("PUT", f"/ipfs/{cid}", self._timeout, USER_AGENT, data, MAX_BYTES)
        _log.debug("%s: brought block %s, HTTP %d", self._client.name, cid, answer.status)
