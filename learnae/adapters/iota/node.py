"""A node of the legacy IOTA protocol, through pyota.

Every call ends within a time and reads a bounded answer; whatever a node does wrong is a TransportError that
names it. Transactions are 2,673 trytes (iota.transaction.base gives the layout).
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from learnae.adapters.iota.proof_of_work import HASH_TRYTES, MAX_MWM, TRANSACTION_TRYTES, hash_of, search
from learnae.adapters.iota.pyota import decode, direct_session, integer, kerl, load
from learnae.adapters.tls import authorities_of, trusted
from learnae.config.sections import IotaSection
from learnae.errors import ConfigurationError, EncodingError, TransportError
from learnae.ipld.fields import Fields
from learnae.text import host_of, version_numbers

_log = logging.getLogger(__name__)

NULL = "9" * HASH_TRYTES
MESSAGE_BYTES = 1093  # two trytes a byte, in 2,187 trytes
TAG_TRYTES = 27
LOCAL, REMOTE = POW = ("local", "node")

_ANSWER_BYTES = 4 << 20  # more than a thousand transactions
_CHUNK_BYTES = 1 << 13  # the clock is looked at after each
_SECONDS = 10.0  # a node that is well answers within one
_WORK_SECONDS = 120.0  # while it does the proof of work
_DEPTH = 3  # milestones that a walk for tips starts back from; Hornet chooses by itself
_FOUND = 1000  # hashes that nodes give at once
_UPPER_BOUND = (3**27 - 1) // 2  # of the attachment's time: none
_PROMOTION_TAG = "LEARNAE9PROMOTION".ljust(TAG_TRYTES, "9")
_LAST_HORNET = 0, 5, 6  # later ones only let people migrate, or speak another API
_LAGGING = 2  # milestones that are still being made solid on a node that keeps up

_TRIPS = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)  # pyota's over wrong answers

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """Holds what a node says of itself: ``time`` is its clock in Unix ms, ``milestone`` the newest it has heard
    of, ``solid`` the newest whose whole past it has."""

    software: str
    coordinator: str
    milestone: int
    solid: int
    synced: bool
    time: int

    @property
    def takes_data(self) -> bool:
        """Return False if what is known of its software says that it takes no data through this API."""
        name, _, version = self.software.partition(" ")
        return name.upper() != "HORNET" or version_numbers(version) <= _LAST_HORNET

    @property
    def trouble(self) -> str:
        """Return what keeps the node from taking new transactions; empty if nothing does."""
        if not self.takes_data:
            return f"node is {self.software}: Hornet {'.'.join(map(str, _LAST_HORNET))} is the last that takes data"
        if self.milestone == 0:
            return "node has no milestone yet: is its coordinator running?"
        if not self.synced:
            return f"node lags: it has milestone {self.solid} of {self.milestone}"
        return ""


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction as it is on the Tangle; ``trytes`` is all of it, ``timestamp`` Unix seconds as its author says."""

    name: str
    trytes: str

    @property
    def message(self) -> bytes:
        """Return the 1,093 bytes of its message, padded with zeros; raises EncodingError if they are no bytes."""
        return decode(self.trytes[: 2 * MESSAGE_BYTES])

    @property
    def address(self) -> str:
        """Return where it is sent to, 81 trytes."""
        return self.trytes[2187:2268]

    @property
    def parents(self) -> tuple[str, str]:
        """Return the names of the two transactions that it approves, trunk and branch."""
        return self.trytes[2430:2511], self.trytes[2511:2592]

    @property
    def tag(self) -> str:
        """Return what it is found by, 27 trytes."""
        return self.trytes[2592:2619]

    @property
    def timestamp(self) -> int:
        """Return its time in Unix seconds, as its author says."""
        return integer(self.trytes[2322:2331])

    @property
    def bundle(self) -> str:
        """Return the hash of the bundle that it is part of."""
        return self.trytes[2349:2430]

    @property
    def milestone(self) -> int:
        """Return its index, if it is part of a milestone: that is its tag."""
        return integer(self.tag)


