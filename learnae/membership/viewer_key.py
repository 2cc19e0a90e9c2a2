"""A viewer key: what lets people see a sealed swarm, without being members. A text file; pure.

It holds the swarm's id, the name of the place where the swarm meets, and the secrets of key epochs: those that were
known when it was made. Who has it reads what members say and show in these epochs, and can say nothing.

>>> from learnae.ipld.cid import DAG_CBOR
>>> key = ViewerKey(Cid.of(DAG_CBOR, b"manifest"), "a" * 26, {bytes(8): bytes(32)})
>>> ViewerKey.parse(key.to_text()) == key
True
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from learnae.basics.overriding import override
from learnae.errors import ConfigurationError, EncodingError
from learnae.ipld.cid import Cid
from learnae.membership.sealing import SECRET_BYTES, Secrets
from learnae.protocol.bodies import EPOCH_NAME_BYTES

_FIRST_LINE = "learnae viewer key 1"
_MEETING = re.compile("[a-z2-7]{26}")
_EPOCH = re.compile(f"([0-9a-f]{{{2 * EPOCH_NAME_BYTES}}}) ([0-9a-f]{{{2 * SECRET_BYTES}}})")
MAX_EPOCHS = 4096
MAX_BYTES = 128 * MAX_EPOCHS  # of the file
_REMEDY = "make it again: learnae members --viewer-key FILE"


@dataclass(frozen=True, slots=True)
class ViewerKey(Secrets):
    """Opens what the ``swarm`` says and shows at its ``meeting`` place; ``epochs`` are secrets (32 bytes) by name."""

    swarm: Cid
    meeting: str
    epochs: Mapping[bytes, bytes] = field(repr=False)

    @override
    def current(self) -> tuple[bytes, bytes] | None:
        return None

    @override
    def secret_of(self, name: bytes) -> bytes | None:
        return self.epochs.get(name)

    def to_text(self) -> str:
        """Return the file's text."""
        epochs = [f"epoch {name.hex()} {secret.hex()}" for name, secret in sorted(self.epochs.items())]
        return "\n".join([_FIRST_LINE, f"swarm {self.swarm}", f"meeting {self.meeting}", *epochs, ""])

    @classmethod
    def parse(cls, text: str) -> ViewerKey:
        """Read a file's text; raises ConfigurationError, which names the line and none of the secrets."""
        lines = text.splitlines()
        if not lines or lines[0].strip() != _FIRST_LINE:
            raise ConfigurationError(f"it does not begin with the line {_FIRST_LINE!r}", _REMEDY)
        swarm, meeting, epochs = None, "", dict[bytes, bytes]()
        for number, line in enumerate(lines[1:], 2):
            word, _, rest = line.strip().partition(" ")
            try:
                if word == "swarm":
                    swarm = Cid.parse(rest)
                elif word == "meeting" and _MEETING.fullmatch(rest):
                    meeting = rest
                elif word == "epoch" and (found := _EPOCH.fullmatch(rest)) and len(epochs) < MAX_EPOCHS:
                    epochs[bytes.fromhex(found[1])] = bytes.fromhex(found[2])
                elif word:
                    raise EncodingError("")
            except EncodingError as error:
                raise ConfigurationError(f"line {number} is no line of a viewer key", _REMEDY) from error
        if swarm is None or not meeting or not epochs:
            raise ConfigurationError("it has no line of a swarm, of a meeting or of an epoch", _REMEDY)
        return cls(swarm, meeting, epochs)
