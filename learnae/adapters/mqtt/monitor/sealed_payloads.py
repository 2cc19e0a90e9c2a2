"""What a peer shows in a sealed swarm: 8 bytes of time (Unix ms, big-endian), then the payload, sealed (docs/mqtt.md).

Time and channel stand where a message has its seq and the number of a block, so none can be taken for another.
"""

from learnae.errors import EncodingError
from learnae.membership.sealing import Secrets, open_sealed, seal

CHANNELS = ("state", "metrics", "inference", "log")
_FIRST_INDEX = 1 << 31  # no frame has so many blocks
_TIME_BYTES = 8


def seal_payload(epoch: tuple[bytes, bytes], author: bytes, now: int, channel: str, payload: bytes) -> bytes:
    """Seal what ``author`` shows on ``channel`` at ``now`` (Unix ms) under an ``epoch``: its name, its secret."""
    name, secret = epoch
    return now.to_bytes(_TIME_BYTES) + seal(secret, name, author, now, _index(channel), payload)


def open_payload(secrets: Secrets, author: bytes, channel: str, data: bytes) -> bytes:
    """Return what was sealed; raises SealError, UnknownEpochError without its secret, or EncodingError."""
    if len(data) <= _TIME_BYTES or channel not in CHANNELS:
        raise EncodingError(f"{len(data)} bytes are no sealed payload", "they are ignored")
    time = int.from_bytes(data[:_TIME_BYTES])
    return bytes(open_sealed(secrets, author, time, _index(channel), data[_TIME_BYTES:]))


def _index(channel: str) -> int:
    return _FIRST_INDEX + CHANNELS.index(channel)
