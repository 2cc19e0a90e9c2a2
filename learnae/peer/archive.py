"""An archive: keeps every message and frame, also those that a checkpoint has replaced before they were taken in."""

from collections.abc import Iterable

from learnae.basics.bounded_dict import BoundedDict
from learnae.basics.error_log import ErrorLog
from learnae.errors import BlockMissingError, PeerError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.peer.replication import Opener
from learnae.ports import BlockStore
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message

_COMING = 65_536  # names of blocks that are still to come: a swarm's last minute
_COMING_MS = 3_600_000  # in which they may come: other peers forget within minutes, and other archives may be away


class Archive:
    """Fetches what each message continues, and all frames, while others still hold them."""

    def __init__(self, swarm: Cid, store: BlockStore, limits: Limits, errors: ErrorLog, opener: Opener) -> None:
        self._swarm = swarm
        self._store = store
        self._limits = limits
        self._errors = errors
        self._opener = opener
        self._coming = BoundedDict[Cid, int](_COMING)  # since when (uptime)

    def collect(self, attached: Iterable[Message], uptime: int) -> None:
        """Ask for what the ``attached`` messages name, and take what has come of it; give up what is lost.

        ``uptime`` is in milliseconds.
        """
        for cid in [cid for cid, since in self._coming.items() if uptime - since > _COMING_MS]:
            del self._coming[cid]
        for message in attached:
            self._note(message, uptime)
        come = [cid for cid in self._coming if self._store.has(cid)]
        while come:
            for cid in come:
                del self._coming[cid]
                self._read(cid, uptime)
            come = [cid for cid in self._coming if self._store.has(cid)]
        self._store.want(list(self._coming))

    def _read(self, cid: Cid, uptime: int) -> None:
        if cid.codec != DAG_CBOR:
            return
        try:
            self._note(self._opener(self._store.get(cid), self._swarm, self._limits), uptime)
        except (BlockMissingError, PeerError) as error:
            self._errors.count(error)

    def _note(self, message: Message, uptime: int) -> None:
        for cid in (*([message.previous] if message.previous else []), *message.blocks):
            if not self._store.has(cid):
                self._coming.setdefault(cid, uptime)
