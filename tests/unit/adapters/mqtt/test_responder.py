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
from learnae.adapters.token_bucket import Spending
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


def test_four_who_claim_and_send_nothing_silence_no_holder(tmp_path):
    """Each claims in its turn; who asks again is answered, except where a peer claims that has sent blocks here."""
    desk, inbox, store = Desk(), Later(), LocalBlockStore(tmp_path)
    responder, cid = MqttResponder(desk, TOPICS, store, inbox, Counts(), 600.0), store.put(RAW, b"block")
    other = store.put(RAW, b"another")
    want = Received(TOPICS.of("dave", "want"), Want((cid,)).to_bytes(), "", False)
    for liar in ("liar-1", "liar-2", "liar-3", "liar-4"):
        responder.on_want(want)
        responder.on_have(Received(TOPICS.of(liar, "have"), dagcbor.encode([cid, other]), "", False))
        while inbox.due:
            inbox.due.pop()()
    answered = [topic for topic, _ in desk.sent if topic.startswith(TOPICS.own("block"))]
    assert len(answered) == 3, "all but the first want"
    for liar in ("liar-1", "liar-2"):
        responder.claims.hear(some_cid(1), liar)
        responder.claims.hear(some_cid(2), liar)
        for number in (1, 2):
            responder.claims.settle(some_cid(number))
    responder.claims.hear(other, "liar-1")
    responder.claims.settle(some_cid(3), "alice")
    responder.on_have(Received(TOPICS.of("alice", "have"), dagcbor.encode([cid]), "", False))
    responder.on_want(want)  # those who have claimed it have failed
    responder.on_have(Received(TOPICS.of("liar-1", "have"), dagcbor.encode([some_cid(9)]), "", False))
    assert responder.claims.latest(some_cid(9)) == float("-inf"), "it is not believed in anything"


def test_answers_are_booked_on_who_asks_and_a_past_goes_to_an_asker_once(tmp_path):
    """A want of 41 bytes that brings a megabyte again and again was worth x456."""
    desk, inbox, store, messages = Desk(), Later(), LocalBlockStore(tmp_path), Author(1).chain(60)
    for message in messages:
        store.put(DAG_CBOR, message.data)
    spending = Spending(burst=100_000, rate=0.0)
    responder = MqttResponder(desk, TOPICS, store, inbox, Counts(), 600.0, spending)

    def answered(asker: str, number: int) -> int:
        before = len(desk.sent)
        responder.on_want(Received(TOPICS.of(asker, "want"), Want((messages[number].cid,)).to_bytes(), "", False))
        while inbox.due:
            inbox.due.pop()()
        return sum(len(unpack(payload, 99)) for topic, payload in desk.sent[before:] if "block" in topic)

    assert [answered("dave", number) for number in (49, 49, 49, 40, 48)] == [50, 50, 1, 1, 1]
    assert answered("dave", 59) == 10, "what is new to it"
    assert answered("erin", 49) == 50
    while answered("dave", 30):
        pass
    assert answered("erin", 59) == 10, "others are still answered"
    assert spending.taken() == sum(len(payload) for topic, payload in desk.sent if "block" in topic)


def test_one_asker_takes_not_all_places_of_answers_under_way(tmp_path):
    inbox, store = Later(), LocalBlockStore(tmp_path)
    responder = MqttResponder(Desk(), TOPICS, store, inbox, Counts(), 600.0)
    cids = [store.put(RAW, b"%d" % number) for number in range(64)]
    for asker, share in (("dave", 16), ("erin", 32)):
        responder.on_want(Received(TOPICS.of(asker, "want"), Want(tuple(cids[-share:])).to_bytes(), "", False))
    assert len(inbox.due) == 32
    for _ in range(3):
        responder.on_want(
            Received(TOPICS.of("dave", "want"), Want(tuple(map(some_cid, range(64)))).to_bytes(), "", False)
        )
    assert responder.counts["not answered: too many names"] == 2


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
