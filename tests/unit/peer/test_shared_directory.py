"""Peers of one machine forget what is old in a directory that others use, too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from builders import tiny_manifest
from machine import DAY, Machine

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.ipld.cid import Cid
from learnae.models.dataset import Dataset
from learnae.ports import Heard
from learnae.protocol.announcements import Announcement
from learnae.protocol.limits import MINUTE


class Resident(Machine):
    """A peer whose blocks are in a directory that it shares; its clock is its own."""

    def __init__(self, directory: Path, number: int, data: Dataset | None = None) -> None:
        super().__init__(number, data=data)
        self.store = LocalBlockStore(directory)  # type: ignore[assignment]
        self.boot()

    def hear_of(self, other: Resident) -> None:
        entries = tuple(entry for _, entry in other.peer.tangle.entries())
        self.host.inbox.append(Heard(str(other.host), Announcement(entries)))


def nothing() -> Dataset:
    manifest = tiny_manifest()
    return Dataset(manifest.model, manifest.objective)


def test_what_one_forgets_is_what_no_other_needs(tmp_path: Path) -> None:
    one, other = Resident(tmp_path, 1), Resident(tmp_path, 2)
    for second in range(90):
        for each in (one, other) if second % 7 else (other, one):
            each.tick()
        one.hear_of(other)
        other.hear_of(one)
    held = set(one.store.cids())
    for each in (one, other):
        assert newest_blocks(each) <= held
        assert len(each.peer.following.replicas) == 1
        assert each.problems() == {}
    assert len(held) < 4 * 90, "a message and a frame a second each"


def newest_blocks(resident: Resident) -> set[Cid]:
    """What a newcomer would fetch: of each author the newest message and its checkpoint, with their frames."""
    tangle = resident.peer.tangle
    names = {cid for _, entry in tangle.entries() for cid in (entry.head, entry.checkpoint)}
    return {block for node in map(tangle.node, names) for block in (node.cid, *node.blocks)}


def test_who_was_silent_for_longer_than_the_horizon_comes_back_with_a_checkpoint(tmp_path: Path) -> None:
    silent, other, third = Resident(tmp_path, 1), Resident(tmp_path, 2), Resident(tmp_path, 3)
    silent.tick(4)
    other.hear_of(silent)
    other.tick(2)
    before = newest_blocks(silent)
    assert before < newest_blocks(other)
    for each in (silent, other, third):
        each.clock.time += DAY + MINUTE
    other.tick(2)
    assert before.isdisjoint(other.store.cids()), "it was forgotten"

    silent.tick()
    third.clock.time = silent.clock.time
    third.hear_of(silent)
    third.tick()

    assert silent.peer.status()["seq"] == 5
    head = silent.peer.tangle.newest_of(silent.peer.author)
    assert third.peer.tangle.newest_of(silent.peer.author) == head
    assert silent.peer.author in third.peer.following.replicas
    assert np.isfinite(third.peer.estimate()).all()
