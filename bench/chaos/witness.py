"""What has ever been seen on any disk: who said what, and what got lost."""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.errors import LearnaeError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.protocol.messages import Envelope

Said = tuple[bytes, int]  # author, number


@dataclass(eq=False)
class Witness:
    """Reads the messages of every disk again and again; one seen once is remembered."""

    said: dict[Said, set[Cid]] = field(default_factory=dict)
    _known: dict[Cid, Said | None] = field(default_factory=dict)

    def look(self, swarm: Path) -> dict[bytes, int]:
        """Read what is new in a swarm's directory; return the highest number of each author there."""
        highest: dict[bytes, int] = {}
        with closing(LocalBlockStore(swarm, read_only=True)) as store:
            for cid in store.cids():
                if cid.codec != DAG_CBOR:
                    continue
                if cid not in self._known:
                    self._known[cid] = _read(store, cid)
                if (said := self._known[cid]) is not None:
                    self.said.setdefault(said, set()).add(cid)
                    highest[said[0]] = max(said[1], highest.get(said[0], 0))
        return highest

    @property
    def newest(self) -> dict[bytes, int]:
        """Return the highest number of each author that was on any disk."""
        found: dict[bytes, int] = {}
        for author, seq in self.said:
            found[author] = max(seq, found.get(author, 0))
        return found

    @property
    def equivocations(self) -> list[Said]:
        """Return what was said twice under one number."""
        return [said for said, cids in self.said.items() if len(cids) > 1]


def _read(store: LocalBlockStore, cid: Cid) -> Said | None:
    with suppress(LearnaeError):  # deleted meanwhile, or no message
        message = Envelope.read(store.get(cid))
        return message.author, message.seq
    return None
