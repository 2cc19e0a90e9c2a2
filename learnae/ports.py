"""What a peer needs from the world: at most six methods each, one technology per adapter.

Every adapter of a port passes the same contract suite (tests/contract). Guards that do not depend
on the technology (size, hash) are here, not in each adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from learnae.error_log import ErrorLog
from learnae.errors import EncodingError, LimitError
from learnae.ipld.cid import MAX_BLOCK_BYTES, Cid
from learnae.protocol.bodies import Metrics
from learnae.protocol.limits import Limits
from learnae.weights.codecs import Vector


class Traffic:
    """Bytes that this peer has put out for others and taken in from them, in blocks and messages."""

    def __init__(self, bytes_out: int = 0, bytes_in: int = 0) -> None:
        self.bytes_out = bytes_out
        self.bytes_in = bytes_in


class BlockStore(Protocol):
    """Blocks by name. All methods return at once; what is far away is fetched in the background."""

    def put(self, codec: int, data: bytes) -> Cid:
        """Keep a block of at most 1 MiB, durably; its name. Idempotent. Raises LimitError or NotWrittenError."""

    def get(self, cid: Cid) -> bytes:
        """The block's bytes, checked against its name; raises BlockMissingError if it is not here now."""

    def has(self, cid: Cid) -> bool:
        """Whether ``get`` would succeed now."""

    def want(self, cids: Sequence[Cid]) -> None:
        """Ask for blocks that are not here; they may appear later. Idempotent, cheap to repeat."""

    def delete(self, cids: Iterable[Cid], unused_for: int = 0) -> None:
        """Forget blocks; those that are not here are passed over.

        Whoever shares the store may have put or looked for one of them in the last ``unused_for`` ms: that one stays.
        """


class Exchange(Protocol):
    """Carries blocks between machines. Called from worker threads; every call ends within the adapter's timeout.

    Whoever calls checks what comes (``check_named``): an exchange may lie.
    """

    def offer(self, cid: Cid, data: bytes) -> None:
        """Let other machines have this block. Idempotent. Raises TransportError."""

    def fetch(self, cid: Cid) -> bytes:
        """The block's bytes, unchecked. Raises BlockMissingError if nobody has it now, else TransportError."""

    def keep(self, cid: Cid) -> None:
        """What ``fetch`` gave is held here now: an exchange that keeps blocks itself keeps it, as if it was offered.

        Only now: what it keeps and is not held here, another process may let go. Raises TransportError.
        """

    def lacking(self, held: Callable[[], Iterable[Cid]]) -> Iterable[Cid]:
        """Which of the blocks ``held`` here it must be offered; raises TransportError if it cannot be reached.

        Asked at the start, and until it can be reached again whenever it could not. Nothing for an exchange
        that keeps no blocks itself.
        """

    def retract(self, cids: Iterable[Cid]) -> None:
        """These blocks are not needed any more: unpin them. Idempotent. Raises TransportError."""

    def close(self) -> None:
        """Let go of connections; a call under way, and every later one, ends with TransportError. Idempotent."""


class Gossip(Protocol):
    """Heads are state, not events: the next announcement heals any that was lost."""

    def announce(self, heads: Sequence[Cid]) -> None:
        """Let others hear that these are the newest messages known here. Never blocks for long.

        Raises LimitError for more than Limits.heads.
        """

    def heard(self) -> Iterable[Sequence[Cid]]:
        """The heads that others have announced since the last call, each announcement bounded."""

    @property
    def announcements(self) -> int | None:
        """Return how many announcements of other machines were heard so far; None if it links to none."""
        return None


@dataclass(frozen=True, slots=True)
class Trained:
    """What one call of ``train`` did: optimiser steps, training rows at hand, mean loss."""

    steps: int
    rows: int
    loss: float


class Learner(Protocol):
    """Trains one model on this machine's private rows. Weights are one float32 vector (count,)."""

    def weights(self) -> Vector:
        """A copy of the current weights."""

    def load(self, weights: Vector) -> None:
        """Go on from these weights, with the optimiser's state as it is."""

    def train(self, steps: int) -> Trained:
        """Take up to ``steps`` optimiser steps; none without rows."""

    def evaluate(self, weights: Vector) -> Metrics | None:
        """How good ``weights`` are on the held-out rows; None without any."""

    def state(self) -> Mapping[str, NDArray[Any]]:
        """The optimiser's arrays, to be saved."""

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from saved arrays; raises StateError if they do not fit."""


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
    """Where an agent's readings come from."""

    def read(self) -> Samples | None:
        """What has come since the last call, perhaps nothing; None when there will never be more."""


class StateStore(Protocol):
    """A peer's own state: one value, replaced whole."""

    def load(self) -> bytes | None:
        """The last saved state; None if there is none. Raises StateError."""

    def save(self, data: bytes) -> None:
        """Replace the state, durably and atomically."""


@dataclass(frozen=True, slots=True)
class Inference:
    """What the swarm's model says of one window of this machine's own samples.

    ``time`` Unix seconds of the window's end; ``label`` the class name, if there are classes; ``score``
    its probability, the predicted value, or the reconstruction error of an autoencoder.
    """

    time: float
    label: str | None
    score: float


class Monitor(Protocol):
    """Where people watch. No method may raise or wait."""

    def report(self, status: Mapping[str, Any]) -> None:
        """Show the peer's state (Peer.status gives the fields)."""

    def infer(self, results: Sequence[Inference]) -> None:
        """Show what the model says of the newest windows, oldest first."""

    def close(self, status: Mapping[str, Any]) -> None:
        """Show the last state and let go of files and connections. Idempotent."""


class Clock(Protocol):
    """The time of day."""

    def now(self) -> int:
        """Unix milliseconds."""

    def uptime(self) -> int:
        """Milliseconds since the machine started, asleep or not; setting the time of day does not change it."""


@runtime_checkable
class Counting(Protocol):
    """An adapter that meets errors where nobody can catch them, such as in a thread of its own."""

    def count_in(self, problems: ErrorLog) -> None:
        """Count what fails in ``problems`` from now on."""


def check_block(data: bytes) -> None:
    """Raise LimitError for a block that no store takes."""
    if len(data) > MAX_BLOCK_BYTES:
        raise LimitError(f"a block of {len(data)} bytes", f"at most {MAX_BLOCK_BYTES} are stored")


def name_block(codec: int, data: bytes) -> Cid:
    """The name of a block that is to be stored; raises LimitError for one that no store takes."""
    check_block(data)
    return Cid.of(codec, data)


def check_heads(heads: Sequence[Cid]) -> None:
    """Raise LimitError for more heads than an announcement may hold."""
    if len(heads) > Limits().heads:
        raise LimitError(f"{len(heads)} heads", f"at most {Limits().heads} are announced")


def check_named(cid: Cid, data: bytes) -> None:
    """Raise unless ``data`` is a block that a store takes and that ``cid`` names."""
    check_block(data)
    if not cid.names(data):
        raise EncodingError(f"the bytes of block {cid} are not what its name says")
