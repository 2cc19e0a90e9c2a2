"""What a peer needs from the world: at most six methods a port, one technology an adapter.

Every adapter of a port passes the same contract suite (tests/contract). Guards that do not depend
on the technology (size, hash) are here, not in each adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from learnae.errors import EncodingError, LimitError
from learnae.ipld.cid import MAX_BLOCK_BYTES, Cid
from learnae.protocol.announcements import Announcement
from learnae.protocol.bodies import Metrics
from learnae.weights.codecs import Vector
from learnae.weights.merge import NO_MOMENTS, Moments

if TYPE_CHECKING:
    from learnae.membership.rendezvous import Answer, Question
    from learnae.protocol.neighbourhood.interest import Interest


@dataclass(eq=False, slots=True)
class Traffic:
    """Bytes that this peer has put out for others and taken in from them, in blocks and messages."""

    bytes_out: int = 0
    bytes_in: int = 0


class BlockStore(Protocol):
    """Blocks by name. All methods return at once; what is far away is fetched in the background.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from learnae.adapters.local.block_store import LocalBlockStore
    >>> from learnae.ipld.cid import RAW
    >>> with TemporaryDirectory() as directory:
    ...     store = LocalBlockStore(Path(directory))
    ...     cid = store.put(RAW, b"weights")
    ...     store.get(cid)
    b'weights'
    """

    def put(self, codec: int, data: bytes) -> Cid:
        """Keep a block of at most 1 MiB, and name it. Idempotent. Raises LimitError or NotWrittenError.

        It outlives the process at once; a power cut may take what was put in the last moments.
        """

    def get(self, cid: Cid) -> bytes:
        """Return the block's bytes, checked against its name; raises BlockMissingError if it is not here now."""

    def has(self, cid: Cid) -> bool:
        """Return True if ``get`` would succeed now."""

    def want(self, cids: Sequence[Cid], most: int = MAX_BLOCK_BYTES, origin: str = "") -> None:
        """Ask for blocks of at most ``most`` bytes; they may appear later. Idempotent, cheap to repeat.

        ``origin`` names the peer that has named them, on which they are booked: each origin has its turn. Empty for
        what this peer wants of itself.
        """

    def cids(self) -> Iterable[Cid]:
        """Return the names of all blocks that are here."""

    def delete(self, cids: Iterable[Cid], unused_for: int = 0) -> None:
        """Forget blocks; those that are not here are passed over.

        A block stays that another process with the same store has put or looked for in the last ``unused_for`` ms.
        """

    def refuse(self, cid: Cid) -> None:
        """Delete a block that this peer never should have been sent; it is booked on who has named or sent it."""
        self.delete([cid])


class Exchange(Protocol):
    """Carries blocks between machines. Called from worker threads; every call ends within the adapter's timeout.

    The caller checks received bytes (``check_named``): an exchange may lie.

    >>> from learnae.ipld.cid import RAW
    >>> from learnae.simulation.in_memory import MemoryExchange
    >>> shared, cid = {}, Cid.of(RAW, b"weights")
    >>> MemoryExchange(shared).offer(cid, b"weights")
    >>> MemoryExchange(shared).fetch(cid)
    b'weights'
    """

    def offer(self, cid: Cid, data: bytes) -> None:
        """Let other machines have this block. Idempotent. Raises TransportError."""

    def fetch(self, cid: Cid, most: int = MAX_BLOCK_BYTES) -> bytes:
        """Return the block's bytes, unchecked, and no more than one byte beyond ``most``: what is larger is refused.

        Raises BlockMissingError if no machine has it, else TransportError.
        """

    def keep(self, cid: Cid) -> None:
        """Note that this machine's store holds a fetched block: an exchange with a store of its own keeps it, too.

        Not before: another process may let go of what the exchange keeps and this machine does not hold.
        Raises TransportError.
        """

    def lacking(self, held: Callable[[], Iterable[Cid]]) -> Iterable[Cid]:
        """Return those of the blocks ``held`` here that must be offered; raises TransportError if it is out of reach.

        Called at the start, and after a failure until the exchange can be reached again. An exchange without a
        store of its own lacks nothing.
        """

    def retract(self, cids: Iterable[Cid]) -> None:
        """Unpin blocks that are not needed any more. Idempotent. Raises TransportError."""

    def close(self) -> None:
        """Let go of connections; a call under way, and every later one, ends with TransportError. Idempotent."""

    @property
    def holds(self) -> bool:
        """Return True if it has a store of its own: it is offered what any process of this machine puts."""
        return False


@dataclass(frozen=True, slots=True)
class Heard:
    """An announcement, and the name of the peer that the transport brought it from: unproven."""

    announcer: str
    announcement: Announcement


