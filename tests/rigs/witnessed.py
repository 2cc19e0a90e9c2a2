"""What a process was about to show before it was killed."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.basics.overriding import override
from learnae.ipld.cid import DAG_CBOR, Cid


class Witnessed(LocalBlockStore):
    """Says in ``log`` which messages are about to be shown; blocks age ``haste`` times as fast."""

    def __init__(self, directory: Path, log: Path, haste: int = 1) -> None:
        super().__init__(directory)
        self._log, self._haste = log.open("ab", buffering=0), haste

    @override
    def put(self, codec: int, data: bytes) -> Cid:
        if codec == DAG_CBOR:
            self._log.write(len(data).to_bytes(4) + data)
        return super().put(codec, data)

    @override
    def delete(self, cids: Iterable[Cid], unused_for: int = 0) -> None:
        super().delete(cids, unused_for // self._haste)


def witnessed(log: Path) -> Iterator[bytes]:
    """Each message that was ever about to be shown; the last one may be cut."""
    data, place = log.read_bytes() if log.exists() else b"", 0
    while len(data) >= (end := place + 4 + int.from_bytes(data[place : place + 4])) > place + 4:
        yield data[place + 4 : end]
        place = end
