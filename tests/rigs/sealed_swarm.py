"""A sealed swarm: its manifest, and key epochs that the test hands out."""

import hashlib
from collections.abc import Mapping
from typing import Any

from builders import NOTE, Author, tiny_manifest

from learnae.ipld.cid import Cid
from learnae.membership.sealing import Seals, Secrets
from learnae.protocol.messages import Message
from learnae.swarm.manifest import Manifest

# what a manifest of classes and its updates hold, and no random megabyte does: four bytes would be met once in 4,000
WORDS = (b"sparse_categorical", b"kind\x66update", b"accuracy", b"samples")


class SealedManifest(Manifest):
    """A manifest whose swarm is sealed."""

    is_sealed = True


def sealed(manifest: Manifest | None = None) -> SealedManifest:
    """Return a manifest like ``manifest`` (the tiny one) of a sealed swarm."""
    given = manifest or tiny_manifest()
    names = [name for name in given.__dataclass_fields__ if name not in ("model", "only_keras")]
    return SealedManifest(**{name: getattr(given, name) for name in names})


class Ring(Secrets):
    """Key epochs by number; the last one given is the one to seal under."""

    def __init__(self, *epochs: int) -> None:
        self.known: dict[bytes, bytes] = {}
        self.give(*epochs)

    def give(self, *epochs: int) -> None:
        for epoch in epochs:
            self.known.pop(name_of(epoch), None)
            self.known[name_of(epoch)] = hashlib.sha256(b"secret %d" % epoch).digest()

    def current(self) -> tuple[bytes, bytes] | None:
        return next(reversed(self.known.items()), None)

    def secret_of(self, name: bytes) -> bytes | None:
        return self.known.get(name)


def name_of(epoch: int) -> bytes:
    return b"epoch%03d" % epoch


class SealedAuthor(Author):
    """Seals what it says under the ring's newest epoch, or leaves it as it is where it is bytes already."""

    def __init__(self, number: int, swarm: Cid, ring: Ring) -> None:
        super().__init__(number, swarm)
        self.seals = Seals(is_sealed=True, secrets=ring)

    def say(self, *tips: Message, body: Mapping[str, Any] | bytes = NOTE, **options: Any) -> Message:
        if not isinstance(body, bytes):
            body = self.seals.body(self.author, self.next_seq(**options), body)
        return super().say(*tips, body=body, **options)  # type: ignore[arg-type]

    def next_seq(self, seq: int | None = None, previous: Message | None = None, **_: Any) -> int:
        previous = previous or self.last
        return seq if seq is not None else previous.seq + 1 if previous else 0