class Gossip(Protocol):
    """Tells other peers the newest messages: state, not events; the next announcement heals a lost one.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from learnae.adapters.local.gossip import LocalGossip
    >>> from learnae.ipld.cid import DAG_CBOR
    >>> from learnae.protocol.announcements import Entry
    >>> head = Cid.of(DAG_CBOR, b"message")
    >>> said = Announcement((Entry(b"8 bytes!", 7, head, head),))
    >>> with TemporaryDirectory() as directory:
    ...     LocalGossip(Path(directory), "alice").announce(said)
    ...     list(LocalGossip(Path(directory), "bob").heard()) == [Heard("alice", said)]
    True
    """

    def announce(self, announcement: Announcement) -> None:
        """Announce the newest messages known here; never blocks for long. Raises LimitError for too many."""

    def heard(self) -> Iterable[Heard]:
        """Return the newest announcement of each other peer since the last call, each bounded."""

    def attend(self, interest: Interest) -> bool:  # noqa: ARG002 - for those that filter
        """Hear only peers in ``interest`` from now on, which also tells where this peer itself is to be heard.

        Return False where all are heard as before: what carries announcements cannot tell them apart, or people have
        chosen whom it brings. The caller passes over what is said of all others.
        """
        return False

    @property
    def levels(self) -> int:
        """Return how many levels the zones of others have, as far as they say so: a hint, 0 without any."""
        return 0

    @property
    def announcements(self) -> int | None:
        """Return how many announcements of other machines were heard so far; None if it links to none."""
        return None

    @property
    def is_linked(self) -> bool:
        """Return False while no other machine can be heard."""
        return True


@dataclass(frozen=True, slots=True)
class Trained:
    """Says what one call of ``train`` did: optimiser steps, training rows at hand, mean loss (NaN: not known)."""

    steps: int
    rows: int
    loss: float


class Learner(Protocol):
    """Trains one model on this machine's private rows. Weights are one float32 vector (count,).

    >>> from learnae.models.passive_learner import PassiveLearner
    >>> learner = PassiveLearner(count=2)
    >>> learner.load(np.array([0.5, -1.0], np.float32))
    >>> learner.train(steps=10), learner.weights().tolist()
    (Trained(steps=0, rows=0, loss=0.0), [0.5, -1.0])
    """

    @property
    def moments(self) -> Moments:
        """Return which weights are means and variances of rows, to be merged as such; the others are averaged."""
        return NO_MOMENTS

    def weights(self) -> Vector:
        """Return a copy of the current weights."""

    def load(self, weights: Vector) -> None:
        """Go on from these weights, with the optimiser's state as it is."""

    def train(self, steps: int) -> Trained:
        """Take up to ``steps`` optimiser steps; none without rows."""

    def evaluate(self, weights: Vector) -> Metrics | None:
        """Measure ``weights`` on the held-out rows; None without any."""

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the optimiser's arrays, to be saved."""

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from saved arrays; raises StateError if they do not fit."""

    def begin_optimiser(self) -> None:
        """Let the optimiser forget its steps: zeros are what each begins with."""
        self.restore({name: np.zeros_like(array) for name, array in self.state().items()})


@dataclass(frozen=True, slots=True)
class Samples:
    """Readings of one source, in order: ``time`` (n,) seconds, ``values`` (n, channels).

    ``label`` (n,) class numbers, -1 where unknown; ``holdout`` (n,) marks what must not be trained on.

    >>> samples = Samples.unmarked(np.arange(3.0), np.zeros((3, 1), np.float32))
    >>> late = samples.part(samples.time > 1).marked(4, np.array([True]))
    >>> both = Samples.joined([samples.part(slice(2)), late])
    >>> both.time.tolist(), both.label.tolist(), both.holdout.tolist()
    ([0.0, 1.0, 2.0], [-1, -1, 4], [False, False, True])
    """

    time: NDArray[np.float64]
    values: NDArray[np.float32]
    label: NDArray[np.int64]
    holdout: NDArray[np.bool_]

    @classmethod
    def unmarked(cls, time: NDArray[np.float64], values: NDArray[np.float32], label: int = -1) -> Samples:
        """Make samples of one ``label``, none of them held out yet."""
        return cls(time, values, np.full(len(time), label, np.int64), np.zeros(len(time), np.bool_))

    @classmethod
    def joined(cls, parts: Sequence[Samples]) -> Samples:
        """Return the samples of ``parts``, at least one, one after another."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__))

    def part(self, index: slice | NDArray[np.bool_]) -> Samples:
        """Return the samples that ``index`` selects: a slice, or a mask (n,)."""
        return Samples(self.time[index], self.values[index], self.label[index], self.holdout[index])

    def marked(self, label: int, holdout: NDArray[np.bool_]) -> Samples:
        """Return these samples with ``label`` where theirs is unknown, and with ``holdout`` (n,)."""
        return Samples(self.time, self.values, np.where(self.label < 0, label, self.label), holdout)


class SampleSource(Protocol):
    """Gives an agent's readings.

    >>> class Constant(SampleSource):
    ...     def read(self):
    ...         return Samples(np.zeros(1), np.ones((1, 3), np.float32), np.array([-1]), np.array([False]))
    >>> Constant().read().values.shape
    (1, 3)
    """

    def read(self) -> Samples | None:
        """Return the readings since the last call, perhaps none; None when there will never be more."""


