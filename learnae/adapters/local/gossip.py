"""Gossip in a directory shared by the peers of one machine.

::

    DIRECTORY/heads/<peer>                          an announcement, replaced whole

Files appear by rename, so a reader sees a whole one or none. All read what an author says of itself: a file is not
written again, and read by all others, because of that.
"""

import logging
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

from learnae.basics.error_log import ErrorLog
from learnae.basics.overriding import override
from learnae.errors import EncodingError, LimitError, PeerError, StateError
from learnae.ports import Gossip, Heard
from learnae.protocol.announcements import MAX_BYTES, PREFIX_BYTES, Announcement, Entry
from learnae.protocol.identity import author_of_name
from learnae.protocol.neighbourhood.interest import EVERYBODY, Interest
from learnae.system.atomic_files import read_regular, tidy, write_atomic
from learnae.system.private_files import check_unwritable, make_directory

_log = logging.getLogger(__name__)

_FILES = 1024  # more than members a swarm can have
_SCANNED = 4096  # names that are looked at
_FEW = 64  # files that are all read: one of them may be of the only peer that hears other machines


class LocalGossip(Gossip):
    """Keeps one file a peer in a directory."""

    def __init__(
        self,
        directory: Path,
        peer: str | None,
        errors: ErrorLog | None = None,
        admits: Callable[[bytes], bool] = lambda _: True,
    ) -> None:
        """Announce in the file ``peer``, or only listen for None; damaged files are counted in ``errors``.

        Files that are called as a key which ``admits`` refuses are passed over. Raises StateError if others may write
        there, or if it is a link.
        """
        self._directory = directory / "heads"
        if self._directory.is_symlink():
            raise StateError(f"{self._directory} is a link, which is not followed", "put a directory there")
        make_directory(self._directory)
        check_unwritable(self._directory)
        tidy(self._directory)
        self._own = peer
        self._announced: Announcement | None = None  # but for what others have said of themselves
        self._told: dict[str, Entry] = {}  # by file: what its owner says of itself
        self._seen: dict[str, tuple[int, int]] = {}
        self._errors = errors or ErrorLog()
        self._admits = admits
        self._interest = EVERYBODY
        self._is_crowded = False

    @override
    def attend(self, interest: Interest) -> bool:
        self._interest = interest
        return True

    @override
    def announce(self, announcement: Announcement) -> None:
        """Write the own file if something changed that the other files do not tell."""
        if self._own is None:
            raise StateError("a listener has nothing to announce")
        news = self._news(announcement)
        if news != self._announced:
            write_atomic(path := self._directory / self._own, news.to_bytes(), durable=False)
            self._announced = news
            with suppress(FileNotFoundError):
                self._seen[self._own] = _stamp(path.stat(follow_symlinks=False))
            _log.debug("announced %d authors", len(announcement.entries))

    def _news(self, announcement: Announcement) -> Announcement:
        """Return what not all who read here know from the authors themselves."""
        if self._is_crowded:
            return announcement
        told = {entry.author: entry for name, entry in self._told.items() if name != self._own}
        entries = (entry for entry in announcement.entries if not _is_told(entry, told.get(entry.author)))
        return replace(announcement, entries=tuple(entries))

    @override
    def heard(self) -> Iterable[Heard]:
        """Read the files that changed; a damaged one is counted and passed over.

        Before this peer announces anything, it hears what its last run did, which may be all that it has left. Later
        another process that has its key may write its file: it hears that, too, and learns of the fork.
        """
        found = []
        for entry in self._entries():
            announcement = self._read_if_changed(entry)
            if announcement is not None:
                found.append(Heard(entry.name, announcement))
        return found

    def _entries(self) -> list[os.DirEntry[str]]:
        """Return at most 1,024 files to look at, those that are known first."""
        with os.scandir(self._directory) as scan:
            entries = [entry for entry in islice(scan, _SCANNED) if not entry.name.startswith(".")]
        if len(entries) > _FILES:
            entries.sort(key=lambda entry: entry.name not in self._seen)
            problem = f"{self._directory} holds more than {_FILES:,} files"
            self._errors.count(LimitError(problem, "the others are not read: remove those of peers that are gone"))
        self._is_crowded = len(entries) > _FEW
        for name in self._told.keys() - {entry.name for entry in entries}:
            del self._told[name]
        return entries[:_FILES]

    def _is_admitted(self, name: str) -> bool:
        try:
            author = author_of_name(name)
            is_near = not self._is_crowded or name == self._own or self._interest.admits(author)
            return is_near and self._admits(author)
        except EncodingError:  # of what is no peer, such as the one with the records of members
            return True

    def _read_if_changed(self, entry: os.DirEntry[str]) -> Announcement | None:
        try:
            stamp = _stamp(entry.stat(follow_symlinks=False))
        except FileNotFoundError:
            return None
        if self._seen.get(entry.name) == stamp or not self._is_admitted(entry.name):
            return None
        try:
            announcement = Announcement.from_bytes(read_regular(entry.path, MAX_BYTES, follow=False))
        except FileNotFoundError:
            return None
        except (OSError, PeerError) as error:
            self._errors.count(EncodingError(f"heads file {entry.name[:60]!r}: {error}", "it is ignored"))
            announcement = Announcement()
        self._seen[entry.name] = stamp
        self._note_told(entry.name, announcement)
        _log.debug("heard %d authors of %s", len(announcement.entries), entry.name)
        return announcement

    def _note_told(self, name: str, announcement: Announcement) -> None:
        self._told.pop(name, None)
        with suppress(EncodingError):
            author = author_of_name(name)[:PREFIX_BYTES]
            self._told.update((name, entry) for entry in announcement.entries if entry.author == author)


def _is_told(entry: Entry, told: Entry | None) -> bool:
    return told is not None and (told.seq > entry.seq or told == entry)


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_mtime_ns, status.st_ino
