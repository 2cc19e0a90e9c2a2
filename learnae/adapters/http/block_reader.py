"""Reads blocks from whatever speaks the trustless gateway's form of HTTP: gateways, and members of the swarm.

https://specs.ipfs.tech/http-gateways/trustless-gateway/
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from learnae.adapters.block_backoffs import BlockBackoffs
from learnae.adapters.http.client import USER_AGENT, HttpClient, SilenceError
from learnae.adapters.http.connection import Answer
from learnae.basics.overriding import override
from learnae.errors import BlockMissingError, TransportError
from learnae.ipld.cid import MAX_BLOCK_BYTES, Cid
from learnae.ports import Exchange
from learnae.text import host_of

_log = logging.getLogger(__name__)

PROBE = "bafkqaaa"  # the empty block, which is in its own name: every gateway has it
RAW_TYPE = "application/vnd.ipld.raw"
HEADERS = {"Accept": RAW_TYPE, **USER_AGENT}
_NOT_THERE = (404, 410, 412, 429, 500, 502, 504)  # not found, gone, not cached, too many, or its own search ended


@dataclass(frozen=True, slots=True)
class ReaderWaits:
    """Bounds, in seconds, how long a block is waited for, longer each time that it did not come, and the probe."""

    first: float
    most: float
    probe: float


class BlockReader(Exchange):
    """Only fetches blocks, below ``path`` at what ``client`` asks; nothing can be offered to it.

    It is not trusted: no redirect is followed, the body is capped, and no answer takes longer than allowed.
    """

    def __init__(self, client: HttpClient, path: str, headers: dict[str, str], waits: ReaderWaits) -> None:
        self.client = client
        self._path = path
        self._headers = headers
        self.probe_seconds = waits.probe
        self._backoffs = BlockBackoffs(waits.first, waits.most)

    @override
    def offer(self, cid: Cid, data: bytes) -> None:
        """Do nothing: it is read only."""

    @override
    def fetch(self, cid: Cid, most: int = MAX_BLOCK_BYTES) -> bytes:
        try:
            answer = self._get(str(cid), self._backoffs.seconds(cid), most)
        except SilenceError as error:
            self._backoffs.failed(cid)
            self._probe()  # is it still looking for the block, or is it hanging?
            raise BlockMissingError(f"{self.client.name} has not found block {cid} yet") from error
        if answer.status in _NOT_THERE:
            self._backoffs.failed(cid)
            raise BlockMissingError(f"{self.client.name} has not got block {cid}")
        self._check(answer, str(cid))
        self._backoffs.succeeded(cid)
        _log.debug("%s: got block %s, %d bytes", self.client.name, cid, len(answer.body))
        return answer.body

    @override
    def keep(self, cid: Cid) -> None:
        """Do nothing: it is read only."""

    @override
    def lacking(self, held: Callable[[], Iterable[Cid]]) -> Iterable[Cid]:
        """Return nothing, if it answers."""
        self._probe()
        return ()

    @override
    def retract(self, cids: Iterable[Cid]) -> None:
        """Do nothing: it is read only."""

    @override
    def close(self) -> None:
        self.client.close()

    def redirected(self, location: str, name: str) -> TransportError:
        """Return the error for being sent to ``location`` for the block ``name``."""
        return TransportError(
            f"{self.client.name} sends us to {host_of(location)[:100]!r} for {name}", "is it a member?"
        )

    def _get(self, name: str, seconds: float, most: int = MAX_BLOCK_BYTES) -> Answer:
        return self.client.ask("GET", f"{self._path}/ipfs/{name}?format=raw", seconds, self._headers, most=most)

    def _probe(self) -> None:
        try:
            self._check(self._get(PROBE, self.probe_seconds), PROBE)
        except SilenceError as error:
            raise TransportError(f"{self.client.name} does not answer", "see whether its daemon hangs") from error

    def _check(self, answer: Answer, name: str) -> None:
        if 300 <= answer.status < 400:
            raise self.redirected(answer.location, name)
        if answer.status != 200:
            raise TransportError(f"{self.client.name} answers with HTTP {answer.status}", "is it a trustless gateway?")