class Node:
    """Talks to one node at ``url``, in one thread. ``mwm`` 0 asks it; ``pow_by`` says who works, this machine or it."""

    def __init__(self, url: str, mwm: int = 0, pow_by: str = LOCAL, ca_file: str = "") -> None:
        """Trust what ``ca_file`` has signed, if ``url`` is at https; connect to nothing. Raises ConfigurationError."""
        self.url = url
        with authorities_of("iota.ca_file"):
            self._authorities = trusted(ca_file)
        self.work_seconds = 0.0  # of processor time spent on proof of work here
        self._iota = load()
        self._api = self._iota.Iota(self._adapter(_SECONDS))
        self._worker = self._iota.Iota(self._adapter(_WORK_SECONDS))
        self._mwm = mwm
        self._pow = pow_by
        self._ahead = 0  # ms: the node's clock before ours

    @classmethod
    def from_section(cls, section: IotaSection) -> Node:
        """Make a link to the node that ``[iota]`` names; raises ConfigurationError."""
        return cls(section.node, section.mwm, section.pow, section.ca_file)

    def info(self) -> NodeInfo:
        """Ask the node about itself. Raises TransportError."""
        answer = self._call("getNodeInfo", self._api.get_node_info)
        fields = Fields(answer, f"answer of the IOTA node at {host_of(self.url)}:", TransportError)
        newest = fields.integer("latestMilestoneIndex")
        solid = fields.integer("latestSolidSubtangleMilestoneIndex")
        lags = newest - solid > _LAGGING
        clock = fields.integer("time")
        self._ahead = clock - _clock()
        return NodeInfo(
            software=f"{fields.text('appName')} {fields.text('appVersion')}",
            coordinator=fields.text("coordinatorAddress", HASH_TRYTES, default=""),
            milestone=newest,
            solid=solid,
            synced=fields.boolean("isSynced", default=not lags) and not lags,
            time=clock,
        )

    def mwm(self) -> int:
        """Return the network's minimum weight magnitude: configured, or as the node says. Raises TransportError."""
        self._mwm = self._mwm or self._ask_mwm()
        return self._mwm

    def propose(self, message: bytes, tag: str, address: str) -> str:
        """Compose a zero-value transaction that is not on the Tangle yet; ``message`` of at most 1,093 bytes.

        It is a bundle of its own, with the first hash that comes: pyota's ProposedBundle goes on to look for one
        that is safe to sign, which takes twenty times as long, and this one is not signed.
        """
        if len(message) > MESSAGE_BYTES:
            raise EncodingError(f"a message of {len(message)} bytes", f"a transaction carries {MESSAGE_BYTES}")
        iota = self._iota
        transaction = iota.ProposedTransaction(iota.Address(address), 0, iota.Tag(tag), timestamp=self._now() // 1000)
        transaction.current_index = transaction.last_index = 0
        transaction.bundle_hash = iota.BundleHash(kerl(str(transaction.get_signature_validation_trytes())))
        transaction.signature_message_fragment = iota.Fragment(iota.TryteString.from_bytes(message))
        return str(transaction.as_tryte_string())

    def attach(self, trytes: str, reference: str | None = None, stopped: Callable[[], bool] = lambda: False) -> str:
        """Attach a transaction, again if need be, to two tips or one and ``reference``; raises TransportError."""
        mwm = self.mwm()
        extra = {"reference": self._iota.TransactionHash(reference)} if reference else {}
        tips = self._call("getTransactionsToApprove", partial(self._api.get_transactions_to_approve, _DEPTH, **extra))
        trunk, branch = str(tips.get("trunkTransaction")), str(tips.get("branchTransaction"))
        if not re.fullmatch(f"[9A-Z]{{{2 * HASH_TRYTES}}}", trunk + branch):
            raise self._error("getTransactionsToApprove", "no two tips")
        worked = self._work(trytes, trunk, branch, mwm, stopped)
        transaction = self._iota.TransactionTrytes(worked)
        self._call("storeTransactions", lambda: self._api.store_transactions([transaction]))
        self._call("broadcastTransactions", lambda: self._api.broadcast_transactions([transaction]))
        name = hash_of(worked)
        _log.debug("%s: attached transaction %s", host_of(self.url), name)
        return name

    def promote(self, name: str, stopped: Callable[[], bool] = lambda: False) -> str:
        """Approve a transaction that no milestone includes yet by an empty one; returns that one's name."""
        return self.attach(self.propose(b"", _PROMOTION_TAG, NULL), name, stopped)

    def find_tag(self, tag: str) -> list[str]:
        """Name the transactions with this tag, in no order, at most about 1,000. Raises TransportError."""
        return self._find(tags=[self._iota.Tag(tag)])

    def find_approvers(self, names: Sequence[str]) -> list[str]:
        """Name the transactions that directly approve one of these. Raises TransportError."""
        return self._find(approvees=[self._iota.TransactionHash(name) for name in names])

    def read(self, names: Sequence[str]) -> list[Transaction]:
        """Read those of the named transactions that the node has, unchecked. Raises TransportError."""
        if not names:
            return []
        hashes = [self._iota.TransactionHash(name) for name in names]
        answer = self._call("getTrytes", lambda: self._api.get_trytes(hashes))
        found = [str(trytes) for trytes in self._list(answer, "trytes", len(names))]
        if any(len(trytes) != TRANSACTION_TRYTES for trytes in found):
            raise self._error("getTrytes", "transactions of another length")
        _log.debug("%s: read %d transactions", host_of(self.url), len(found))
        nothing = "9" * TRANSACTION_TRYTES
        return [Transaction(name, trytes) for name, trytes in zip(names, found, strict=True) if trytes != nothing]

    def confirmed(self, names: Sequence[str]) -> list[bool]:
        """Return, for each of these, True if a milestone includes it. Raises TransportError."""
        if not names:
            return []
        hashes = [self._iota.TransactionHash(name) for name in names]
        answer = self._call("getInclusionStates", lambda: self._api.get_latest_inclusion(hashes))
        states = answer.get("states") if isinstance(answer, dict) else None
        if not isinstance(states, dict):
            raise self._error("getInclusionStates", "no states")
        return [states.get(name) is True for name in hashes]

    # -- proof of work

    def _work(self, trytes: str, trunk: str, branch: str, mwm: int, stopped: Callable[[], bool]) -> str:
        iota = self._iota
        if self._pow == REMOTE:
            tips, sent = map(iota.TransactionHash, (trunk, branch)), [iota.TransactionTrytes(trytes)]
            done = self._call("attachToTangle", partial(self._worker.attach_to_tangle, *tips, sent, mwm))
            worked = str(self._list(done, "trytes", 1)[0])
            if worked[:2430] != trytes[:2430]:
                raise self._error("attachToTangle", "another transaction than was sent")
            return worked
        begun = time.thread_time()
        try:
            now = iota.trits.trits_from_int(self._now(), pad=27)
            bound = iota.trits.trits_from_int(_UPPER_BOUND, pad=27)
            times = (now, [0] * 27, bound)
            attachment = "".join(str(iota.TryteString.from_trits(trits)) for trits in times)
            return search(trytes[:2430] + trunk + branch + trytes[2592:2619] + attachment + "9" * 27, mwm, stopped)
        finally:
            self.work_seconds += time.thread_time() - begun

    def _now(self) -> int:
        """Return the time of the node's clock in ms: nodes refuse old dates, and a board may not know the time."""
        return _clock() + self._ahead

    def _ask_mwm(self) -> int:
        """Provoke a refusal: no answer of the API tells it, but a node that works for others says what it expects."""
        iota = self._iota
        null, empty = iota.TransactionHash(NULL), iota.TransactionTrytes("9" * TRANSACTION_TRYTES)
        ask = partial(self._api.attach_to_tangle, null, null, [empty], 1)
        said, remedy = "it did not object to 1", "set iota.mwm, such as 9 on a private Tangle"
        try:
            self._call("attachToTangle", ask)
        except TransportError as error:
            said, remedy = error.problem, f"{error.remedy}, or {remedy}"
            match = re.search(r"expected: (\d{1,2})\b", said)
            if match and 1 <= int(match[1]) <= MAX_MWM:
                return int(match[1])
        raise TransportError(f"minimum weight magnitude: {said}", remedy)

    # -- calls

    def _find(self, **criteria: Any) -> list[str]:
        answer = self._call("findTransactions", lambda: self._api.find_transactions(**criteria))
        return [str(name) for name in self._list(answer, "hashes")[:_FOUND]]

    def _list(self, answer: Any, name: str, length: int | None = None) -> list[Any]:
        found = answer.get(name) if isinstance(answer, dict) else None
        if not isinstance(found, list) or (length is not None and len(found) != length):
            raise self._error(name, "no such list in its answer")
        return found

    def _call(self, command: str, send: Callable[[], _Result]) -> _Result:
        try:
            return send()
        except _TRIPS as error:
            raise self._error(command, _reason(error)) from error

    def _error(self, command: str, reason: str) -> TransportError:
        path = urlsplit(self.url).path.rstrip("/")  # it may be a token
        said = " ".join((reason.replace(path, "/…") if path else reason).split())[:300]
        is_stranger = "certificate verify failed" in said
        remedy = "set iota.ca_file to what signed its certificate" if is_stranger else "check iota.node, and the node"
        return TransportError(f"IOTA node at {host_of(self.url)}: {command}: {said}", remedy)

    def _adapter(self, seconds: float) -> Any:
        """Make pyota's HTTP client with a time limit and a size limit."""

        authorities = self._authorities

        class Bounded(self._iota.HttpAdapter):  # type: ignore[misc, name-defined]
            supported_protocols = ("http", "https")

            def _send_http_request(self, url: str, payload: str, method: str = "post", **options: Any) -> Any:
                deadline = time.monotonic() + seconds
                ways = {"stream": True, "allow_redirects": False, "timeout": seconds, **options}
                content, session = bytearray(), direct_session(authorities)
                with session, session.request(method, url, data=payload, **ways) as response:
                    for chunk in response.iter_content(_CHUNK_BYTES):
                        content += chunk
                        if len(content) > _ANSWER_BYTES or time.monotonic() > deadline:
                            raise ValueError(f"its answer does not end ({len(content)} bytes)")
                response._content = bytes(content)
                return response

        try:
            return Bounded(self.url)
        except ValueError as error:
            raise ConfigurationError(f"iota.node is {host_of(self.url)!r}: {error}", "use http://HOST:14265") from error


def _clock() -> int:
    return time.time_ns() // 1_000_000


def _reason(error: BaseException) -> str:
    """Return what the system said, which requests wraps several times; else what ``error`` says."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__
