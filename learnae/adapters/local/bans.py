"""Bans on this machine: a file each in the swarm's directory, which all its peers here read. No lock is needed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from learnae.errors import EncodingError, LearnaeError, StateError
from learnae.ipld import dagcbor
from learnae.ipld.fields import Fields
from learnae.protocol.identity import author_of_name, peer_name
from learnae.system.atomic_files import read_regular, write_atomic, writing
from learnae.system.paths import BANS, entries
from learnae.system.private_files import make_directory

MOST_BANS = 1024  # on one machine: more files are not looked at
_FORMAT = 1
BAN_BYTES = 4096  # of a file
_WHY_CHARACTERS = 160


@dataclass(frozen=True, slots=True)
class Ban:
    """Why a peer is left out on this machine, ``since`` when (Unix ms).

    ``unmerge`` if people want what it has taught to go, too; ``proof`` if a peer of this machine has seen one.
    """

    since: int
    why: str
    unmerge: bool = False
    proof: bool = False

    def to_bytes(self) -> bytes:
        """Return the file's bytes."""
        why = "".join(character if character.isprintable() else "?" for character in self.why)
        return dagcbor.encode(
            {
                "v": _FORMAT,
                "since": self.since,
                "why": why[:_WHY_CHARACTERS],
                "unmerge": self.unmerge,
                "proof": self.proof,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Ban:
        """Read what ``to_bytes`` wrote; raises LearnaeError."""
        fields = Fields(dagcbor.decode(data), "ban", StateError)
        fields.integer("v", _FORMAT, _FORMAT)
        why = fields.text("why", _WHY_CHARACTERS)
        return cls(fields.integer("since"), why, fields.boolean("unmerge"), fields.boolean("proof"))


class Bans:
    """The bans in a swarm's ``directory``, by author. Several processes may write at once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / BANS
        self._seen: dict[str, tuple[tuple[int, int], Ban]] = {}  # by file: what tells whether it has changed

    def read(self) -> Mapping[bytes, Ban]:
        """Return what is banned now. A file that cannot be read bans all the same; raises StateError without access."""
        bans, seen = dict[bytes, Ban](), dict[str, tuple[tuple[int, int], Ban]]()
        for path in entries(self._directory)[:MOST_BANS]:
            name = path.name
            try:
                author, status = author_of_name(name), path.lstat()
            except (EncodingError, OSError):  # not ours, or lifted since
                continue
            known, key = self._seen.get(name), (status.st_ino, status.st_mtime_ns)
            seen[name] = known if known and known[0] == key else (key, self._ban(name))
            bans[author] = seen[name][1]
        self._seen = seen
        return bans

    def put(self, author: bytes, ban: Ban) -> None:
        """Ban an author, or change why; raises NotWrittenError."""
        with writing(self._directory):
            make_directory(self._directory)
        write_atomic(self._directory / peer_name(author), ban.to_bytes())

    def lift(self, author: bytes) -> None:
        """End a ban; raises NotWrittenError."""
        path = self._directory / peer_name(author)
        with writing(path):
            path.unlink(missing_ok=True)

    def _ban(self, name: str) -> Ban:
        try:
            return Ban.from_bytes(read_regular(self._directory / name, BAN_BYTES))
        except (OSError, LearnaeError) as error:
            return Ban(int(1000 * time.time()), f"its file cannot be read: {error}")