Keep = Callable[[Vector], Vector]  # returns the same values (n,), kept where they are no burden to memory


def in_memory(vector: Vector) -> Vector:
    """Return ``vector`` (n,) as it is."""
    return vector


class StateStore(Protocol):
    """Keeps a peer's own state: one value, replaced whole.

    >>> from learnae.simulation.in_memory import MemoryStateStore
    >>> store = MemoryStateStore()
    >>> store.load()
    >>> store.save(b"state")
    >>> store.load()
    b'state'
    """

    def load(self) -> bytes | None:
        """Return the last saved state; None if there is none. Raises StateError."""

    def save(self, *pieces: bytes | memoryview) -> None:
        """Replace the state by these ``pieces``, one after another, durably and atomically."""


@dataclass(frozen=True, slots=True)
class Inference:
    """What the swarm's model says of one window of this machine's own samples.

    ``time`` Unix seconds of the last reading that the model saw; where not ``dated``, seconds of a recording that has
    no dates. ``label`` the class name, if there are classes; ``score`` its probability, the predicted value, that of
    the channel ``forecast`` one sample later, or the reconstruction error of an autoencoder, which is an anomaly beyond
    ``threshold``; ``no_threshold`` says why an autoencoder has none.

    >>> Inference(1.7e9, None, 0.75, threshold=0.5).fields()
    {'time': 1700000000.0, 'label': None, 'score': 0.75, 'threshold': 0.5, 'anomaly': True}
    """

    time: float
    label: str | None
    score: float
    threshold: float | None = None
    no_threshold: str = ""
    dated: bool = True
    forecast: str = ""

    @property
    def anomaly(self) -> bool | None:
        """Return the decision; None where there is nothing to decide, or no threshold to decide by."""
        return None if self.threshold is None else self.score > self.threshold

    def fields(self) -> dict[str, Any]:
        """Return what others are shown: of anomalies only where scores are such, of dates only where there are none."""
        fields: dict[str, Any] = {"time": self.time, "label": self.label, "score": self.score}
        if self.threshold is not None or self.no_threshold:
            fields |= {"threshold": self.threshold, "anomaly": self.anomaly}
        if self.no_threshold:
            fields["no_threshold"] = self.no_threshold
        if self.forecast:
            fields["forecast"] = self.forecast
        return fields if self.dated else {**fields, "dated": False}


class Monitor(Protocol):
    """Shows a peer to people. No method may raise or wait.

    >>> from learnae.simulation.in_memory import SilentMonitor
    >>> monitor = SilentMonitor()
    >>> monitor.report({"steps": 7})
    >>> monitor.last
    {'steps': 7}
    """

    def report(self, status: Mapping[str, Any]) -> None:
        """Show the peer's state (Peer.status gives the fields)."""

    def infer(self, results: Sequence[Inference]) -> None:
        """Show what the model says of the newest windows, oldest first."""

    def close(self, status: Mapping[str, Any]) -> None:
        """Show the last state and let go of files and connections. Idempotent."""


class InviteDesk(Protocol):
    """Hears what machines with an invite code ask, and sends answers. All methods return at once."""

    def open(self, keys: Collection[bytes]) -> None:
        """Hear questions on the invites of these public keys, and on no others. Idempotent."""

    def take(self) -> Sequence[tuple[bytes, Question]]:
        """Return what has been asked since, each with the key of its invite: bounded, and repeated if it is lost."""

    def answer(self, key: bytes, question: Question, answers: Iterable[Answer]) -> None:
        """Send answers, as far as there is room: what is lost is asked for again."""


class InviteCaller(Protocol):
    """Asks members, with an invite code, what the swarm is and to be let in. All methods return at once."""

    def ask(self, join: bytes = b"") -> None:
        """Ask for the manifest, or, with a record, to be let in. Questions and answers may be lost: ask again."""

    def take(self) -> Sequence[Answer]:
        """Return what has been answered since."""

    def close(self) -> None:
        """Hear no more. Idempotent."""


class Clock(Protocol):
    """Tells the time of day, and a time that is never set.

    >>> from learnae.adapters.local.clock import SystemClock
    >>> clock = SystemClock()
    >>> clock.now() > clock.uptime()
    True
    """

    def now(self) -> int:
        """Return Unix milliseconds."""

    def uptime(self) -> int:
        """Return milliseconds since the machine started, asleep or not, however the time of day is set."""


def check_block(data: bytes) -> None:
    """Raise LimitError for a block that no store takes."""
    if len(data) > MAX_BLOCK_BYTES:
        raise LimitError(f"a block of {len(data)} bytes", f"at most {MAX_BLOCK_BYTES} are stored")


def name_block(codec: int, data: bytes) -> Cid:
    """Name a block that is to be stored; raises LimitError for one that no store takes."""
    check_block(data)
    return Cid.of(codec, data)


def check_named(cid: Cid, data: bytes) -> None:
    """Raise unless ``data`` is a block that a store takes and that ``cid`` names."""
    check_block(data)
    if not cid.names(data):
        raise EncodingError(f"the bytes of block {cid} are not what its name says")
