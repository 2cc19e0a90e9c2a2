"""Forgetting: what checkpoints have replaced leaves the disk, and so does what no message names; records stay."""

from collections.abc import Collection

from learnae.ipld.cid import Cid
from learnae.membership.gate import Gate
from learnae.ports import BlockStore, Clock
from learnae.protocol.tangle import Tangle

_LOOK_MS = 5_000  # between two looks through all authors
_SWEEP_MS = 600_000  # between two looks for blocks that nothing names: what came too late, or was never taken in


class Forgetting:
    """Deletes blocks of ``store`` that ``tangle`` needs no more, but none ``protected``, and none of an archive."""

    def __init__(
        self,
        tangle: Tangle,
        store: BlockStore,
        clock: Clock,
        protected: Collection[Cid],
        is_archive: bool,
        gate: Gate | None = None,
    ) -> None:
        self._tangle = tangle
        self._store = store
        self._clock = clock
        self._protected = frozenset(protected)
        self._is_archive = is_archive
        self._gate = gate or Gate()
        self._swept = clock.uptime()
        self._looked: int | None = None
        self.unused_for = _SWEEP_MS  # that a block of others must be before it goes, as another process may need it

    def forget(self, own: Cid | None) -> None:
        """Forget what a checkpoint has replaced; not ``own``, the own last message."""
        uptime = self._clock.uptime()
        if self._looked is not None and 0 <= uptime - self._looked < _LOOK_MS:
            return
        self._looked = uptime
        self._delete(self._tangle.forget(self._clock.now(), uptime), own)
        if self._is_archive:
            return
        if self._clock.uptime() - self._swept >= _SWEEP_MS:
            self._swept = self._clock.uptime()
            self._sweep(own)

    def let_go(self, own: Cid | None) -> None:
        """Delete what was refused or displaced since the last call; not ``own``, the own last message."""
        self._delete(self._tangle.let_go(), own)

    def _delete(self, gone: list[Cid], own: Cid | None) -> None:
        if gone and not self._is_archive:
            self._store.delete([cid for cid in gone if not self._stays(cid) and cid != own])

    def _sweep(self, own: Cid | None) -> None:
        needed = self._tangle.needed().union([own] if own else [])
        unneeded = [cid for cid in self._store.cids() if cid not in needed and not self._stays(cid)]
        self._store.delete(unneeded, unused_for=self.unused_for)

    def _stays(self, cid: Cid) -> bool:
        return cid in self._protected or cid in self._gate
