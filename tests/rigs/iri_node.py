"""A loopback node with the IRI HTTP API, as strict as Hornet 0.5.6, for machines that have no Hornet.

Real: hashes, proof of work and bundle hashes are checked; a transaction whose parents are unknown waits;
tips are drawn uniformly; milestones approve the tips and confirm their past; what was stored is on disk
before the call returns. Not here: other nodes, the coordinator's signature, a ledger.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from daemon import HOST, free_port

from learnae.adapters.iota.node import NULL, Node, Transaction
from learnae.adapters.iota.proof_of_work import TRANSACTION_TRYTES, hash_of, search, weight
from learnae.adapters.iota.pyota import integer, load

COORDINATOR = "LEARNAE9TEST9COORDINATOR".ljust(81, "9")
MAX_RESULTS = 1000
MAX_BODY = 1_000_000
CLOCKS = 600_000  # ms that a transaction may be dated ahead
LAG = 5  # milestones that a lagging node is behind
_TIPS = 8  # that a milestone approves
_CHECKPOINT = "LEARNAE9CHECKPOINT".ljust(27, "9")
_HASH = re.compile("[9A-Z]{81}")


class Refused(Exception):
    """An answer with an HTTP status that is not 200."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


@dataclass
class Known:
    """A transaction that the node has; ``milestone`` is the index of the first one that includes it."""

    transaction: Transaction
    solid: bool = False
    milestone: int = 0
    approvers: set[str] = field(default_factory=set)


