"""Observers of long histories: all of it is seen, and nothing is cleaned up before it is."""

import time
from pathlib import Path

import numpy as np
import pytest
from builders import Author, tiny_manifest

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.gossip import LocalGossip
from learnae.cli.commands.keep.blocks import collect_garbage
from learnae.errors import StateError
from learnae.ipld.cid import DAG_CBOR, RAW
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.bodies import Join, Profile, Update
from learnae.protocol.identity import peer_name
from learnae.protocol.messages import Message
from learnae.runtime.observer import Observer
from learnae.swarm.directory import create_swarm
from learnae.weights.codecs import Vector
from learnae.weights.frames import FramePolicy, encode_frame


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path))
    return create_swarm(tiny_manifest()).directory


def history(directory: Path, count: int, author: int = 1) -> list[Message]:
    """``count`` messages of one author that ended an hour ago, with a heads file that names the first and the last."""
    store, start = LocalBlockStore(directory), (int(time.time()) - 3600) * 1000 - 1000 * count
    said = Author(author, tiny_manifest().swarm).chain(count, start)
    for message in said:
        store.put(DAG_CBOR, message.data)
    entry = Entry(said[0].author[:PREFIX_BYTES], said[-1].seq, said[-1].cid, said[0].cid)
    LocalGossip(directory, f"author {author}").announce(Announcement((entry,)))
    return said


@pytest.mark.slow
def test_all_of_a_long_history_is_seen(directory: Path) -> None:
    authors, each = 3, 1000  # more than one pass takes in, and nothing attaches before the second ends
    for number in range(authors):
        history(directory, each, number)
    observer = Observer(directory)
    assert observer.refresh() == authors * each
    assert observer.unseen() == 0
    assert observer.refresh() == authors * each


def test_what_a_checkpoint_replaces_is_not_even_asked_for(directory: Path) -> None:
    store, author = LocalBlockStore(directory), Author(1, tiny_manifest().swarm)
    said = [*author.chain(5), author.say(checkpoint=True), author.say()]
    for message in said:
        store.put(DAG_CBOR, message.data)
    entry = Entry(author.author[:PREFIX_BYTES], said[-1].seq, said[-1].cid, said[-2].cid)
    LocalGossip(directory, "author").announce(Announcement((entry,)))
    observer = Observer(directory)
    assert observer.refresh() == 2
    assert [message.seq for message in observer.messages(100)] == [6, 5]


def test_peers_of_one_name_are_told_apart(directory: Path) -> None:
    store, gossip, swarm = LocalBlockStore(directory), LocalGossip(directory, "all"), tiny_manifest().swarm
    said = [
        Author(number, swarm).say(body=Join(Profile(name, "agent", "1")).to_fields(), checkpoint=True)
        for number, name in enumerate(["ann", "ANN", "bob"])
    ]
    for message in said:
        store.put(DAG_CBOR, message.data)
    gossip.announce(Announcement(tuple(Entry(m.author[:PREFIX_BYTES], m.seq, m.cid, m.cid) for m in said)))
    observer = Observer(directory)
    observer.refresh()
    ann, other, _ = (peer_name(message.author)[:8] for message in said)
    assert sorted(view.shown for view in observer.peers()) == sorted([f"ann#{ann}", f"ANN#{other}", "bob"])
    assert sorted(view.name for view in observer.peers()) == ["ANN", "ann", "bob"]


def test_nothing_of_a_history_whose_past_is_not_here_is_cleaned_up(directory: Path) -> None:
    said = history(directory, 5)
    store = LocalBlockStore(directory)
    lost = said[1]
    store.delete([lost.cid])
    before = set(store.cids())
    with pytest.raises(StateError, match="3 messages here wait for older ones"):
        collect_garbage(directory)
    assert set(store.cids()) == before
    store.put(DAG_CBOR, lost.data)
    assert collect_garbage(directory)["deleted"] == 0


def test_nothing_is_cleaned_up_where_heads_name_only_some_of_the_authors(directory: Path) -> None:
    store, gossip, swarm = LocalBlockStore(directory), LocalGossip(directory, "all"), tiny_manifest().swarm
    said = [Author(number, swarm).say() for number in range(100)]
    for message in said:
        store.put(DAG_CBOR, message.data)
    gossip.announce(Announcement(tuple(Entry(m.author[:PREFIX_BYTES], m.seq, m.cid, m.cid) for m in said[:64])))
    store.close()
    with pytest.raises(StateError, match="more others than they announce"):
        collect_garbage(directory)
    assert len(set(LocalBlockStore(directory).cids())) >= 100


def test_a_head_that_nobody_has_kept_does_not_stop_the_cleaning(directory: Path) -> None:
    said = history(directory, 5)
    store = LocalBlockStore(directory)
    store.delete([message.cid for message in said])
    assert collect_garbage(directory)["deleted"] == 0


def test_what_followers_had_after_each_update_is_decoded(directory: Path) -> None:
    manifest = tiny_manifest()
    store, author = LocalBlockStore(directory), Author(1, manifest.swarm)
    weights, policy = np.arange(manifest.model.count, dtype=np.float32), FramePolicy("f32", "f32")
    replica, base, said, wanted = None, None, list[Message](), list[Vector]()
    for number in range(4):
        frame = encode_frame(weights + np.float32(number), replica, base, policy)
        blocks = tuple(store.put(RAW, block) for block in frame.blocks)
        profile = Profile("ann", "agent", "1") if base is None else None
        body = Update(frame.header, 1, 10, None, (), 0, 0, peer=profile).to_fields()
        said.append(author.say(body=body, blocks=blocks, checkpoint=base is None))
        store.put(DAG_CBOR, said[-1].data)
        replica, base = frame.replica, said[-1].cid
        wanted.append(frame.replica)
    entry = Entry(author.author[:PREFIX_BYTES], said[-1].seq, said[-1].cid, said[0].cid)
    LocalGossip(directory, "author").announce(Announcement((entry,)))
    observer = Observer(directory)
    observer.refresh()
    assert [vector.tolist() for vector in observer.replicas_of(author.author)] == [each.tolist() for each in wanted]
    store.delete([said[2].blocks[0]])
    assert observer.replicas_of(author.author) == [], "nothing is guessed across a gap"
    assert observer.replicas_of(b"another".ljust(32)) == []
