"""Peers of one machine forget what is old in a directory that others use, too."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
from builders import tiny_manifest
from machine import DAY, Machine

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.ipld.cid import RAW
from learnae.models.dataset import Dataset


class Resident(Machine):
    """A peer whose blocks are in a directory that it shares; its clock is its own."""

    def __init__(self, directory: Path, number: int, data: Dataset | None = None) -> None:
        super().__init__(number, data=data)
        self.store = LocalBlockStore(directory)  # type: ignore[assignment]
        self.boot()

    def hear_of(self, other: Resident) -> None:
        self.host.inbox.append(other.peer.tangle.heads())


def nothing() -> Dataset:
    manifest = tiny_manifest()
    return Dataset(manifest.model, manifest.objective)


def a_day_passes(directory: Path, *residents: Resident) -> None:
    for path in directory.rglob("b*"):
        if path.is_file():
            os.utime(path, (time.time() - DAY / 1000,) * 2)
    for each in residents:
        each.clock.time += DAY + 1000


def test_a_block_that_another_has_just_put_again_is_not_pruned(tmp_path: Path) -> None:
    one, other = Resident(tmp_path, 1), Resident(tmp_path, 2, nothing())
    one.tick(2)
    other.hear_of(one)
    other.tick()
    again, unused = (cid for cid in one.store.held() if cid.codec == RAW)
    a_day_passes(tmp_path, one, other)
    data = one.store.get(again)
    assert one.store.put(RAW, data) == again  # equal frames are one block

    other.tick(2)

    assert not one.store.has(unused)
    assert one.store.get(again) == data


def test_who_was_silent_for_longer_than_the_horizon_says_again_what_it_goes_on_from(tmp_path: Path) -> None:
    silent, other, third = Resident(tmp_path, 1, nothing()), Resident(tmp_path, 2), Resident(tmp_path, 3)
    silent.tick()
    other.hear_of(silent)
    other.tick(2)
    a_day_passes(tmp_path, silent, other, third)
    other.tick(2)
    (joined,) = silent.peer.tangle.cids()
    assert not other.store.has(joined), "it was pruned"

    silent.data.add(np.ones((4, 2)), np.ones(4))
    silent.tick()
    third.clock.time = silent.clock.time
    third.hear_of(silent)
    third.tick()

    assert silent.peer.status()["seq"] == 2, "its name once more, and an update"
    assert third.peer.tangle.newest_of(silent.peer.author) == silent.peer.tangle.newest_of(silent.peer.author)
