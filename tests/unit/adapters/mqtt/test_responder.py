"""Who answers: the first to claim, unless its claims were worth nothing; what other threads read is locked."""

import pytest
from builders import SWARM, Author, some_cid
from desk import Desk, guard

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.mqtt.blocks.inbox import Counts
from learnae.adapters.mqtt.blocks.responder import MqttResponder
from learnae.adapters.mqtt.blocks.wire_format import Want, unpack
from learnae.adapters.mqtt.subscriptions import Received
from learnae.adapters.mqtt.topics import Topics
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, RAW

TOPICS = Topics("t", str(SWARM), "bob")


class Later:
    """An inbox whose actions a test calls."""

    def __init__(self) -> None:
        self.due = []

    def later(self, _: float, action) -> None:
        self.due.append(action)


@pytest.mark.parametrize(("rival", "answers"), [("", 1), ("alice", 0), ("carol", 1)])
def test_of_two_that_claim_at_once_the_smaller_name_answers(tmp_path, rival, answers):
    desk, inbox, store = Desk(), Later(), LocalBlockStore(tmp_path)
    responder, cid = MqttResponder(desk, TOPICS, store, inbox, Counts(), 600.0), store.put(RAW, b"block")
    guard(responder, "_asked", "_askers", "_names", "_given")
    guard(responder.claims, "_claims", "_failed", "_scores")
    responder.on_want(Received(TOPICS.of("dave", "want"), Want((cid,)).to_bytes(), "", False))
    inbox.due.pop()()
    assert [topic for topic, _ in desk.sent] == [TOPICS.own("have")]
    if rival:
        responder.on_have(Received(TOPICS.of(rival, "have"), dagcbor.encode([cid]), "", False))
    inbox.due.pop()()
    assert [topic for topic, _ in desk.sent[1:]] == [TOPICS.own(f"block/{cid}")] * answers
    assert (responder.claims.latest(cid) > 0) == bool(rival)
    assert responder.asked(cid, 0) > 0


def test_a_claim_keeps_others_silent_until_its_peer_is_distrusted(tmp_path):
    desk, inbox, store = Desk(), Later(), LocalBlockStore(tmp_path)
    responder, cid = MqttResponder(desk, TOPICS, store, inbox, Counts(), 600.0), store.put(RAW, b"block")
    claim = Received(TOPICS.of("liar", "have"), dagcbor.encode([cid]), "", False)
    for _ in range(2):  # asked twice so soon: the liar has not answered
        responder.on_have(claim)
        responder.on_want(Received(TOPICS.of("dave", "want"), Want((cid,)).to_bytes(), "", False))
        inbox.due.pop()()
    assert [topic for topic, _ in desk.sent] == [TOPICS.own("have")]
    responder.on_have(claim)
    assert responder.claims.latest(cid) == float("-inf")


@pytest.mark.parametrize(("starts", "answered"), [((3, 1), 4), ((1, 3), 4), ((3,), 2)])
def test_one_answer_serves_all_who_asked_however_much_each_lacks(tmp_path, starts, answered):
    desk, inbox, store, messages = Desk(), Later(), LocalBlockStore(tmp_path), Author(1).chain(5)
    responder, newest = MqttResponder(desk, TOPICS, store, inbox, Counts(), 600.0), messages[-1].cid
    for message in messages:
        store.put(DAG_CBOR, message.data)
    for number, start in enumerate(starts):
        responder.on_want(Received(TOPICS.of(f"peer-{number}", "want"), Want((newest,), start).to_bytes(), "", False))
    assert len(inbox.due) == 1
    for _ in range(2):
        inbox.due.pop()()
    (topic, payload) = desk.sent[-1]
    assert topic == TOPICS.own(f"block/{newest}")
    assert unpack(payload, 99) == [message.data for message in reversed(messages)][:answered]


def test_a_peer_that_lacks_more_than_another_has_asked_for_asks_itself(tmp_path):
    responder = MqttResponder(Desk(), TOPICS, LocalBlockStore(tmp_path), Later(), Counts(), 600.0)
    responder.on_want(Received(TOPICS.of("dave", "want"), Want((some_cid(1),), 5).to_bytes(), "", False))
    assert [responder.asked(some_cid(1), start) > 0 for start in (0, 4, 5, 6)] == [False, False, True, True]
