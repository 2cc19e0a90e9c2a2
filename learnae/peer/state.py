"""What a peer must not forget: the last message it signed, its replica, weights and optimiser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import LearnaeError, StateError
from learnae.ipld import dagcbor
from learnae.ipld.cid import Cid
from learnae.ipld.fields import Fields
from learnae.peer.learning.versions import pack_authors, unpack_authors
from learnae.system.sealed_arrays import DamagedArraysError, open_arrays, seal_arrays
from learnae.weights.codecs import Vector

VERSION = 1
_MEMBER = "learner/"
_COUNTS = (
    "key_bytes", "key_time", "since_bytes", "since_updates", "samples", "time", "steps", "bytes_out", "bytes_in",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PeerState:
    """Sums up the state of all parts. Saved before a message is shown, so that no seq is ever used twice.

    ``message`` is the last signed message (its block's bytes), ``body`` what it says (dag-cbor) where it is sealed. On
    the last ``update`` the next delta stands; ``replica`` (count,) is what others have decoded at it, ``samples`` and
    ``time`` (Unix milliseconds) are its weight in a merge. FrameEncoder counts what came since the last keyframe.
    ``sums`` is where it stands with masked sums (Standing), empty where there are none; ``held`` are the authors whose
    weights have gone into its own.
    """

    swarm: Cid
    message: bytes
    update: Cid | None
    key_bytes: int
    key_time: int
    since_bytes: int
    since_updates: int
    samples: int
    time: int
    steps: int
    bytes_out: int
    bytes_in: int
    weights: Vector
    replica: Vector | None
    estimate: Vector
    learner: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    body: bytes = b""
    sums: bytes = b""
    held: frozenset[bytes] = frozenset()

    def to_bytes(self) -> bytes:
        """Return the sha2-256 of the rest, then arrays: a dag-cbor header, and what it is about."""
        return b"".join(self.to_pieces())

    def to_pieces(self) -> list[bytes | memoryview]:
        """Return what ``to_bytes`` does, in pieces: most are the arrays' own memory."""
        header = {
            "v": VERSION,
            "swarm": self.swarm,
            "message": self.message,
            "body": self.body,
            "sums": self.sums,
            "held": pack_authors(self.held),
            "update": self.update,
            **{name: getattr(self, name) for name in _COUNTS},
        }
        arrays: dict[str, NDArray[Any]] = {
            "header": np.frombuffer(dagcbor.encode(header), np.uint8),
            "weights": self.weights,
            "estimate": self.estimate,
        }
        if self.replica is not None:
            arrays["replica"] = self.replica
        arrays.update({_MEMBER + name: array for name, array in self.learner.items()})
        return seal_arrays(arrays)

    @classmethod
    def from_bytes(cls, data: bytes) -> PeerState:
        """Read what ``to_bytes`` wrote; raises StateError for anything else."""
        try:
            return cls._from_arrays(open_arrays(data))
        except (DamagedArraysError, ValueError, KeyError, LearnaeError) as error:
            remedy = "move the state file away: the peer then continues its chain from what others hold of it"
            raise StateError(f"the saved state is damaged: {error}", remedy) from error

    @classmethod
    def read(cls, path: Path) -> PeerState:
        """Read the state in a file; raises OSError, and StateError that names it."""
        try:
            return cls.from_bytes(path.read_bytes())
        except StateError as error:
            raise StateError(f"{path}: {error.problem}", error.remedy) from error

    @classmethod
    def _from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> PeerState:
        fields = Fields(dagcbor.decode(arrays["header"].tobytes()), "state", StateError)
        if fields.integer("v") != VERSION:
            raise StateError(f"a state of version {fields.integer('v')}", "use the learnae that wrote it")
        messages = {name: fields.value(name) for name in ("message", "body", "sums")}
        for name, message in messages.items():
            if not isinstance(message, bytes):
                raise fields.error(name, message, "bytes")
        counts: dict[str, Any] = {name: fields.integer(name) for name in _COUNTS}
        return cls(
            swarm=fields.link("swarm"),
            update=fields.optional_link("update"),
            weights=_vector(arrays["weights"]),
            replica=_vector(arrays["replica"]) if "replica" in arrays else None,
            estimate=_vector(arrays["estimate"]),
            held=unpack_authors(fields.value("held")),
            learner={name[len(_MEMBER) :]: array for name, array in arrays.items() if name.startswith(_MEMBER)},
            **messages,
            **counts,
        )


def _vector(array: NDArray[Any]) -> Vector:
    return array.astype(np.float32, copy=False)
