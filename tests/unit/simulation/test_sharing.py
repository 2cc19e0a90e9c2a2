"""A simulated swarm whose learners train together, and what its peers share."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.protocol.announcements import Announcement, Entry
from learnae.simulation.shared_work import SharedDecoder
from learnae.weights.codecs import Vector
from learnae.weights.frames import FramePolicy, decode_frame, encode_frame

CIDS = st.binary(min_size=32, max_size=32).map(lambda digest: Cid(DAG_CBOR, digest))
ENTRIES = st.builds(Entry, st.binary(min_size=8, max_size=8), st.integers(0, 2**53), CIDS, st.none() | CIDS)


@given(st.lists(ENTRIES, max_size=64), st.lists(CIDS, max_size=16), st.booleans())
def test_the_size_of_an_announcement_is_that_of_its_bytes(entries: list[Entry], kept: list[Cid], same: bool) -> None:
    entries = [Entry(e.author, e.seq, e.head, e.head if same else e.checkpoint) for e in entries]
    announcement = Announcement(tuple(entries), tuple(kept))
    assert announcement.size == len(announcement.to_bytes())


def test_a_frame_is_decoded_once_and_no_peer_can_change_what_others_hold() -> None:
    decoder, policy = SharedDecoder(), FramePolicy("f32", "q8")
    weights: Vector = np.array([1.0, -2.0], np.float32)
    key = encode_frame(weights, None, None, policy)
    first, again = (decoder(key.header, list(key.blocks), None, 2) for _ in range(2))
    assert first is again
    assert not first.flags.writeable
    delta = encode_frame(weights + 1, first, Cid.of(DAG_CBOR, b"base"), policy)
    other = first + np.float32(10)  # another replica: another result
    expected = [decode_frame(delta.header, delta.blocks, base, 2) for base in (first, other)]
    found = [decoder(delta.header, delta.blocks, base, 2) for base in (first, other)]
    assert [vector.tolist() for vector in found] == [vector.tolist() for vector in expected]


def test_what_is_shared_is_bounded(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("learnae.simulation.shared_work._MOST_BYTES", 80)
    decoder = SharedDecoder()
    for value in range(50):
        key = encode_frame(np.full(2, value, np.float32), None, None, FramePolicy("f32"))
        decoder(key.header, key.blocks, None, 2)
    assert len(decoder) == 10
