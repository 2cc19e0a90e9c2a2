"""Observers of long histories: all of it is seen, and nothing is cleaned up before it is."""

import time
from pathlib import Path

import pytest
from builders import Author, tiny_manifest

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.gossip import LocalGossip
from learnae.cli.commands.keep.blocks import collect_garbage
from learnae.errors import StateError
from learnae.ipld.cid import DAG_CBOR
from learnae.protocol.messages import Message
from learnae.runtime.observer import Observer
from learnae.swarm.directory import create_swarm


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path))
    return create_swarm(tiny_manifest()).directory


def history(directory: Path, count: int) -> list[Message]:
    """``count`` messages of one author that ended an hour ago, with a heads file that names the last."""
    store, start = LocalBlockStore(directory), (int(time.time()) - 3600) * 1000 - 1000 * count
    said = Author(1, tiny_manifest().swarm).chain(count, start)
    for message in said:
        store.put(DAG_CBOR, message.data)
    LocalGossip(directory, "author").announce([said[-1].cid])
    return said


@pytest.mark.slow
def test_all_of_a_long_history_is_seen(directory: Path) -> None:
    count = 4_300  # two passes and a bit, and more than the waiting room holds
    history(directory, count)
    observer = Observer(directory)
    assert observer.refresh() == count
    assert observer.unseen() == 0
    assert observer.refresh() == count


def test_nothing_of_a_history_whose_past_is_not_here_is_cleaned_up(directory: Path) -> None:
    said = history(directory, 5)
    store = LocalBlockStore(directory)
    lost = said[1]
    store.delete([lost.cid])
    before = set(store.held())
    with pytest.raises(StateError, match="3 messages here wait for older ones"):
        collect_garbage(directory)
    assert set(store.held()) == before
    store.put(DAG_CBOR, lost.data)
    assert collect_garbage(directory)["deleted"] == 0


def test_a_head_that_nobody_has_kept_does_not_stop_the_cleaning(directory: Path) -> None:
    said = history(directory, 5)
    store = LocalBlockStore(directory)
    store.delete([message.cid for message in said])
    assert collect_garbage(directory)["deleted"] == 0
