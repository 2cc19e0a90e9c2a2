"""ports.BlockStore that counts: the bytes of blocks that a peer puts out for others and takes in from them."""

from collections.abc import Collection, Iterable, Sequence

from learnae.basics.bounded_dict import BoundedDict
from learnae.basics.overriding import override
from learnae.ipld.cid import MAX_BLOCK_BYTES, RAW, Cid
from learnae.ports import BlockStore, Traffic

_REMEMBERED = 512  # blocks of frames: as many as twenty authors who are heard have between two keyframes


class MeteredStore(BlockStore):
    """Counts in ``traffic`` the blocks that pass through to ``store``; not those named ``uncounted``.

    A peer gets a message or frame when it takes it in, and puts what it says: each once. Frames are got again where an
    author is followed again: of the newest, that counts only after they were deleted. The weights that a swarm starts
    from are read and put again at every start, so they are left out.
    """

    def __init__(self, store: BlockStore, traffic: Traffic, uncounted: Collection[Cid] = ()) -> None:
        self._store = store
        self._traffic = traffic
        self._uncounted = frozenset(uncounted)
        self._taken = BoundedDict[Cid, None](_REMEMBERED)

    @override
    def put(self, codec: int, data: bytes) -> Cid:
        cid = self._store.put(codec, data)
        if cid not in self._uncounted:
            self._traffic.bytes_out += len(data)
        return cid

    @override
    def get(self, cid: Cid) -> bytes:
        data = self._store.get(cid)
        if cid not in self._uncounted and cid not in self._taken:
            self._traffic.bytes_in += len(data)
            if cid.codec == RAW:
                self._taken[cid] = None
        return data

    @override
    def has(self, cid: Cid) -> bool:
        return self._store.has(cid)

    @override
    def want(self, cids: Sequence[Cid], most: int = MAX_BLOCK_BYTES, origin: str = "") -> None:
        self._store.want(cids, most, origin)

    @override
    def cids(self) -> Iterable[Cid]:
        return self._store.cids()

    @override
    def delete(self, cids: Iterable[Cid], unused_for: int = 0) -> None:
        names = list(cids)
        self._store.delete(names, unused_for)
        for cid in names:
            self._taken.pop(cid, None)

    @override
    def refuse(self, cid: Cid) -> None:
        self._store.refuse(cid)
