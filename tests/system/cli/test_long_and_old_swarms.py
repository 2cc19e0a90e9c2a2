"""What people see of swarms of any size and age: two thousand messages, silent for up to a month.

Nightly: ten thousand.
"""

import time
from pathlib import Path

import pytest
from block_rows import age
from builders import Author, tiny_manifest
from machine import frame_of, update_of
from nightly import how_many
from programs import Programs, assert_refused

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.gossip import LocalGossip
from learnae.ipld.cid import DAG_CBOR, RAW
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.swarm.manifest import Manifest
from learnae.system.service import EXIT_CONFIGURATION

EACH = 1000  # messages of one author on its checkpoint; Limits.since allows 1,024
HOUR, DAY = 3600, 86_400


def fill(directory: Path, manifest: Manifest, count: int, silent: float) -> int:
    """Let authors say ``count`` messages in all, the last ``silent`` seconds ago; return how many authors there are."""
    store, entries = LocalBlockStore(directory), list[Entry]()
    ended = int((time.time() - silent) * 1000)
    for number in range(-(-count // EACH)):
        author, length = Author(number, manifest.swarm), min(EACH, count - number * EACH)
        frame = frame_of(number, 2, 3)
        said = [
            update_of(author, frame, time=ended - 1000 * length),
            *author.chain(length - 1, ended - 1000 * length + 1000),
        ]
        store.put(RAW, frame)
        for message in said:
            store.put(DAG_CBOR, message.data)
        entries.append(Entry(author.author[:PREFIX_BYTES], said[-1].seq, said[-1].cid, said[0].cid))
    if entries:
        LocalGossip(directory, "any").announce(Announcement(tuple(entries)))
    store.close()
    return len(entries)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "silent"),
    [(0, 0), (1, 0), (1, 25 * HOUR), (1, 30 * DAY), (2049, 25 * HOUR), (10_000, 0)][: how_many(5, 6)],
)
def test_all_of_it_is_seen_exported_and_kept(programs: Programs, count: int, silent: float) -> None:
    manifest = tiny_manifest()
    directory = programs.add_swarm(manifest)
    authors = fill(directory, manifest, count, silent)

    peers = programs.answer("learnae", "peers")
    assert sum(peer["seq"] + 1 for peer in peers) == count
    assert [peer["banned"] for peer in peers] == [False] * authors
    assert len(programs.answer("learnae", "log", "-n", 2 * count + 1)) == count
    assert len(programs.answer("learnae", "watch", "--rounds", 1)) == authors

    file = programs.root / "model.safetensors"
    if count:
        assert programs.answer("learnae", "export", file)["parameters"] == manifest.model.count
    else:
        assert_refused(programs.run("learnae", "export", file), EXIT_CONFIGURATION, "no peer has published weights")

    blocks = programs.answer("learnae", "blocks", "--list")
    assert len(blocks) == count + authors
    assert not [block for block in blocks if block["what"] == "not needed"]
    age(directory)
    assert programs.answer("learnae", "blocks", "--gc") == {"deleted": 0, "bytes freed": 0}
    assert programs.answer("learnae", "peers") == peers
