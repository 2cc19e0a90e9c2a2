"""Gossip in a directory shared by the peers of one machine.

::

    DIRECTORY/heads/<peer>                          dag-cbor list of links, replaced whole

Files appear by rename, so a reader sees a whole list or none.
"""

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from learnae.error_log import ErrorLog
from learnae.errors import EncodingError, PeerError, StateError
from learnae.ipld import dagcbor
from learnae.ipld.cid import Cid
from learnae.overriding import override
from learnae.ports import Gossip, check_heads
from learnae.protocol.limits import Limits
from learnae.system.atomic_files import read_regular, tidy, write_atomic

_log = logging.getLogger(__name__)

_HEADS_BYTES = 8192  # more than Limits.heads links


class LocalGossip(Gossip):
    """Keeps one file of heads a peer in a directory."""

    def __init__(self, directory: Path, peer: str | None, errors: ErrorLog | None = None) -> None:
        """Announce in the file ``peer``, or only listen for None; damaged files are counted in ``errors``."""
        self._directory = directory / "heads"
        self._directory.mkdir(parents=True, exist_ok=True)
        tidy(self._directory)
        self._own = peer
        self._announced: tuple[Cid, ...] | None = None
        self._seen: dict[str, tuple[int, int]] = {}
        self._errors = errors or ErrorLog()

    @override
    def announce(self, heads: Sequence[Cid]) -> None:
        """Write the own file if something changed."""
        if self._own is None:
            raise StateError("a listener has nothing to announce")
        check_heads(heads)
        if tuple(heads) != self._announced:
            write_atomic(self._directory / self._own, dagcbor.encode(list(heads)), durable=False)
            self._announced = tuple(heads)
            _log.debug("announced %d heads", len(heads))

    @override
    def heard(self) -> Iterable[Sequence[Cid]]:
        """Read the files that changed; a damaged one is counted and passed over.

        Before this peer announces anything, it hears what its last run did, which may be all that it has left.
        """
        announcements = []
        for entry in os.scandir(self._directory):
            is_own = entry.name == self._own and self._announced is not None
            if is_own or entry.name.startswith("."):
                continue
            heads = self._read_if_changed(entry)
            if heads is not None:
                announcements.append(heads)
        return announcements

    def _read_if_changed(self, entry: os.DirEntry[str]) -> Sequence[Cid] | None:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        stamp = (status.st_mtime_ns, status.st_ino)
        if self._seen.get(entry.name) == stamp:
            return None
        try:
            heads = _parse_heads(read_regular(entry.path, _HEADS_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, PeerError) as error:
            self._errors.count(EncodingError(f"heads file {entry.name[:60]!r}: {error}", "it is ignored"))
            heads = ()
        self._seen[entry.name] = stamp
        _log.debug("heard %d heads of %s", len(heads), entry.name)
        return heads


def _parse_heads(data: bytes) -> Sequence[Cid]:
    heads = dagcbor.decode(data, _HEADS_BYTES)
    if not isinstance(heads, list) or not all(isinstance(cid, Cid) for cid in heads):
        raise EncodingError("heads are no list of links")
    return heads[: Limits().heads]