class IriNode:
    """The node; a context manager. Its port and what is in ``directory`` survive ``kill`` and ``start``.

    ``interval`` seconds between two milestones, 0 for none; ``lagging`` and ``hanging`` may be set any time.
    """

    def __init__(self, directory: Path, mwm: int = 5, interval: float = 0.5, coordinator: str = COORDINATOR) -> None:
        self.file = directory / "transactions"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.mwm, self.interval, self.coordinator = mwm, interval, coordinator
        self.port, self.events_port = free_port(), free_port()
        self.lagging = False
        self.hanging = threading.Event()
        self.requests: list[str] = []
        self._lock = threading.RLock()
        self._known: dict[str, Known] = {}
        self._by: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._tips: set[str] = set()
        self._milestones: list[str] = []
        self._server: ThreadingHTTPServer | None = None
        self._stopped = threading.Event()
        self._publish = lambda words: None
        self._events: Any = None
        self._since = 1000 * (time.time() - 60)  # as of a snapshot; older is refused, but clocks are read before
        self._writer = Node(self.url)  # the coordinator's; asks no other node

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def __enter__(self) -> IriNode:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        with self._lock:  # the coordinator's thread may be about to publish
            self._publish = lambda words: None
            if self._events is not None:
                self._events.close()

    def start(self) -> None:
        """Read the disk and listen."""
        for memory in (self._known, self._by, self._tips, self._milestones):
            memory.clear()
        self._stopped = threading.Event()
        if self.file.exists():
            for line in self.file.read_text().splitlines():
                kind, trytes = line.split()
                self._take_in(Transaction(hash_of(trytes), trytes), kind == "M")
        node = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                if "X-IOTA-API-Version" not in self.headers:
                    status, answer = 400, {"error": "Invalid API Version"}
                elif int(self.headers["Content-Length"]) > MAX_BODY:
                    status, answer = 413, {"error": "http: request body too large"}
                    self.close_connection = True
                else:
                    status, answer = node._answer(self.rfile.read(int(self.headers["Content-Length"])))
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json; charset=utf-8")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self._server = ThreadingHTTPServer((HOST, self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        if self.interval:
            self.issue_milestone()
            threading.Thread(target=self._coordinate, args=(self._stopped,), daemon=True).start()

    def kill(self) -> None:
        """Stop listening."""
        self._stopped.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def publish_events(self) -> str:
        """Let there be a ZMQ stream; returns its URL."""
        import zmq

        socket = zmq.Context.instance().socket(zmq.PUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.bind(f"tcp://{HOST}:{self.events_port}")
        self._publish = lambda words: socket.send_string(" ".join(words))
        self._events = socket
        return f"tcp://{HOST}:{self.events_port}"

    # -- the Tangle

    def issue_milestone(self) -> None:
        """One milestone above the last and above tips, on a chain of checkpoints."""
        with self._lock:
            last = top = self._milestones[-1] if self._milestones else NULL
            index = len(self._milestones) + 1
            for tip in random.sample(sorted(self._tips - {last}), min(_TIPS, len(self._tips - {last}))):
                top = self._issue(_CHECKPOINT, top, tip, NULL, False)
            self._issue(number_trytes(index).ljust(27, "9"), last, top, self.coordinator, True)

    def index(self) -> int:
        """Return the index of the newest milestone."""
        return len(self._milestones)

    def names(self) -> list[str]:
        """Return the names of all transactions but the coordinator's, oldest first."""
        ours = (self.coordinator, NULL)
        return [name for name, known in self._known.items() if known.transaction.address not in ours]

    def _coordinate(self, stopped: threading.Event) -> None:
        while not stopped.wait(self.interval):
            self.issue_milestone()

    def _issue(self, tag: str, trunk: str, branch: str, address: str, milestone: bool) -> str:
        essence = self._writer.propose(b"", tag, address)
        trytes = search(essence[:2430] + trunk + branch + essence[2592:], self.mwm)
        transaction = Transaction(hash_of(trytes), trytes)
        self._store(transaction, milestone)
        return transaction.name

    def _store(self, transaction: Transaction, milestone: bool = False) -> None:
        with self._lock:
            if transaction.name in self._known and self._known[transaction.name].transaction.trytes:
                return
            with self.file.open("a") as file:
                file.write(f"{'M' if milestone else 'T'} {transaction.trytes}\n")
            self._take_in(transaction, milestone)

    def _take_in(self, transaction: Transaction, milestone: bool) -> None:
        known = self._known[transaction.name] = Known(transaction)
        for criterion, value in (("tags", transaction.tag), ("addresses", transaction.address)):
            self._by[criterion, value].append(transaction.name)
        self._by["bundles", transaction.bundle].append(transaction.name)
        for parent in transaction.parents:
            self._by["approvees", parent].append(transaction.name)
            if parent in self._known:
                self._known[parent].approvers.add(transaction.name)
        known.approvers.update(self._by["approvees", transaction.name])
        self._solidify(transaction.name)
        if milestone:
            self._milestones.append(transaction.name)
            self._confirm(transaction.name, len(self._milestones))
        self._publish(["tx", transaction.name, transaction.address, "0", transaction.tag])

    def _solidify(self, name: str) -> None:
        todo = [name]
        while todo:
            known = self._known.get(todo.pop())
            if known is None or known.solid or not all(map(self._is_solid, known.transaction.parents)):
                continue
            known.solid = True
            self._tips.difference_update(known.transaction.parents)
            if not any(self._known[other].solid for other in known.approvers):
                self._tips.add(known.transaction.name)
            todo.extend(known.approvers)

    def _is_solid(self, name: str) -> bool:
        return name == NULL or (name in self._known and self._known[name].solid)

    def _confirm(self, name: str, index: int) -> None:
        todo = [name]
        while todo:
            known = self._known.get(todo.pop())
            if known is not None and not known.milestone:
                known.milestone = index
                todo.extend(known.transaction.parents)

    # -- the API

    def _answer(self, body: bytes) -> tuple[int, Mapping[str, Any]]:
        while self.hanging.is_set() and not self._stopped.wait(0.05):
            pass
        begun = time.monotonic()
        try:
            query = json.loads(body)
            if not isinstance(query, dict) or not isinstance(query.get("command"), str):
                raise Refused("error parsing command")
            command = query["command"]
            self.requests.append(command)
            method = getattr(self, "_do_" + command.lower(), None)
            if method is None:
                raise Refused(f"command [{command}] is unknown")
            with self._lock:
                answer = method(query)
        except Refused as refused:
            return refused.status, {"error": str(refused)}
        except (ValueError, TypeError) as error:
            return 400, {"error": str(error)}
        return 200, {**answer, "duration": int(1000 * (time.monotonic() - begun))}

    def _do_getnodeinfo(self, _: Mapping[str, Any]) -> dict[str, Any]:
        newest = len(self._milestones)
        solid = max(0, newest - LAG) if self.lagging else newest
        return {
            "appName": "LOOPBACK",
            "appVersion": "1.0",
            "latestMilestone": self._milestones[newest - 1] if newest else NULL,
            "latestMilestoneIndex": newest,
            "latestSolidSubtangleMilestone": self._milestones[solid - 1] if solid else NULL,
            "latestSolidSubtangleMilestoneIndex": solid,
            "isSynced": bool(newest) and not self.lagging,
            "health": bool(newest) and not self.lagging,
            "milestoneStartIndex": 0,
            "lastSnapshottedMilestoneIndex": 0,
            "neighbors": 0,
            "time": int(time.time()) * 1000,
            "tips": len(self._tips),
            "transactionsToRequest": 0,
            "features": ["RemotePOW"],
            "coordinatorAddress": self.coordinator,
        }

    def _do_getnodeapiconfiguration(self, _: Mapping[str, Any]) -> dict[str, Any]:
        limits = {"maxFindTransactions": MAX_RESULTS, "maxRequestsList": MAX_RESULTS, "maxGetTrytes": MAX_RESULTS}
        return {**limits, "maxBodyLength": MAX_BODY, "milestoneStartIndex": 0}

    def _do_gettransactionstoapprove(self, query: Mapping[str, Any]) -> dict[str, Any]:
        if self.lagging or not self._milestones:
            raise Refused("node is not synced", 503)
        tips = sorted(self._tips) or [self._milestones[-1]]
        branch = query.get("reference") or random.choice(tips)
        if not _HASH.fullmatch(branch):
            raise Refused("invalid reference hash supplied")
        return {"trunkTransaction": random.choice(tips), "branchTransaction": branch}

    def _do_attachtotangle(self, query: Mapping[str, Any]) -> dict[str, Any]:
        asked = query.get("minWeightMagnitude") or self.mwm
        if asked != self.mwm:
            raise Refused(f"Wrong MinWeightMagnitude. requested: {asked}, expected: {self.mwm}")
        trytes = self._trytes(query)
        if len(trytes) != 1:
            raise Refused("Invalid bundle length")
        text, now = trytes[0], number_trytes(int(time.time() * 1000))
        tips = query["trunkTransaction"] + query["branchTransaction"]
        return {"trytes": [search(text[:2430] + tips + text[2592:2619] + now + "9" * 9 + "M" * 9 + "9" * 27, self.mwm)]}

    def _do_storetransactions(self, query: Mapping[str, Any]) -> dict[str, Any]:
        found = [Transaction(hash_of(trytes), trytes) for trytes in self._trytes(query)]
        for transaction in found:
            if weight(transaction.name) < self.mwm:
                raise Refused("invalid transaction hash")
            if not self._since <= integer(transaction.trytes[2619:2628]) < 1000 * time.time() + CLOCKS:
                raise Refused("invalid timestamp")
            if not _is_whole_bundle(transaction):
                raise Refused("invalid bundle")
        for transaction in found:
            self._store(transaction)
        return {}

    _do_broadcasttransactions = _do_storetransactions

    def _do_findtransactions(self, query: Mapping[str, Any]) -> dict[str, Any]:
        criteria = {name: query[name] for name in ("bundles", "addresses", "tags", "approvees") if query.get(name)}
        if sum(map(len, criteria.values())) > MAX_RESULTS:
            raise Refused(f"too many bundle, address, approvee or tag hashes. max. allowed: {MAX_RESULTS}")
        found: set[str] | None = None
        for name, values in criteria.items():
            length, pattern = (27, "[9A-Z]{1,27}") if name == "tags" else (81, "[9A-Z]{81}")
            if not all(re.fullmatch(pattern, value) for value in values):
                raise Refused(f"{name} invalid")
            names = {hit for value in values for hit in self._by.get((name, value.ljust(length, "9")), ())}
            found = names if found is None else found & names
        return {"hashes": sorted(found or ())[:MAX_RESULTS]}

    def _do_gettrytes(self, query: Mapping[str, Any]) -> dict[str, Any]:
        nothing = "9" * TRANSACTION_TRYTES
        hashes = self._hashes(query["hashes"])
        return {"trytes": [self._known[one].transaction.trytes if one in self._known else nothing for one in hashes]}

    def _do_getinclusionstates(self, query: Mapping[str, Any]) -> dict[str, Any]:
        hashes = self._hashes(query["transactions"])
        if self.lagging or not self._milestones:
            raise Refused("node not synced")
        return {"states": [one in self._known and self._known[one].milestone > 0 for one in hashes]}

    def _do_checkconsistency(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"state": True}

    @staticmethod
    def _hashes(hashes: Any) -> list[str]:
        if len(hashes) > MAX_RESULTS:
            raise Refused(f"Too many hashes. Max. allowed: {MAX_RESULTS}")
        for one in hashes:
            if not _HASH.fullmatch(one):
                raise Refused(f"Invalid hash supplied: {one}")
        return list(hashes)

    @staticmethod
    def _trytes(query: Mapping[str, Any]) -> list[str]:
        trytes = query.get("trytes")
        if not trytes:
            raise Refused("No trytes provided")
        for one in trytes:
            if not re.fullmatch(f"[9A-Z]{{{TRANSACTION_TRYTES}}}", one):
                raise Refused("invalid transaction trytes")
        return list(trytes)


def _is_whole_bundle(transaction: Transaction) -> bool:
    """Return True if it is a bundle of one, and that bundle's hash is right."""
    iota = load()
    parsed = iota.Transaction.from_tryte_string(transaction.trytes, iota.TransactionHash(transaction.name))
    return bool(iota.BundleValidator(iota.Bundle([parsed])).is_valid())


def number_trytes(number: int) -> str:
    iota = load()
    return str(iota.TryteString.from_trits(iota.trits.trits_from_int(number, pad=27)))
